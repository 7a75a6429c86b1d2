"""runc and crun start what is written, as root and as a normal user, and the programs see what the image says."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runtimeimg.bundle import Bundle, BundleOptions, Hook, Mount, rootless, write
from runtimeimg.bundle.features import Runtime
from runtimeimg.bundle.settings import Setting
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image import Image
from runtimeimg.image.layertar import FILE
from runtimeimg.unpack import Root, owners

from .images import busybox, file, folder
from .starting import NOBODY, Starter, as_nobody, needs_namespaces, place

pytestmark = pytest.mark.mounts
RUNTIMES = [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("runc", "crun")]
OWN = rootless.namespace(NOBODY, NOBODY)


@pytest.fixture(params=RUNTIMES)
def starter(request: pytest.FixtureRequest) -> Starter:
    needs_namespaces()
    return Starter(request.param)


@pytest.fixture(params=RUNTIMES)
def normal(request: pytest.FixtureRequest) -> Starter:
    needs_namespaces(user=True)
    return Starter(request.param, rootless=True)


@pytest.fixture
def where() -> Iterator[Path]:
    with place() as made:
        yield made


def shell(script: str, **config: object) -> Image:
    return busybox(folder("srv"), Entrypoint=["/bin/sh", "-c"], Cmd=[script], Env=["A=b c"], **config)


def of_nobody(image: Image, target: Path, options: BundleOptions) -> None:
    as_nobody(lambda: write(image, target, options))


def test_a_scratch_image_starts_as_it_says(starter: Starter, where: Path) -> None:
    script = "id; env | grep -v -e SHLVL -e PWD; pwd; hostname; umask; cat /proc/self/status | grep -e Cap -e NoNew"
    write(shell(script, User="app", WorkingDir="/srv"), where / "b")
    ended = starter.run(where / "b")
    caps = "".join(f"Cap{name}:\t0000000020000420\n" for name in ("Inh", "Prm", "Eff", "Bnd", "Amb"))
    assert ended.out.splitlines()[0].startswith("uid=1000(app) gid=1001(app)")
    assert {"groups=29(audio),44(video)", "A=b c", "HOME=/home/app", "/srv", "web", "0022", "NoNewPrivs:\t1"} <= {
        *ended.out.splitlines(),
        *ended.out.splitlines()[0].split(),
    }
    assert caps in ended.out
    assert ended.code == 0


def test_exit_codes_are_the_programs(starter: Starter, where: Path) -> None:
    write(shell("exit 42"), where / "b")
    assert starter.run(where / "b").code == 42


def test_volumes_begin_with_what_the_image_has_and_the_root_is_read_only(starter: Starter, where: Path) -> None:
    script = (
        "touch /root-is-writable; cat /data/seed && touch /data/new && stat -c %a:%u:%g /data; ls /data; touch /fresh/x"
    )
    image = shell(script, Volumes={"/data": {}, "/fresh": {}}, User="app")
    image = busybox(
        file("data/seed", b"from the image\n", uid=1000, gid=1001),
        **{**image.config.config, "Volumes": {"/data": {}, "/fresh": {}}},
    )
    bundle = write(image, where / "b")
    assert bundle.config["root"] == {"path": "rootfs", "readonly": True}
    ended = starter.run(where / "b")
    assert ended.out == "from the image\n750:1000:1001\nnew\nseed\n"
    assert "root-is-writable: Read-only file system" in ended.err
    assert ended.code == 0
    assert not (where / "b" / "rootfs" / "data" / "new").exists()  # nor is it written into the rootfs


def test_hooks_mounts_and_settings_are_heeded(starter: Starter, where: Path) -> None:
    (where / "given").mkdir()
    (where / "given" / "hello").write_text("from outside\n")
    mark = where / "mark"
    options = BundleOptions(
        hooks=(
            Hook(stage="createRuntime", path="/bin/sh", args=("-c", f'echo "$MARK" >{mark}'), env=("MARK=hook",)),
            Hook(stage="poststop", path="/bin/sh", args=("-c", f"echo stopped >>{mark}"), timeout=20),
        ),
        mounts=(
            Mount.parse(f"source={where}/given,destination=/given,ro"),
            Mount.parse("destination=/tmp,size=1m,mode=1777"),
        ),
        hostname="other",
        env={"A": "x", "NEW": "y"},
        settings=(Setting.parse("process.oomScoreAdj=321"), Setting.parse("process.rlimits[0].soft=77")),
    )
    script = (
        "cat /given/hello /proc/self/oom_score_adj; hostname; ulimit -n; echo $A$NEW; touch /given/x; touch /tmp/x && "
        "mount | grep /tmp"
    )
    write(shell(script), where / "b", options)
    ended = starter.run(where / "b")
    assert ended.out.startswith("from outside\n321\nother\n77\nxy\ntmpfs on /tmp type tmpfs (rw")
    assert "/given/x: Read-only file system" in ended.err
    assert mark.read_text() == "hook\nstopped\n"


def test_masked_and_read_only_paths(starter: Starter, where: Path) -> None:
    script = "cat /proc/timer_list /proc/keys | grep -c .; ls /sys/firmware | grep -c .; touch /proc/sys/x /sys/x; true"
    write(shell(script), where / "b")
    ended = starter.run(where / "b")
    assert ended.out == "0\n0\n"
    assert ended.err.count("touch: ") == 2


def test_a_normal_user_starts_it(normal: Starter, where: Path) -> None:
    script = "id -u; cat /proc/self/uid_map; stat -c %u:%a /data; mount | grep -c /dev/pts; touch /written"
    of_nobody(shell(script), where / "b", BundleOptions(rootless=OWN))
    ended = normal.run(where / "b")
    assert ended.out.split() == ["0", "0", str(NOBODY), "1", "0:750", "1"]
    assert ended.code == 0
    assert (where / "b" / "rootfs" / "written").stat().st_uid == NOBODY


def test_a_normal_users_container_may_have_a_network_of_its_own(normal: Starter, where: Path) -> None:
    of_nobody(shell("ls /sys/class/net"), where / "b", BundleOptions(rootless=OWN, network="own"))
    ended = normal.run(where / "b")
    assert (ended.out, ended.code) == ("lo\n", 0), ended.err


def test_owners_are_kept_on_the_side(where: Path) -> None:
    needs_namespaces(user=True)
    of_nobody(shell("true"), where / "b", BundleOptions(rootless=OWN))
    assert os.getxattr(where / "b" / "rootfs" / "data", owners.NAME) == owners.encoded(1000, 1001)


def test_a_user_without_a_number_is_refused_or_becomes_the_root(normal: Starter, where: Path) -> None:
    image = shell("id -u", User="app")
    with pytest.raises(AssertionError, match=r"user 1000:1001 of image .* has no number in your user namespace"):
        of_nobody(image, where / "b", BundleOptions(rootless=OWN))
    assert list(where.iterdir()) == []
    of_nobody(image, where / "b", BundleOptions(rootless=OWN, allow=frozenset({"root-user"})))
    assert normal.run(where / "b").out == "0\n"


def test_lent_numbers(normal: Starter, where: Path) -> None:
    lent = where / "lent"
    lent.write_text("nobody:300000:65536\n")
    namespace = rootless.namespace(NOBODY, NOBODY, name="nobody", subuid=lent.read_text(), subgid=lent.read_text())
    image = shell("id; touch /tmp-of-mine/x; stat -c %u /tmp-of-mine/x", User="app", Volumes={"/tmp-of-mine": {}})
    of_nobody(image, where / "b", BundleOptions(rootless=namespace, runtime=Runtime(name=normal.runtime)))
    ended = replace(normal, lent=str(lent)).run(where / "b")
    groups = " groups=29(audio),44(video)" if normal.runtime == "crun" else ""
    assert ended.out.splitlines()[0] == f"uid=1000(app) gid=1001(app){groups}", ended.err
    assert ended.out.endswith("\n1000\n")


def test_setuid_files_are_refused_in_a_rootless_bundle(where: Path) -> None:
    needs_namespaces(user=True)
    image = busybox(file("bin/su", b"x", mode=0o4755), file("bin/wall", b"x", mode=0o2755), Cmd=["/bin/true"])
    with pytest.raises(AssertionError) as caught:
        of_nobody(image, where / "b", BundleOptions(rootless=OWN))
    assert "'/bin/su' is setuid or setgid" in str(caught.value)
    assert "'/bin/wall' is setuid or setgid" in str(caught.value)
    assert list(where.iterdir()) == []
    of_nobody(image, where / "b", BundleOptions(rootless=OWN, allow=frozenset({"setuid"})))
    assert (where / "b" / "rootfs" / "bin" / "su").stat().st_mode & 0o7777 == 0o4755
    assert (where / "b").stat().st_mode & 0o777 == 0o700


def test_no_bundle_is_left_of_one_that_is_refused(tmp_path: Path) -> None:
    from .images import symlink

    image = busybox(symlink("dev", "/etc"), Cmd=["/bin/true"])
    with pytest.raises(InvalidDocumentError, match="'/dev' is a link"):
        write(image, tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def read(bundle: Bundle) -> object:
    return json.loads((bundle.path / "config.json").read_text())


def test_the_folder_is_new_or_empty_and_private(tmp_path: Path) -> None:
    image = busybox(Cmd=["/bin/true"])
    (tmp_path / "b").mkdir()
    bundle = write(image, tmp_path / "b")
    assert read(bundle) == bundle.config
    assert bundle.rootfs == tmp_path / "b" / "rootfs"
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["config.json", "rootfs"]
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o700
    with Root(bundle.rootfs) as root:
        found = root.lookup("bin/busybox")
        assert found is not None
        assert found.kind == FILE


Refused = Callable[[Path], None]


@pytest.mark.parametrize("there", ["full", "file", "link"])
def test_what_is_there_is_left_alone(tmp_path: Path, there: str) -> None:
    from runtimeimg.errors import NotFoundError, UsageError

    target = tmp_path / "b"
    if there == "full":
        target.mkdir()
        (target / "x").write_text("mine")
    elif there == "file":
        target.write_text("mine")
    else:
        (tmp_path / "elsewhere").mkdir()
        target.symlink_to(tmp_path / "elsewhere")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="exists already"):
        write(busybox(), target)
    with pytest.raises(NotFoundError, match="does not exist"):
        write(busybox(), tmp_path / "no" / "b")
    assert sorted(tmp_path.rglob("*")) == before
