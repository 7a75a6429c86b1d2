"""Locks among the processes of a machine, which nobody who may only read can hold.

A lock is that of flock(2): the kernel drops it however its holder ends. Whoever can open a file can lock it, and keep
it locked for ever. So it is a file of its own that is locked, which is there only while it is needed, and which nobody
can open who may not write to its folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from runtimeimg.errors import TransientError
from runtimeimg.text import plain

SAY_AFTER = 2.0
"""Seconds after which it is said who is waited for."""
_PAUSE = 0.02
_TABLE = Path("/proc/locks")


@contextlib.contextmanager
def locked(path: Path, seconds: float | None, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Hold the lock that the file `path` stands for, in a folder that is there; it is gone afterwards.

    Another holder is waited for, `seconds` at most (None for as long as it takes), and `say` is told who it is; then
    TransientError is raised. OSError comes up where the folder cannot be written to.
    """
    file = _take(path, seconds, say)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        os.close(file)


def holder(file: int) -> str:
    """Return who holds the lock of an open file: its number and program where that can be told."""
    status = os.fstat(file)
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        for line in _TABLE.read_text().splitlines():
            fields = line.split()
            if len(fields) > 5 and fields[1] == "FLOCK" and fields[5] == place and int(fields[4]) > 0:
                return f"process {fields[4]} ({_program(fields[4])})"
    except (OSError, ValueError):
        pass
    return "another process"


def _program(number: str) -> str:
    try:
        return plain(Path(f"/proc/{number}/comm").read_text(errors="replace").strip())
    except OSError:
        return "which has ended"


def _take(path: Path, seconds: float | None, say: Callable[[str], None]) -> int:
    began, told = time.monotonic(), False
    while True:
        file, who = _try(path)
        if file is not None:
            return file
        waited = time.monotonic() - began
        if seconds is not None and waited >= seconds:
            raise TransientError(
                f"'{path.parent}' is locked by {who}, after {seconds:.0f} seconds still",
                hint=f"end that process, or if there is none remove '{path}'; then try again",
            )
        if waited >= SAY_AFTER and not told:
            told = True
            say(f"'{path.parent}' is locked by {who}, which is waited for")
        time.sleep(_PAUSE)


def _try(path: Path) -> tuple[int | None, str]:
    """Return the locked file, or None and who has it."""
    while True:
        try:
            file = _open(path)
        except PermissionError:
            if not os.access(path.parent, os.W_OK | os.X_OK):
                raise
            return None, "another user"
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file).st_nlink:
                return file, ""
        except BlockingIOError:
            who = holder(file)
            os.close(file)
            return None, who
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # its holder has just removed it: there may be another one


def _open(path: Path) -> int:
    """Open the file, or make it such that whoever may write to its folder can open it, and nobody else."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            continue
        with contextlib.suppress(OSError):
            folder = path.parent.stat()
            writers = folder.st_mode & 0o222
            os.fchown(file, folder.st_uid if os.geteuid() == 0 else -1, folder.st_gid)
            os.fchmod(file, 0o600 | writers | writers << 1)
        return file
