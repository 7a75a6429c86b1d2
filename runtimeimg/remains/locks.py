"""Locks among the processes of a user, which leave nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from runtimeimg.remains.places import LOCK, in_place, remove_place

_PAUSE = 0.02


@contextlib.contextmanager
def lock(name: str, *, shared: bool = False, seconds: float | None = None) -> Iterator[bool]:
    """Hold a lock among the processes of this user; the value is False when it was not to be had within `seconds`.

    Where there is no place for locks it is as if nobody else were there.
    """
    try:
        file = _lock(f"{name}{LOCK}", fcntl.LOCK_SH if shared else fcntl.LOCK_EX, seconds)
    except BlockingIOError:
        yield False
        return
    except OSError:
        file = None
    try:
        yield True
    finally:
        if file is not None:
            with file, contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # others who share it keep it
                Path(file.name).unlink(missing_ok=True)
            remove_place(None)


def _lock(name: str, how: int, seconds: float | None) -> IO[bytes] | None:
    until = None if seconds is None else time.monotonic() + seconds
    while (file := in_place(None, lambda where: (where / name).open("a+b", buffering=0))) is not None:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_nlink:
                return file
        except BlockingIOError:
            if until is not None and time.monotonic() >= until:
                file.close()
                raise
            time.sleep(_PAUSE)
        except BaseException:
            file.close()
            raise
        file.close()
    return None
