"""Without the privilege to set owners and to make devices: what umoci keeps on the side is kept in the same way."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtimeimg import remains
from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.image import Image, choose_platform
from runtimeimg.oci import Location
from runtimeimg.remains.trees import remove_tree
from runtimeimg.stores import StoreOptions, open_image
from runtimeimg.unpack import unpack
from tests.compose.images import Item, file, folder, image, symlink, write_layout
from tests.unpack.generated import MODES, layers
from tests.unpack.trees import There, tree

IMAGES = int(os.environ.get("RUNTIMEIMG_EXAMPLES") or 20)
NOBODY = 65534
USABLE = tuple(mode | 0o700 for mode in MODES)
"""Where their owner may not write, umoci 0.4.7 leaves the attributes of files out without a word, or fails."""
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root becomes somebody else here")


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """Be a user without any privilege for a while."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of that user's."""
    path = Path(tempfile.mkdtemp())
    os.chown(path, NOBODY, NOBODY)
    yield path
    shutil.rmtree(path)


def rootless(found: Image, target: Path) -> tuple[dict[str, There], dict[str, int]]:
    """The tree that a user without privilege makes, as root sees it, and what was left out."""
    unpack(image("before", [file("f")]), target.with_name("before"))  # imports what that user may not read
    shutil.rmtree(target.with_name("before"))
    with nobody():
        done = unpack(found, target, rootless=True)
    return tree(target), dict(done.left_out)


def test_owners_are_kept_in_an_attribute_and_devices_are_empty_files(place: Path) -> None:
    capability = (("security.capability", "\x01\0\0\x02\0\x20" + "\0" * 14),)
    found, left_out = rootless(
        image(
            "test",
            [
                folder("d", 0o2711, 5, 0),
                file("d/f", b"1", 0o4400, 0, 6),
                symlink("l", "d"),
                Item(path="p", kind="p", uid=7),
                Item(path="c", kind="c", mode=0o666, gid=8),
                Item(path="cap", mode=0o755, xattrs=capability),
                file("root", b"", 0o600),
            ],
        ),
        place / "root",
    )
    assert {(there.uid, there.gid) for there in found.values()} == {(NOBODY, NOBODY)}
    assert {name: there.xattrs for name, there in found.items() if there.xattrs} == {
        "c": {"user.rootlesscontainers": b"\x08\xff\xff\xff\xff\x0f\x10\x08"},
        "d": {"user.rootlesscontainers": b"\x08\x05\x10\xff\xff\xff\xff\x0f"},
        "d/f": {"user.rootlesscontainers": b"\x08\xff\xff\xff\xff\x0f\x10\x06"},
    }
    assert (found["c"].kind, found["c"].mode, found["c"].content) == ("f", 0o666, b"")
    assert (found["d"].mode, found["d/f"].mode, found["p"].kind, found["l"].kind) == (0o2711, 0o4400, "p", "l")
    assert left_out == {"attribute security.capability": 1, "devices, which are empty files": 1}


def test_a_later_owner_takes_the_place_of_an_earlier_one(place: Path) -> None:
    base, over = [folder("d", 0o755, 5, 6), file("f", uid=5)], [folder("d"), file("f")]
    found, _ = rootless(image("test", base, over), place / "root")
    assert (found["d"].xattrs, found["f"].xattrs) == ({}, {})


def test_an_owner_that_a_layer_claims_by_attribute_is_not_believed(place: Path) -> None:
    claimed = (("user.rootlesscontainers", "\x08\x00\x10\x00"),)
    found, _ = rootless(image("test", [Item(path="f", uid=5, xattrs=claimed)]), place / "root")
    assert found["f"].xattrs == {"user.rootlesscontainers": b"\x08\x05\x10\xff\xff\xff\xff\x0f"}


def test_directories_that_let_nobody_in_are_filled_and_changed(place: Path) -> None:
    base = [folder("d", 0o000), folder("d/e", 0o555), file("d/e/f"), file("d/e/g"), folder("x", 0o111), file("x/f")]
    over = [file("d/e/new"), Item(path="d/e/.wh.f"), Item(path=".wh.x"), folder("many", 0o500)]
    over += [item for number in range(200) for item in (folder(f"many/{number}", 0o400), file(f"many/{number}/f"))]
    found, _ = rootless(image("test", base, over), place / "root")
    assert [name for name in found if not name.startswith("many/")] == ["", "d", "d/e", "d/e/g", "d/e/new", "many"]
    assert (found["d"].mode, found["d/e"].mode, found["many"].mode, found["many/7"].mode) == (0, 0o555, 0o500, 0o400)


def test_after_an_error_nothing_is_left_of_directories_that_let_nobody_in(place: Path) -> None:
    with nobody(), pytest.raises(InvalidDocumentError, match="leads out"):
        unpack(
            image("test", [folder("d", 0o000), folder("d/e", 0o000), file("d/e/f"), file("../f")]),
            place / "root",
            rootless=True,
        )
    assert list(place.iterdir()) == []


def test_a_tree_that_lets_nobody_in_is_removed_by_its_owner(place: Path) -> None:
    with nobody():
        unpack(
            image("test", [folder("d", 0o000), folder("d/e", 0o000), file("d/e/f", mode=0)]),
            place / "root",
            rootless=True,
        )
        remove_tree(place / "root")
        remove_tree(place / "root")
    assert list(place.iterdir()) == []


def test_owners_are_not_set_without_privilege(place: Path) -> None:
    with nobody(), pytest.raises(UsageError, match="owners can only be set by root") as raised:
        unpack(image("test", [file("f")]), place / "root")
    assert raised.value.hint == "keep them on the side with --rootless"
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("seed", range(IMAGES))
def test_trees_are_those_of_umoci(place: Path, seed: int) -> None:
    write_layout(place / "images", {"one": (layers(seed, USABLE), {})})
    found = choose_platform(open_image(Location.parse(f"oci:{place}/images:one"), StoreOptions()), None)
    ours, _ = rootless(found, place / "root")
    command = ["umoci", "unpack", "--rootless", "--image", f"{place}/images:one", str(place / "bundle")]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        errors="replace",
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        env={"PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, done.stderr
    assert ours == tree(place / "bundle" / "rootfs")


def test_nothing_is_noted_any_more() -> None:
    with nobody():
        remains.sweep()
    assert not Path(tempfile.gettempdir(), f"runtimeimg-{NOBODY}").exists()
