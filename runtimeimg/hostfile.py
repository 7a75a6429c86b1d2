"""Files of this machine that somebody named, opened so that nothing hangs: a pipe or a device is none."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO

from runtimeimg.errors import InvalidDocumentError, NotFoundError, UsageError


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
        raise UsageError(f"{name} cannot be read: {(error.strerror or str(error)).lower()}") from error
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
