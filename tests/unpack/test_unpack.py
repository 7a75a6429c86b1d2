"""Layers become a root file system as the image specification says."""

import dataclasses
import gzip
import io
import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from runtimeimg import remains
from runtimeimg.errors import IntegrityError, InvalidDocumentError, NotFoundError, UsageError
from runtimeimg.image import Image
from runtimeimg.image.zstd import zstd
from runtimeimg.oci import Digest
from runtimeimg.unpack import Unpacked, unpack, unpack_into
from runtimeimg.unpack.seen import Seen
from tests.compose.images import TIME, Item, MemoryLayer, file, folder, hardlink, image, symlink, tar
from tests.unpack.trees import There, archive, entry, tree

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices are set by root")
SECOND = 1_000_000_000


def made(tmp_path: Path, *layers: MemoryLayer | Sequence[Item]) -> dict[str, There]:
    """What the layers of an image become."""
    unpack(image("test", *layers), tmp_path / "root")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root"]
    return tree(tmp_path / "root")


def names(found: dict[str, There]) -> list[str]:
    return sorted(name for name in found if name)


def whiteout(path: str) -> Item:
    return Item(path=path)


def raw(*entries: tuple[tarfile.TarInfo, bytes]) -> MemoryLayer:
    """A layer out of tarfile's own entries."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return MemoryLayer(out.getvalue())


def info(name: str, kind: bytes = tarfile.REGTYPE, **more: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    for key, value in more.items():
        setattr(made, key, value)
    return made


# What entries say


def test_types_modes_owners_and_times_are_those_of_the_entries(tmp_path: Path) -> None:
    found = made(
        tmp_path,
        [
            Item(path=".", kind="d", mode=0o711, uid=3, gid=4, mtime=5),
            folder("d", 0o1777, 5, 6),
            file("d/f", b"data", 0o4751, 7, 8),
            symlink("d/l", "/nowhere"),
            Item(path="d/p", kind="p", mode=0o622, uid=9),
            Item(path="d/c", kind="c", mode=0o666, gid=10),
            file("d/empty", b"", 0o000),
        ],
    )
    time = TIME * SECOND
    assert found == {
        "": There("d", 0o711, 3, 4, 5 * SECOND, b"", {}, 0, ""),
        "d": There("d", 0o1777, 5, 6, time, b"", {}, 0, "d"),
        "d/c": There("c", 0o666, 0, 10, time, b"", {}, os.makedev(1, 3), "d/c"),
        "d/empty": There("f", 0, 0, 0, time, b"", {}, 0, "d/empty"),
        "d/f": There("f", 0o4751, 7, 8, time, b"data", {}, 0, "d/f"),
        "d/l": There("l", 0o777, 0, 0, time, b"/nowhere", {}, 0, "d/l"),
        "d/p": There("p", 0o622, 9, 0, time, b"", {}, 0, "d/p"),
    }


def test_attributes_are_set_and_those_of_file_systems_left_out(tmp_path: Path) -> None:
    capability = "\x01\x00\x00\x02\x00\x20" + "\x00" * 14
    listed = (("user.a", "1"), ("security.capability", capability), ("trusted.overlay.opaque", "y"))
    done = unpack(image("test", [Item(path="f", mode=0o755, uid=5, xattrs=listed)]), tmp_path / "root")
    found = tree(tmp_path / "root")["f"]
    assert found.xattrs == {"user.a": b"1", "security.capability": capability.encode()}
    assert (found.mode, found.uid) == (0o755, 5)
    assert done == Unpacked(entries=1, left_out={"attribute trusted.overlay.opaque": 1})


def test_what_is_left_out_is_told_of_few_names_alone(tmp_path: Path) -> None:
    many = tuple((f"trusted.overlay.{number}", "y") for number in range(100))
    done = unpack(image("test", [Item(path="f", xattrs=many)]), tmp_path / "root")
    assert len(done.left_out) == 21
    assert (done.left_out["attribute trusted.overlay.0"], done.left_out["other attributes"]) == (1, 80)


def test_times_have_nanoseconds_and_may_be_before_1970(tmp_path: Path) -> None:
    entries = [info(name, pax_headers={"mtime": time}) for name, time in (("a", "1.25"), ("b", "-1.25"))]
    found = made(tmp_path, raw(*((each, b"") for each in entries)))
    assert (found["a"].time, found["b"].time) == (1_250_000_000, -1_250_000_000)


def test_directories_that_no_entry_says_are_roots(tmp_path: Path) -> None:
    found = made(tmp_path, [folder("given", 0o2775, 5, 6), file("given/a/b/f"), file("x/f")])
    for name in ("", "given/a", "given/a/b", "x"):
        assert found[name] == There("d", 0o755, 0, 0, 0, b"", {}, 0, name)
    assert (found["given/a/b/f"].gid, found["given"].mode) == (0, 0o2775)


def test_default_access_lists_are_not_handed_on(tmp_path: Path) -> None:
    permissions = b"\x02\0\0\0" + b"".join(
        tag.to_bytes(2, "little") + mode.to_bytes(2, "little") + who.to_bytes(4, "little")
        for tag, mode, who in (
            (1, 7, 0xFFFFFFFF),
            (2, 7, 5),
            (4, 5, 0xFFFFFFFF),
            (16, 7, 0xFFFFFFFF),
            (32, 5, 0xFFFFFFFF),
        )
    )
    tmp_path.joinpath("above").mkdir()
    os.setxattr(tmp_path / "above", "system.posix_acl_default", permissions)
    acl = ((b"system.posix_acl_default", permissions),)
    folders = [entry(b"d", "d", mode=0o755, xattrs=acl), entry(b"d/f"), entry(b"d/d", "d", mode=0o700)]
    layer = MemoryLayer(archive(*folders))
    unpack(image("test", layer), tmp_path / "above" / "root")
    found = tree(tmp_path / "above" / "root")
    assert found["d"].xattrs == {"system.posix_acl_default": permissions}
    for name, mode in (("", 0o755), ("d/f", 0o644), ("d/d", 0o700)):
        assert (found[name].xattrs, found[name].mode) == ({}, mode), name


def test_a_sparse_file_keeps_its_holes(tmp_path: Path) -> None:
    size = 64 << 20
    sparse = info(
        "s", pax_headers={"GNU.sparse.size": str(size), "GNU.sparse.map": "1048576,3", "GNU.sparse.numblocks": "1"}
    )
    sparse.size = 3
    unpack(image("test", raw((sparse, b"abc"))), tmp_path / "root")
    status = (tmp_path / "root/s").stat()
    assert (status.st_size, status.st_blocks * 512 < size // 4) == (size, True)
    with (tmp_path / "root/s").open("rb") as opened:
        opened.seek(1048575)
        assert opened.read(5) == b"\0abc\0"


def test_a_large_file_is_whole_and_takes_no_more_room(tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 9
    assert made(tmp_path, [file("large", data)])["large"].content == data
    assert (tmp_path / "root/large").stat().st_blocks * 512 <= len(data) + 65536


def test_hard_links_share_an_inode_which_takes_what_the_last_one_says(tmp_path: Path) -> None:
    found = made(
        tmp_path,
        [file("a", b"1", 0o755), symlink("l", "a"), folder("d"), symlink("e", "d")],
        [hardlink("d/b", "a", 0o4755, 5, 6), hardlink("e/m", "l"), hardlink("c", "e/b", 0o4755, 5, 6)],
    )
    assert [found[name].first for name in ("a", "c", "d/b")] == ["a", "a", "a"]
    assert (found["a"].mode, found["a"].uid, found["a"].gid) == (0o4755, 5, 6)
    assert (found["d/m"].kind, found["d/m"].first) == ("l", "d/m")
    assert found["l"].first == "d/m"


# What later layers do to earlier ones


def test_a_later_entry_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    base = [folder("d"), file("d/f"), file("f"), symlink("l", "d"), folder("t"), file("t/kept"), symlink("m", "f")]
    over = [file("d", b"file"), folder("f"), folder("l", 0o700), file("l/x"), symlink("t", "l"), file("m", b"m")]
    found = made(tmp_path, base, over)
    assert names(found) == ["d", "f", "l", "l/x", "m", "t"]
    assert [found[name].kind for name in ("d", "f", "l", "m", "t")] == ["f", "d", "d", "f", "l"]


def test_a_file_is_made_anew_and_not_written_to(tmp_path: Path) -> None:
    found = made(tmp_path, [file("a", b"old"), hardlink("b", "a")], [file("a", b"new")])
    assert (found["a"].content, found["b"].content) == (b"new", b"old")


def test_a_directory_over_a_directory_keeps_what_is_in_it_and_nothing_else(tmp_path: Path) -> None:
    base = [Item(path="d", kind="d", mode=0o700, uid=5, gid=6, xattrs=(("user.a", "1"),)), file("d/f")]
    found = made(tmp_path, base, [folder("d", 0o755)])
    assert names(found) == ["d", "d/f"]
    assert found["d"] == There("d", 0o755, 0, 0, TIME * SECOND, b"", {}, 0, "d")


def test_a_directory_that_later_layers_change_keeps_its_time(tmp_path: Path) -> None:
    base = [
        Item(path=".", kind="d", mode=0o755, mtime=7),
        folder("d"),
        file("d/f"),
        file("d/g"),
        folder("e"),
        file("e/x"),
    ]
    found = made(tmp_path, base, [file("d/new"), whiteout("d/.wh.f"), whiteout("e/.wh..wh..opq"), folder("top")])
    assert names(found) == ["d", "d/g", "d/new", "e", "top"]
    assert (found[""].time, found["d"].time, found["e"].time) == (7 * SECOND, TIME * SECOND, TIME * SECOND)


def test_more_directories_than_are_held_open_keep_their_times(tmp_path: Path) -> None:
    count = 400
    base = [item for number in range(count) for item in (folder(f"d{number}"), file(f"d{number}/f"))]
    found = made(tmp_path, base, [file(f"d{number}/g") for number in range(count)])
    assert {found[f"d{number}"].time for number in range(count)} == {TIME * SECOND}
    assert len(found) == 1 + 3 * count


def test_directories_that_are_links_are_followed_inside_of_the_root(tmp_path: Path) -> None:
    base = [
        folder("usr"),
        folder("usr/lib"),
        symlink("lib", "usr/lib"),
        symlink("abs", "/usr"),
        symlink("up", "../../usr"),
    ]
    found = made(
        tmp_path, base, [file("lib/a"), file("abs/lib/b"), file("up/lib/c"), symlink("new", "far/away"), file("new/f")]
    )
    assert [name for name in names(found) if found[name].kind == "f"] == [
        "far/away/f",
        "usr/lib/a",
        "usr/lib/b",
        "usr/lib/c",
    ]


def test_what_a_link_takes_back_is_not_made_or_removed(tmp_path: Path) -> None:
    found = made(tmp_path, [file("a"), symlink("l", "a/../b/../c"), file("l/f")])
    assert [(name, found[name].kind) for name in names(found)] == [("a", "f"), ("c", "d"), ("c/f", "f"), ("l", "l")]


def test_a_file_on_the_way_is_replaced_by_a_directory(tmp_path: Path) -> None:
    found = made(tmp_path, [file("a")], [file("a/b/c")])
    assert [(name, found[name].kind) for name in names(found)] == [("a", "d"), ("a/b", "d"), ("a/b/c", "f")]


# Whiteouts


@pytest.mark.parametrize(
    ("base", "over", "left"),
    [
        ([folder("d"), file("d/f"), file("g")], [whiteout(".wh.d")], ["g"]),
        ([folder("d"), file("d/f"), file("d/g")], [whiteout("d/.wh.f")], ["d", "d/g"]),
        ([folder("d"), folder("e"), file("e/f"), symlink("l", "e")], [whiteout(".wh.l")], ["d", "e", "e/f"]),
        ([folder("d"), file("d/f"), symlink("l", "d")], [whiteout("l/.wh.f")], ["d", "l"]),
        ([file("f")], [whiteout(".wh.nothing"), whiteout("no/.wh.x"), whiteout("no/.wh..wh..opq")], ["f"]),
        ([folder("d"), file("d/f")], [whiteout("d/.wh..wh..opq"), file("d/g")], ["d", "d/g"]),
        ([folder("d"), file("d/f")], [file("d/g"), whiteout("d/.wh..wh..opq")], ["d", "d/g"]),
        (
            [folder("d"), folder("d/e"), file("d/e/f")],
            [file("d/e/g"), whiteout("d/.wh..wh..opq")],
            ["d", "d/e", "d/e/g"],
        ),
        ([file("f")], [file("g"), whiteout(".wh..wh..opq"), file("h")], ["g", "h"]),
        ([file("f")], [file("f", b"own"), whiteout(".wh.f")], ["f"]),
        ([folder("d"), file("d/f")], [folder("d"), file("d/g"), whiteout(".wh.d")], ["d", "d/g"]),
        ([folder("d"), file("d/f")], [whiteout(".wh.d"), folder("d"), file("d/g")], ["d", "d/g"]),
        ([file("f")], [whiteout(".wh..wh.plnk"), whiteout(".wh..wh.aufs/x")], ["f"]),
        ([file("f" * 255)], [whiteout(".wh." + "f" * 255), file("a.wh.b")], ["a.wh.b"]),
    ],
)
def test_whiteouts_hide_what_lower_layers_have(
    tmp_path: Path, base: list[Item], over: list[Item], left: list[str]
) -> None:
    assert names(made(tmp_path, base, over)) == left


def test_a_directory_that_is_hidden_and_gone_through_is_a_new_one(tmp_path: Path) -> None:
    owned = Item(path="d/e", kind="d", mode=0o700, uid=5, gid=6, xattrs=(("user.a", "1"),))
    base = [folder("d", 0o711), owned, folder("d/e/s", 0o700), file("d/e/s/old"), folder("x", 0o700, 5), file("x/old")]
    found = made(tmp_path, base, [file("d/e/s/f"), whiteout("d/.wh..wh..opq"), file("x/f"), whiteout(".wh.x")])
    assert names(found) == ["d", "d/e", "d/e/s", "d/e/s/f", "x", "x/f"]
    for name in ("d/e", "d/e/s", "x"):
        assert found[name] == There("d", 0o755, 0, 0, 0, b"", {}, 0, name)
    assert found["d"].mode == 0o711


def test_whiteouts_of_the_first_layer_hide_nothing(tmp_path: Path) -> None:
    assert names(made(tmp_path, [file("f"), whiteout(".wh.f"), whiteout(".wh..wh..opq")])) == ["f"]


@pytest.mark.parametrize("path", [".wh.", "d/.wh.", ".wh..", ".wh...", ".wh.d/f", ".wh.d/.wh.f"])
def test_what_is_a_whiteout_of_nothing_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(InvalidDocumentError, match="it is not a whiteout of anything"):
        unpack(image("test", [folder("d"), file("d/f")], [whiteout(path)]), tmp_path / "root")
    assert list(tmp_path.iterdir()) == []


def test_a_whiteout_behind_entries_that_went_through_what_it_hides_is_refused(tmp_path: Path) -> None:
    base = [folder("usr"), symlink("lib", "usr"), folder("d"), symlink("d/l", "../usr")]
    for over in ([file("lib/f"), whiteout(".wh.lib")], [file("d/l/f"), whiteout("d/.wh..wh..opq")]):
        with pytest.raises(InvalidDocumentError, match="whiteout of links that earlier entries"):
            unpack(image("test", base, over), tmp_path / "root")
        with pytest.raises(InvalidDocumentError, match="whiteout of links that earlier entries"):
            unpack(image("test", base, [over[0]], over), tmp_path / "root")
    assert names(made(tmp_path, base, [file("lib/f")], [whiteout(".wh.lib")])) == ["d", "d/l", "usr", "usr/f"]


def test_paths_are_remembered_in_little_room() -> None:
    seen = Seen()
    paths = [b"some/rather/long/path/%d" % number for number in range(20_000)]
    assert all(seen.add(path) for path in paths)
    assert not any(seen.add(path) for path in paths)
    assert all(path in seen for path in paths)
    assert b"another" not in seen


# Damage


def damaged() -> list[tuple[str, Image, type[Exception], str]]:
    good = tar([file(f"f{number}", os.urandom(50_000)) for number in range(40)])
    base = MemoryLayer(tar([file("base")]))
    packed = gzip.compress(good, 1)
    changed = bytearray(packed)
    changed[len(changed) // 2] ^= 0xFF
    layer = MemoryLayer(packed, diff_id=Digest.of(good))
    wrong = MemoryLayer(packed, diff_id=Digest.of(good))
    wrong.blob = bytes(changed)
    short = MemoryLayer(packed, diff_id=Digest.of(good))
    short.blob = packed[:-1000]
    cut = MemoryLayer(good[: len(good) // 2])
    other = MemoryLayer(packed, diff_id=Digest.of(b"other"))
    return [
        ("bytes", image("test", base, layer, wrong), IntegrityError, "has the digest"),
        ("short", image("test", base, short), IntegrityError, "ends after"),
        ("cut", image("test", base, cut), InvalidDocumentError, "is cut off"),
        ("diff id", image("test", base, other), IntegrityError, "not to its diff id"),
    ]


@pytest.mark.parametrize("number", range(4))
def test_damage_leaves_nothing(tmp_path: Path, number: int) -> None:
    _, broken, kind, said = damaged()[number]
    before = sorted(path.name for path in Path("/proc/self/fd").iterdir())
    with pytest.raises(kind, match=said):
        unpack(broken, tmp_path / "root")
    assert list(tmp_path.iterdir()) == []
    assert sorted(path.name for path in Path("/proc/self/fd").iterdir()) == before


def test_what_is_damaged_on_its_way_is_read_once_more(tmp_path: Path) -> None:
    layer = MemoryLayer(tar([file("f")]))
    good, opened = layer.blob, layer.open

    def open_once_damaged() -> io.BytesIO:
        layer.blob = good if layer.opened else good[:-512] + b"x" * 512
        return opened()  # type: ignore[return-value]

    layer.open = open_once_damaged  # type: ignore[method-assign,assignment]
    assert names(made(tmp_path, [file("base")], layer)) == ["base", "f"]
    assert layer.opened == 2


def test_a_target_that_is_there_is_left_alone(tmp_path: Path) -> None:
    for target in ("folder", "file", "link"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "file").touch()
        if target == "link":
            (tmp_path / "link").symlink_to("nowhere")
        with pytest.raises(UsageError, match="is there already"):
            unpack(image("test", [file("f")]), tmp_path / target)
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_target_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="cannot be written"):
        unpack(image("test", [file("f")]), tmp_path / "no" / "root")


def test_an_unpacked_folder_may_be_part_of_another(tmp_path: Path) -> None:
    with remains.folder_beside(tmp_path) as place:
        bundle = place / "bundle"
        bundle.mkdir()
        unpack_into(image("test", [file("f")]), bundle / "rootfs")
        (bundle / "config.json").touch()
        bundle.rename(tmp_path / "bundle")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]
    assert sorted(path.name for path in (tmp_path / "bundle").iterdir()) == ["config.json", "rootfs"]


@pytest.mark.parametrize("packed", [gzip.compress, lambda data: zstd().compress(data)], ids=["gzip", "zstd"])
def test_packed_layers_are_unfolded_and_their_diff_ids_checked(
    tmp_path: Path, packed: Callable[[bytes], bytes]
) -> None:
    archive = tar([file("f", b"data" * 1000)])
    layer = MemoryLayer(packed(archive), diff_id=Digest.of(archive))
    assert made(tmp_path, [file("base")], layer)["f"].content == b"data" * 1000
    for wrong in (Digest.of(b"other"), layer.descriptor.digest):
        with pytest.raises(IntegrityError, match="not to its diff id"):
            unpack(image("test", MemoryLayer(packed(archive), diff_id=wrong)), tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


def test_an_image_without_layers_is_an_empty_root(tmp_path: Path) -> None:
    unpack(dataclasses.replace(image("test", [file("f")]), layers=()), tmp_path / "root")
    assert tree(tmp_path / "root") == {"": There("d", 0o755, 0, 0, 0, b"", {}, 0, "")}
