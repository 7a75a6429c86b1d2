"""Files that are written beside their place, wherever that is: each noted by a symlink in the user's own folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from runtimeimg.remains.folders import sweep_folders
from runtimeimg.remains.places import FILE, in_place, place, remove_place, removed, taken
from runtimeimg.remains.register import held

_PREFIX, _SUFFIX = ".runtimeimg-", ".tmp"


def temporary_file(where: Path, mode: int) -> tuple[IO[bytes], Path]:
    """Return a new locked file in `where`, to be renamed or removed, and then told to `forget`.

    It is noted before it is made, so that there is no moment in which it would be left for good, and once more in case
    that another process took the note for an old one meanwhile.
    """
    while True:
        path = where / f"{_PREFIX}{os.urandom(8).hex()}{_SUFFIX}"
        held.add(path, f"file '{path}'", lambda path=path: _unlinked(path))  # type: ignore[misc]
        _note(path)
        try:
            file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "w+b")
        except BaseException:
            forget(path)
            raise
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_nlink:
                _note(path)
                return file, path
        except BlockingIOError:
            pass
        except BaseException:
            file.close()
            path.unlink(missing_ok=True)
            forget(path)
            raise
        file.close()
        forget(path)


@contextlib.contextmanager
def folder_beside(where: Path) -> Iterator[Path]:
    """Return a context whose value is a new folder in `where`, which is somebody's own; gone when it is left."""
    file, path = temporary_file(where, 0o600)
    made = _folder_of(path)
    with file:
        try:
            made.mkdir()
            yield made
        finally:
            if _gone(path):
                forget(path)


def forget(path: Path) -> None:
    """Take back what was noted of a temporary file, which is in its place or removed."""
    held.drop(path)
    with contextlib.suppress(OSError):
        if (where := place()) is not None:
            _note_of(path, where).unlink(missing_ok=True)
            remove_place(None)


def is_temporary(name: str) -> bool:
    """Tell whether a file of this name is one that `temporary_file` makes."""
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def remove_if_abandoned(path: Path) -> None:
    """Remove a temporary file, with a folder beside it, that no living writer holds; whatever else is there stays."""
    if is_temporary(path.name):
        with taken(path) as file:
            if file is not None:
                _gone(path)


def sweep(tmp: str | None = None) -> None:
    """Remove folders and files of processes that are no more; notes stay for those who understand them."""
    where = place(tmp)
    if where is None:
        return
    sweep_folders(where)
    for path in where.glob(f"*{FILE}"):
        with contextlib.suppress(OSError):
            target = path.readlink()
            remove_if_abandoned(target)
            if not os.path.lexists(target):
                path.unlink(missing_ok=True)
    remove_place(tmp)


def _note(path: Path) -> None:
    """Note a file, if it is not; where that is not possible it is done without."""

    def make(where: Path) -> None:
        with contextlib.suppress(FileExistsError):
            _note_of(path, where).symlink_to(path.absolute())

    with contextlib.suppress(OSError):
        in_place(None, make)


def _note_of(path: Path, where: Path) -> Path:
    return where / f"{path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX)}{FILE}"


def _gone(path: Path) -> bool:
    """Remove a temporary file with the folder beside it, and tell whether they are gone."""
    if not removed(_folder_of(path)):
        return False
    path.unlink(missing_ok=True)
    return True


def _folder_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.d")


def _unlinked(path: Path) -> bool:
    if gone := _gone(path):
        forget(path)
    return gone
