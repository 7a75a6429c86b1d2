"""The user's own folder among the temporary files, and what lies in it: files that carry the lock of their owner."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeVar

from runtimeimg.remains.trees import remove_tree

_Made = TypeVar("_Made")

LOCK, FILE, NOTE = ".lock", ".file", ".note"
_TRIES = 1000


def place(tmp: str | None = None, *, make: bool = False) -> Path | None:
    """Return the user's own folder below `tmp` (that for temporary files when None), None where there is none.

    One that is not ours alone is not used. With `make` it is made; OSError where that is not possible.
    """
    where = Path(tmp or _default()) / f"runtimeimg-{os.geteuid()}"
    if make:
        with contextlib.suppress(FileExistsError):
            where.mkdir(mode=0o700)
    try:
        status = where.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
    return where if ours else None


def in_place(tmp: str | None, make: Callable[[Path], _Made]) -> _Made | None:
    """Make something in the user's own folder, which others may be removing at the same time; None without one."""
    for _ in range(_TRIES):
        if (where := place(tmp, make=True)) is None:
            return None
        with contextlib.suppress(FileNotFoundError):
            return make(where)
    return None


def remove_place(tmp: str | None) -> None:
    """Remove the folder, unless there is something in it."""
    with contextlib.suppress(OSError):
        if (where := place(tmp)) is not None:
            where.rmdir()


def new_locked(where: Path, suffix: str) -> IO[bytes]:
    """Return a new locked file; one that a cleaner took in the moment before it was locked is given up for another."""
    while True:
        file = (where / f"{os.urandom(8).hex()}{suffix}").open("x+b", buffering=0)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_nlink:
                return file
        file.close()


@contextlib.contextmanager
def taken(path: Path) -> Iterator[IO[bytes] | None]:
    """Yield what `take` returns, closed afterwards."""
    with contextlib.ExitStack() as stack:
        file = take(path)
        yield None if file is None else stack.enter_context(file)


def take(path: Path) -> IO[bytes] | None:
    """Return a file of ours with its lock, None when somebody holds that, or it is gone or not ours."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK)

    file = None
    try:
        file = open(path, "r+b", buffering=0, opener=opener)  # noqa: SIM115 - Path.open takes no opener
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise PermissionError
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if file is not None:
            file.close()
        return None
    return file


def removed(made: Path) -> bool:
    """Remove a folder with all that is in it, and tell whether it is gone."""
    with contextlib.suppress(OSError):
        made.rmdir()  # an empty one needs no descriptor, and there may be none left
    if not os.path.lexists(made):
        return True
    with contextlib.suppress(OSError):
        remove_tree(made)
    if os.path.lexists(made):
        import shutil

        shutil.rmtree(made, ignore_errors=True)  # as much of it as can be
    return not os.path.lexists(made)


def _default() -> str:
    from tempfile import gettempdir

    return gettempdir()
