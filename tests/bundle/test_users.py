"""`Config.User` against the files of a rootfs, on the disk and in layers: neither is ever left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtimeimg.bundle.users import MAX_FILE, User, resolve
from runtimeimg.bundle.values import Files
from runtimeimg.errors import InvalidDocumentError, NotFoundError, RuntimeimgError
from runtimeimg.unpack import Root
from tests.compose.images import Item

from .images import GROUP, PASSWD, file, folder, image, opened, symlink

Opening = Callable[[list[Item]], "Iterator[Files]"]


@contextmanager
def on_disk(items: list[Item], place: Path) -> Iterator[Files]:
    for item in items:
        path = place / item.path
        if item.kind == "d":
            path.mkdir()
        elif item.kind == "l":
            path.symlink_to(item.target)
        else:
            path.write_bytes(item.data)
    with Root(place) as root:
        yield root


@pytest.fixture(params=["disk", "layers"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., object]:
    def make(*items: Item) -> object:
        if request.param == "layers":
            return opened(image(*items))
        place = tmp_path / "rootfs"
        place.mkdir()
        return on_disk(list(items), place)

    return make


def test_a_missing_passwd_knows_nobody_by_name(files) -> None:
    with files(folder("etc")) as found:
        assert resolve("1000", found, "web") == User(uid=1000, gid=0)
        assert resolve("1000:5", found, "web") == User(uid=1000, gid=5)
        assert resolve("", found, "web") == User(uid=0, gid=0)
        with pytest.raises(NotFoundError, match="user 'app' is not in /etc/passwd of image 'web'"):
            resolve("app", found, "web")
        with pytest.raises(NotFoundError, match="group 'app'"):
            resolve("1:app", found, "web")


def test_links_are_followed_within_the_image(files) -> None:
    items = (
        *(folder("etc"), folder("usr"), folder("usr/share"), file("usr/share/users", PASSWD)),
        *(symlink("etc/passwd", "../../../usr/share/users"), symlink("etc/group", "/usr/groups")),
        file("usr/groups", GROUP),
    )
    with files(*items) as found:
        assert resolve("app", found, "web") == User(uid=1000, gid=1001, groups=(29, 44), home="/home/app")


@pytest.mark.parametrize("target", ["/etc/hostname", "../../../../../../../../etc/hostname", "/proc/self/environ"])
def test_a_link_out_of_the_rootfs_leads_nowhere(files, target: str, tmp_path: Path) -> None:
    with files(folder("etc"), symlink("etc/passwd", target)) as found, pytest.raises(NotFoundError):
        resolve("root", found, "web")


def test_a_link_to_a_passwd_of_the_host_finds_that_of_the_image(files, tmp_path: Path) -> None:
    outside = tmp_path / "passwd"
    outside.write_bytes(b"app:x:666:666::/:\n")
    with files(folder("etc"), symlink("etc/passwd", str(outside))) as found, pytest.raises(NotFoundError):
        resolve("app", found, "web")


def test_links_in_a_circle_and_what_is_no_file_are_errors(files) -> None:
    with files(folder("etc"), symlink("etc/passwd", "passwd"), folder("etc/group")) as found:
        with pytest.raises(RuntimeimgError):
            resolve("app", found, "web")
        with pytest.raises(RuntimeimgError):
            resolve("1:app", found, "web")


def test_a_huge_passwd_is_refused(files) -> None:
    huge = b"a:x:1:1::/:\n" * (MAX_FILE // 12 + 2)
    with files(folder("etc"), file("etc/passwd", huge)) as found, pytest.raises(InvalidDocumentError, match="larger"):
        resolve("a", found, "web")


@pytest.mark.parametrize("user", [":0", ":app", "app:", "a:b:c", "4294967295", "99999999999999999999", "0:4294967295"])
def test_what_is_no_user_is_an_error(files, user: str) -> None:
    with files(folder("etc"), file("etc/passwd", PASSWD)) as found, pytest.raises(InvalidDocumentError):
        resolve(user, found, "web")


def test_odd_lines_are_passed_over_and_the_first_of_a_name_counts(files) -> None:
    passwd = b"#app:x:1:1::/:\napp:x:many:1::/:\napp:x:2\n\xff\xfe\n\napp:x:3:4:a:b:c\napp:x:5:6::/:\n:x:9:9::/:"
    group = b"x:y:10:other,app,third\nx2::11:app\r\nx3::-1:app\nx4::12\nown::4:app\nagain::10:app"
    with files(folder("etc"), file("etc/passwd", passwd), file("etc/group", group)) as found:
        assert resolve("app", found, "web") == User(uid=3, gid=4, groups=(10, 11), home="b")
        assert resolve("app:x4", found, "web").gid == 12
        with pytest.raises(NotFoundError):
            resolve("app:x3", found, "web")


def test_digits_of_other_scripts_are_names(files) -> None:
    with files(folder("etc"), file("etc/passwd", PASSWD)) as found, pytest.raises(NotFoundError):
        resolve("\u0661\u0660", found, "web")
