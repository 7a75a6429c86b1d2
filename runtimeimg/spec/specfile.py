"""Reading of spec files, apart from what they mean."""

from __future__ import annotations

import os
import stat

from runtimeimg.errors import NotFoundError, UsageError
from runtimeimg.spec import yamltext


def read(path: str | os.PathLike[str]) -> tuple[bytes, str]:
    """Return the bytes of a spec file, one more than a spec may have at most, and its name for messages.

    Raises NotFoundError for a file that does not exist, UsageError for one that cannot be read.
    """
    file = _printable(os.fspath(path))
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise UsageError(f"spec '{file}' is not a regular file", hint="'-' reads standard input")
            return stream.read(yamltext.MAX_BYTES + 1), file
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"spec '{file}' does not exist", hint="check the name; '-' reads standard input") from None
    except IsADirectoryError:
        raise UsageError(f"spec '{file}' is a directory", hint="name the file in it, for example build.yaml") from None
    except OSError as error:
        raise UsageError(f"spec '{file}' cannot be read: {(error.strerror or 'unknown error').lower()}") from None
    except ValueError as error:  # a NUL in the path
        raise UsageError(f"spec '{file}' cannot be read: {error}") from None


def _printable(name: str | bytes) -> str:
    """Return a file name for messages, without what would garble a terminal."""
    text = os.fsdecode(name)
    return text if text.isprintable() else repr(text)[1:-1]
