import io
import os
import socket
import stat
import tarfile
from pathlib import Path

import pytest

from runtimeimg.builders.context import Source, find_sources, stream
from runtimeimg.errors import NotFoundError, UsageError
from runtimeimg.render import ContextPath
from runtimeimg.stores.directory import Directory


def names(root: Path, pattern: str, folder: str | None = None) -> list[str]:
    return [source.name for source in find_sources(ContextPath(prefix="p", folder=folder, pattern=pattern), root)]


def found(name: str, folder: Path) -> Source:
    return Source(name=name, folder=Directory(folder), path=b"")


def unpacked(sources: list[Source]) -> dict[str, tarfile.TarInfo]:
    data = io.BytesIO(b"".join(stream("FROM scratch\n", sources)))
    with tarfile.open(fileobj=data, mode="r:") as archive:
        return {member.name: member for member in archive}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("a.c", "b.c", "b.h", "d/e/f", "[x]", "-n", "sp ace"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (".", [""]),
        ("a.c", ["/a.c"]),
        ("*.c", ["/a.c", "/b.c"]),
        ("?.[ch]", ["/a.c", "/b.c", "/b.h"]),
        ("[^a].c", ["/b.c"]),
        ("d/*/f", ["/d/e/f"]),
        ("d/./e//f", ["/d/e/f"]),
        (r"\[x\]", ["/[x]"]),
        ("[[]x]", ["/[x]"]),
        (r"[a\-c].c", ["/a.c"]),
        ("-*", ["/-n"]),
        ("sp ace", ["/sp ace"]),
    ],
)
def test_patterns_find_what_they_name(tree: Path, pattern: str, found: list[str]) -> None:
    assert names(tree, pattern) == [f"p{name}" for name in found]
    assert names(Path("/nowhere"), pattern, str(tree)) == [f"p{name}" for name in found]


@pytest.mark.parametrize("pattern", ["nothing", "*.x", "a.c/x", "d/nothing/f"])
def test_what_is_not_there_is_named(tree: Path, pattern: str) -> None:
    with pytest.raises(NotFoundError, match="is not in folder"):
        names(tree, pattern)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not exist"):
        names(tmp_path / "none", ".")


@pytest.mark.parametrize("pattern", ["..", "d/../..", "../root/a.c", "d/e/../../../x"])
def test_dot_dot_is_refused(tree: Path, pattern: str) -> None:
    with pytest.raises(UsageError, match="leads out of its folder"):
        names(tree, pattern)


def test_links_within_the_workspace_are_followed(tree: Path) -> None:
    (tree / "link").symlink_to("d/e")
    (tree / "chain").symlink_to("link")
    (tree / "absolute").symlink_to(tree / "d")
    for pattern in ("link", "chain", "absolute/e"):
        (source,) = find_sources(ContextPath(prefix="p", folder=None, pattern=pattern), tree)
        assert source.name == f"p/{pattern}"
        assert source.path == b"d/e"


@pytest.mark.parametrize("target", ["/etc", "..", "../../etc", "d/../../root2"])
def test_links_out_of_the_workspace_are_refused(tree: Path, target: str) -> None:
    (tree / "link").symlink_to(target)
    for pattern in ("link", "link/passwd", "lin?"):
        with pytest.raises(UsageError, match="leads out of the workspace"):
            names(tree, pattern)


def test_links_in_a_folder_stay_in_it(tree: Path) -> None:
    (tree / "absolute").symlink_to("/d/e")
    (tree / "above").symlink_to("../../../d")
    for pattern, end in (("absolute/f", "d/e/f"), ("above/e", "d/e")):
        (source,) = find_sources(ContextPath(prefix="p", folder=str(tree), pattern=pattern), Path("/nowhere"))
        assert source.path == end.encode()


def test_links_in_a_circle_end(tree: Path) -> None:
    (tree / "one").symlink_to("two")
    (tree / "two").symlink_to("one")
    with pytest.raises(UsageError, match="too many symlinks"):
        names(tree, "one")


def test_the_archive_holds_files_as_they_are(tree: Path) -> None:
    (tree / "d" / "link").symlink_to("/etc/passwd")
    (tree / "d" / "empty").mkdir()
    (tree / "a.c").chmod(0o4751)
    os.utime(tree / "a.c", (1, 1_000_000_000))
    odd = os.fsdecode(b"\xff\xfe")
    (tree / odd).write_text("odd")
    members = unpacked([found("p", tree)])
    assert list(members)[:2] == ["Dockerfile.runtime", "p"]
    assert members["p/d/link"].linkname == "/etc/passwd"
    assert members["p/d/empty"].isdir()
    assert (members["p/a.c"].mode, members["p/a.c"].mtime) == (0o4751, 1_000_000_000)
    assert f"p/{odd}" in members
    assert {(member.uid, member.gid, member.uname, member.gname) for member in members.values()} == {(0, 0, "", "")}


def test_the_archive_is_the_same_again_and_names_come_once(tree: Path) -> None:
    sources = [found("p/d", tree / "d"), found("p", tree)]
    first = b"".join(stream("FROM scratch\n", sources))
    assert first == b"".join(stream("FROM scratch\n", sources))
    members = unpacked(sources)
    assert len(members) == len(set(members)) == 11


def test_long_names_and_large_files_in_small_pieces(tmp_path: Path) -> None:
    name = "n" * 200
    (tmp_path / name).mkdir()
    with (tmp_path / name / name).open("wb") as file:
        file.truncate(5_000_001)
    pieces = list(stream("", [found(f"p/{name}", tmp_path / name)]))
    assert max(map(len, pieces)) <= 1 << 20
    members = unpacked([found(f"p/{name}", tmp_path / name)])
    assert members[f"p/{name}/{name}"].size == 5_000_001


def test_a_file_that_shrinks_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(3_000_000))
    pieces = stream("", [Source(name="p", folder=Directory(tmp_path), path=b"f")])
    for _ in range(4):
        next(pieces)
    os.truncate(path, 10)
    with pytest.raises(UsageError, match="changed while it was read"):
        list(pieces)


@pytest.mark.parametrize(("name", "what"), [("pipe", "a pipe"), ("socket", "a socket"), ("device", "a device")])
def test_what_no_image_takes_out_of_a_folder_is_named(tree: Path, name: str, what: str) -> None:
    path = tree / "d" / name
    if name == "pipe":
        os.mkfifo(path)
    elif name == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    elif os.geteuid() == 0:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    else:
        pytest.skip("devices are made by root")
    with pytest.raises(UsageError, match=f"d/{name}' is {what}"):
        unpacked([found("p", tree)])
    assert "p/a.c" in unpacked([Source(name="p/a.c", folder=Directory(tree), path=b"a.c")])
