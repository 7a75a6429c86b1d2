"""A file that is written once from front to back, with room on the disk taken for it in large steps.

A file system that finds room page by page takes several times as long to take up the same bytes.
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STEP = 32 << 20


class ReservingFile(io.FileIO):
    """A file for writing; what was reserved and not used is given back when it is closed."""

    _written = 0
    _reserved = 0

    def write(self, data: ReadableBuffer, /) -> int:
        """Write `data`, perhaps not all of it, and return how many bytes."""
        wanted = self._written + memoryview(data).nbytes
        if wanted > self._reserved and wanted > _STEP // 8:
            # Not every system and file system can, and one that is full takes what still fits.
            with contextlib.suppress(OSError, AttributeError):
                os.posix_fallocate(self.fileno(), self._written, wanted - self._written + _STEP)
            self._reserved = wanted + _STEP
        count = super().write(data)
        self._written += count
        return count

    def skip(self, count: int) -> None:
        """Leave a hole of `count` bytes."""
        self._written += count
        self.seek(self._written)
        if os.fstat(self.fileno()).st_size < self._written:
            self.truncate(self._written)

    def close(self) -> None:
        """Give back what is reserved, and close."""
        if not self.closed and self._reserved:
            self.truncate(self._written)
        super().close()


def reserving(file: Path | int) -> io.BufferedWriter:
    """Open a file for writing, by the path of one that is not there yet or by a descriptor that is closed with it."""
    return io.BufferedWriter(ReservingFile(file, "xb" if isinstance(file, Path) else "wb"), 1 << 20)
