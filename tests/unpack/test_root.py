"""A root on the disk is looked at without leaving it and without hanging."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtimeimg.errors import InvalidDocumentError, NotFoundError
from runtimeimg.unpack import Root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "outside").write_text("outside")
    folder = tmp_path / "root"
    (folder / "etc").mkdir(parents=True)
    (folder / "etc" / "passwd").write_text("inside")
    (folder / "etc" / "passwd").chmod(0o640)
    for name, target in {
        "absolute": "/etc/passwd",
        "up": "../../../etc",
        "out": "../outside",
        "loop": "again",
        "again": "loop",
        "top": "/",
        "broken": "nothing",
    }.items():
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "pipe")
    return folder


@pytest.fixture
def root(folder: Path) -> Iterator[Root]:
    with Root(folder) as root:
        yield root


@pytest.mark.parametrize(
    "path",
    ["etc/passwd", "/etc/passwd", b"/etc/./passwd", "absolute", "up/passwd", "top/top/absolute", "../etc/passwd"],
)
def test_links_are_followed_inside_of_the_root(root: Root, path: str) -> None:
    assert root.read(path, 6) == b"inside"


@pytest.mark.parametrize(
    "path", ["out", "outside", "broken", "etc/passwd/x", "pipe/x", "nothing", "nothing/../etc/passwd", "x" * 300]
)
def test_what_is_not_inside_is_not_there(root: Root, path: str) -> None:
    assert root.read(path, 6) is None
    assert root.lookup(path, follow=True) is None


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("pipe", "'/pipe' is not a regular file"),
        ("etc", "'/etc' is not a regular file"),
        ("/", "'/' is not a regular file"),
        ("loop", "'/loop' goes through more than 40 links"),
        ("a\0b", "'/a\0b' is no path: it holds a NUL"),
    ],
)
def test_what_cannot_be_read_is_refused(root: Root, path: str, said: str) -> None:
    with pytest.raises(InvalidDocumentError) as raised:
        root.read(path, 6)
    assert str(raised.value) == said


def test_a_file_larger_than_the_limit_is_refused(root: Root) -> None:
    with pytest.raises(InvalidDocumentError, match="larger than 5 bytes"):
        root.read("absolute", 5)


def test_lookup_tells_what_is_there_without_following_the_last_link(root: Root, folder: Path) -> None:
    link = root.lookup("top/absolute")
    assert link is not None
    assert (link.path, link.kind, link.target) == (b"absolute", "l", b"/etc/passwd")
    file = root.lookup("absolute", follow=True)
    assert file is not None
    assert (file.path, file.kind, file.mode, file.size, file.target) == (b"etc/passwd", "f", 0o640, 6, b"")
    assert (file.uid, file.gid) == (os.geteuid(), (folder / "etc/passwd").stat().st_gid)
    pipe, top = root.lookup("pipe"), root.lookup("/")
    assert pipe is not None
    assert top is not None
    assert (pipe.kind, top.kind, top.path) == ("p", "d", b"")


def test_names_of_a_directory(root: Root) -> None:
    assert root.names("up") == [b"passwd"]
    assert root.names("absolute") is None
    assert root.names("nothing") is None


def open_files() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def test_no_descriptor_is_left_open(folder: Path) -> None:
    before = open_files()
    with Root(folder) as root:
        for path in ("etc/passwd", "out", "nothing", "up", "top/top/pipe"):
            root.lookup(path, follow=True)
            root.lookup(path)
            root.names(path)
        with pytest.raises(InvalidDocumentError):
            root.read("loop", 1)
    assert open_files() == before


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nothing' cannot be read: no such file or directory"):
        Root(tmp_path / "nothing")
