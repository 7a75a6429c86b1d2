"""Files written whole or not at all: a temporary file beside the target, synced, then renamed over it.

A reader of the target sees the old bytes or the new ones, never a part. Temporary files of writers that were killed
are told from those in use by a lock that their writer holds on them; the next command removes them, and so does
`remove_stale` those in a folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from runtimeimg import remains
from runtimeimg.errors import NotFoundError, UsageError
from runtimeimg.hostfile import explained


def require_folder(target: Path, what: str) -> None:
    """Raise NotFoundError or UsageError when `target` could not be written for want of its folder or of a right."""
    folder = target.parent
    if not folder.exists():
        raise NotFoundError(f"{what} cannot be written: folder '{folder}' does not exist")
    if not folder.is_dir():
        raise UsageError(f"{what} cannot be written: '{folder}' is not a folder")
    if target.is_dir():
        raise UsageError(f"{what} cannot be written: '{target}' is a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{what} cannot be written: folder '{folder}' does not let you")


class AtomicFile:
    """A file on its way to `target`: written to `file`, which lies at `temporary`, in place only after `commit`."""

    def __init__(self, target: Path, file: IO[bytes], temporary: Path) -> None:
        self.target = target
        self.file = file
        self.temporary = temporary
        self._done = False

    def commit(self, mode: int | None = None) -> None:
        """Sync the bytes to the disk and put the file in place; its permissions are `mode`, else 0666 and umask."""
        self.file.flush()
        if mode is not None:
            os.fchmod(self.file.fileno(), mode)
        os.fsync(self.file.fileno())
        self.temporary.replace(self.target)
        self._done = True
        remains.forget(self.temporary)

    def cut(self, size: int) -> int:
        """Go on writing behind the first `size` bytes; return how many are given up."""
        written = self.file.tell()
        self.file.seek(size)
        self.file.truncate()
        return written - size

    def discard(self) -> None:
        """Remove the temporary file, if it was not put in place."""
        if not self._done:
            self.temporary.unlink(missing_ok=True)
            self._done = True
            remains.forget(self.temporary)


@contextlib.contextmanager
def atomic_file(target: Path, *, folder: Path | None = None) -> Iterator[AtomicFile]:
    """Return a context whose value is an AtomicFile; what is not committed when it is left is discarded.

    The temporary file lies in `folder` (on the target's file system; the target's own folder by default). Errors of
    the file system become RuntimeimgError naming the target.
    """
    with explained(target):
        file, temporary = remains.temporary_file(folder or target.parent, 0o666)
        with file:
            pending = AtomicFile(target, file, temporary)
            try:
                yield pending
            finally:
                pending.discard()


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, replacing the name: what a symbolic link there leads to stays as it is.

    What is there and is no regular file (a pipe, `/dev/stdout` and whatever else lies below /dev) is written to.
    """
    with explained(Path(path)):
        target = Path(path).absolute()
        if target.is_relative_to("/dev") or target.is_relative_to("/proc"):
            target.write_bytes(data)
            return
        mode = None
        with contextlib.suppress(FileNotFoundError):
            status = target.lstat()
            if not stat.S_ISREG(status.st_mode) and not stat.S_ISLNK(status.st_mode):
                target.write_bytes(data)
                return
            mode = status.st_mode & 0o777 if stat.S_ISREG(status.st_mode) else None
    with atomic_file(target) as pending:
        pending.file.write(data)
        pending.commit(mode)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` last through a power failure, where its file system can."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(fd)


def remove_stale(folder: Path) -> None:
    """Remove temporary files in `folder` that no living writer holds."""
    for entry in os.scandir(folder):
        remains.remove_if_abandoned(Path(entry.path))
