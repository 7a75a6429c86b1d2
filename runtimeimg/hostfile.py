"""Files of this machine that somebody named, opened so that nothing hangs: a pipe or a device is none.

Also what goes wrong with them: `explained` and `system_error` make errors of ours of those of the system.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from runtimeimg.errors import InvalidDocumentError, NotFoundError, RuntimeimgError, UsageError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Numbers of errors for want of room on a disk."""
_HINTS = {
    **dict.fromkeys(FULL, "free some space and try again; what was there before is as it was"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "let more files be open at a time: ulimit -n 1024"),
}
_KINDS: dict[int | None, type[RuntimeimgError]] = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR), NotFoundError),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO), UsageError),
}


@contextlib.contextmanager
def explained(target: Path) -> Iterator[None]:
    """Turn OSError into an error that says that `target` cannot be written, of the kind that `system_error` gives."""
    try:
        yield
    except OSError as error:
        raise system_error(error, f"'{target}' cannot be written") from error


def system_error(error: OSError, what: str | None = None) -> RuntimeimgError:
    """Return the error for what the system refused; `what` stands before its reason, the file of `error` by default.

    NotFoundError for what is not there, UsageError for what this user may not do or can be nothing of the kind, else
    RuntimeimgError.
    """
    reason = (error.strerror or str(error)).lower()
    if what is None and error.filename is not None:
        what = f"'{os.fsdecode(error.filename)}'" if isinstance(error.filename, (str, bytes)) else str(error.filename)
    kind = _KINDS.get(error.errno, RuntimeimgError)
    return kind(f"{what}: {reason}" if what else reason, hint=_HINTS.get(error.errno or 0))


def open_file(path: Path, what: str = "") -> IO[bytes]:
    """Open a regular file for reading; NotFoundError when it is not there, anything else is refused.

    `what` stands in front of the name in messages.
    """
    name = f"{what} '{path}'" if what else f"'{path}'"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"{name} does not exist") from None
    except OSError as error:
        raise system_error(error, f"{name} cannot be read") from error
    except ValueError as error:  # a NUL in the path
        raise UsageError(f"{name} cannot be read: {error}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InvalidDocumentError(f"{name} is not a regular file")
    return os.fdopen(fd, "rb", buffering=0)


def read_file(path: Path, limit: int, what: str = "") -> bytes:
    """Return the bytes of a regular file, at most `limit` and one more."""
    parts, left = [], limit + 1
    with open_file(path, what) as file:
        while left > 0 and (data := file.read(min(left, 1 << 20))):
            parts.append(data)
            left -= len(data)
    return b"".join(parts)
