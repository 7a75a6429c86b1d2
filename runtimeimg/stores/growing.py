"""A file while it is written, read from its beginning by another thread."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Protocol, Self, runtime_checkable

from runtimeimg.oci import Descriptor
from runtimeimg.stores.parallel import Stopped


class Making(Protocol):
    """A blob that is being written to a file."""

    def grown(self, size: int) -> None:
        """Tell that the first `size` bytes are in the file."""

    def finished(self, descriptor: Descriptor) -> None:
        """Tell that it is whole, and what it came to."""

    def dropped(self) -> None:
        """Tell that nothing comes of it."""


class Early(Protocol):
    """What takes blobs while they are made, which may be in vain: who reads the file falls behind as it likes."""

    def begin(self, path: Path, *, new: bool) -> Making:
        """Take the blob that is being written to `path`; `new` tells that no one is known to have made it before."""

    def forget(self) -> None:
        """Let go of all that was begun."""


@runtime_checkable
class TakesEarly(Protocol):
    """A destination that takes blobs before the image is written."""

    def early(self) -> AbstractContextManager[Early]:
        """Return a context in which blobs are taken; those that are not written before it ends are called off."""


class Growing:
    """How much of a file is there; readers wait for more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = 0
        self._whole = False
        self._dropped = False
        self._changed = threading.Condition()

    def grown(self, size: int) -> None:
        """Let readers have the first `size` bytes."""
        with self._changed:
            self._size = size
            self._changed.notify_all()

    def end(self) -> None:
        """Let readers come to an end: the file is whole."""
        with self._changed:
            self._whole = True
            self._changed.notify_all()

    def drop(self) -> None:
        """Let readers raise Stopped."""
        with self._changed:
            self._dropped = True
            self._changed.notify_all()

    def wait_for(self, size: int) -> int:
        """Wait until `size` bytes are there, or all; return how many are. Raises Stopped where the file was dropped."""
        with self._changed:
            while self._size < size and not self._whole and not self._dropped:
                self._changed.wait()
            if self._dropped:
                raise Stopped
            return self._size

    def open(self) -> GrowingReader:
        """Return a reader of the file from its beginning."""
        return GrowingReader(self, self.path.open("rb", buffering=0))


class GrowingReader:
    """Reads a file as it grows; a context, and what a request streams."""

    def __init__(self, growing: Growing, file: IO[bytes]) -> None:
        self._growing = growing
        self._file = file
        self.at = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, count: int, /) -> bytes:
        """Return up to `count` bytes, none at the end; raise Stopped where the file was dropped."""
        there = self._growing.wait_for(self.at + 1)
        data = self._file.read(min(count, there - self.at))
        self.at += len(data)
        return data
