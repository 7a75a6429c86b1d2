"""Locks that somebody holds for ever: who may only read holds none, who may write is named and not waited for."""

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtimeimg import locks
from runtimeimg.cache import Cache
from runtimeimg.errors import TransientError
from runtimeimg.stores import StoreOptions
from runtimeimg.stores.layout import files
from tests.stores.made import Lines, contents_of, digests, image, read_image, write

OLD, NEW = image(1, layers=1), image(2, layers=1)
NOBODY = 65534
HOLD = """
import fcntl, os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(file, int(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path, how: int, user: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """Have another process hold a lock on a file as long as the context lasts, by opening it for reading."""
    command = [sys.executable, "-I", "-S", "-c", HOLD, str(path), str(how)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, user=user) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.communicate()


def layers(root: Path, tag: str) -> list[str]:
    return [str(digest) for digest in contents_of(read_image(f"oci:{root}:{tag}"))]


def wanted(made: object) -> list[str]:
    return [str(digest) for digest in digests([layer.descriptor for layer in made.layers])]  # type: ignore[attr-defined]


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    write(f"oci:{tmp_path}/layout:1", OLD)
    return tmp_path / "layout"


@pytest.mark.parametrize("how", [fcntl.LOCK_SH, fcntl.LOCK_EX], ids=["shared", "exclusive"])
@pytest.mark.parametrize("name", ["oci-layout", "index.json", "blobs"])
def test_a_reader_of_a_layout_keeps_nobody_from_writing(layout: Path, name: str, how: int) -> None:
    with held(layout / name, how):
        write(f"oci:{layout}:1", NEW)
    assert layers(layout, "1") == wanted(NEW)
    assert sorted(path.name for path in layout.iterdir()) == ["blobs", "index.json", "oci-layout"]


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_a_reader_of_an_archive_keeps_nobody_from_writing(tmp_path: Path, kind: str) -> None:
    place = f"{kind}:{tmp_path}/a.tar" + (":a/b:1" if kind == "docker-archive" else ":1")
    write(place, OLD)
    with held(tmp_path / "a.tar", fcntl.LOCK_EX):
        write(place, NEW)
    assert [str(digest) for digest in contents_of(read_image(place))] == wanted(NEW)


@pytest.mark.parametrize(
    ("mode", "there"), [(0o755, 0o600), (0o775, 0o660), (0o1777, 0o666), (0o700, 0o600)], ids=lambda mode: f"{mode:o}"
)
def test_who_may_not_write_to_a_folder_cannot_open_its_lock(layout: Path, mode: int, there: int) -> None:
    layout.chmod(mode)
    with files.locked(layout):
        assert (layout / files.LOCK).stat().st_mode & 0o777 == there
    assert not (layout / files.LOCK).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_can_neither_read_nor_hold_the_lock() -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "layout"
        write(f"oci:{root}:1", OLD)
        for folder in (root, root.parent):
            folder.chmod(0o755)
        with files.locked(root):
            codes = [
                subprocess.run(["cat", root / file], user=NOBODY, capture_output=True, check=False).returncode
                for file in ("index.json", files.LOCK)
            ]
    assert codes == [0, 1]


def test_a_writer_that_never_lets_go_is_named(layout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.5)
    monkeypatch.setattr(locks, "SAY_AFTER", 0.1)
    lines = Lines()
    (layout / files.LOCK).touch(0o600)
    with held(layout / files.LOCK, fcntl.LOCK_EX) as process:
        with pytest.raises(TransientError) as caught:
            write(f"oci:{layout}:1", NEW, StoreOptions(progress=lines))
        program = Path(f"/proc/{process.pid}/comm").read_text().strip()
        who = f"'{layout}' is locked by process {process.pid} ({program})"
    assert caught.value.message == f"{who}, after 0 seconds still"
    assert caught.value.exit_code == 75
    assert f"remove '{layout / files.LOCK}'" in (caught.value.hint or "")
    assert lines.lines == [f"{who}, which is waited for"]
    assert layers(layout, "1") == wanted(OLD)
    write(f"oci:{layout}:1", NEW)
    assert layers(layout, "1") == wanted(NEW)
    assert not (layout / files.LOCK).exists()


def test_a_holder_that_cannot_be_told_is_another_process(
    layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LOCK_SECONDS", 0)
    (layout / files.LOCK).touch(0o600)
    for table in ("", "1: FLOCK ADVISORY\n", "1: FLOCK  ADVISORY  WRITE x y 0 EOF\n"):
        (tmp_path / "table").write_text(table)
        monkeypatch.setattr(locks, "_TABLE", tmp_path / "table")
        with held(layout / files.LOCK, fcntl.LOCK_EX), pytest.raises(TransientError, match="by another process, after"):
            write(f"oci:{layout}:1", NEW)


def test_a_lock_is_waited_for(layout: Path) -> None:
    (layout / files.LOCK).touch(0o600)
    command = [sys.executable, "-I", "-S", "-c", HOLD, str(layout / files.LOCK), str(fcntl.LOCK_EX)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert process.stdin is not None
        ended = subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -9 {process.pid}"])
        write(f"oci:{layout}:1", NEW)
        ended.wait()
    assert process.returncode == -9
    assert layers(layout, "1") == wanted(NEW)


def test_a_lock_file_of_a_writer_that_was_killed_is_no_lock(layout: Path) -> None:
    (layout / files.LOCK).touch(0o600)
    write(f"oci:{layout}:1", NEW)
    assert layers(layout, "1") == wanted(NEW)
    assert not (layout / files.LOCK).exists()


@pytest.mark.parametrize("there", ["symlink", "folder", "pipe"])
def test_what_is_no_lock_file_is_an_error(layout: Path, tmp_path: Path, there: str) -> None:
    path = layout / files.LOCK
    if there == "symlink":
        (tmp_path / "elsewhere").write_text("kept")
        path.symlink_to(tmp_path / "elsewhere")
    elif there == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    if there == "pipe":
        write(f"oci:{layout}:1", NEW)  # whoever may write to the folder made it; it is locked like any file
        assert layers(layout, "1") == wanted(NEW)
        return
    with pytest.raises(Exception, match="cannot be written"):
        write(f"oci:{layout}:1", NEW)
    assert layers(layout, "1") == wanted(OLD)
    assert not (tmp_path / "elsewhere").exists() or (tmp_path / "elsewhere").read_text() == "kept"


def test_nobody_loses_a_lock_to_its_removal(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from runtimeimg import locks
counter = Path(sys.argv[1]) / "counter"
for _ in range(200):
    with locks.locked(Path(sys.argv[1]) / "lock", 60):
        counter.write_text(str(int(counter.read_text()) + 1))
"""
    (tmp_path / "counter").write_text("0")
    running = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) for _ in range(4)]
    assert [process.wait(120) for process in running] == [0, 0, 0, 0]
    assert (tmp_path / "counter").read_text() == "800"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counter"]


def test_locks_on_files_of_a_cache_keep_nobody_from_using_it(tmp_path: Path) -> None:
    cache = Cache.open(tmp_path / "cache")
    assert cache is not None
    cache.put("toc", "0" * 64, b"kept")
    (place,) = (tmp_path / "cache").rglob("0" * 64)
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
    began = time.monotonic()
    with held(place, fcntl.LOCK_EX):
        assert cache.get("toc", "0" * 64) == b"kept"
        cache.put("toc", "0" * 64, b"new")
        with cache.work_folder() as folder:
            assert folder.is_dir()
        assert cache.prune() > 0
    assert cache.get("toc", "0" * 64) is None
    assert time.monotonic() - began < 30
