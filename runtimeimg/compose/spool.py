"""Contents of a layer set aside in a temporary file without a name, until they are written to a new layer.

They may be read while more are set aside; what is in the file is told from time to time, by whole entries.
"""

from __future__ import annotations

import io
import os
import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from runtimeimg.image.holes import is_hole
from runtimeimg.image.reserving import ReservingFile

_CHUNK = 1 << 20
_HOLE = 1 << 12  # bytes of a sparse file that are worth a hole in ours


@dataclass(slots=True, kw_only=True)
class Taken:
    """Contents of a layer in a temporary file: the entries' indexes, ascending, and the offsets where contents end.

    Those of the first `there` entries are in the file.
    """

    file: int
    indexes: array[int]
    ends: array[int]
    there: int = 0

    def __contains__(self, index: int) -> bool:
        return self.place(index) is not None

    def place(self, index: int) -> tuple[int, int] | None:
        """Return where an entry's contents start, and their size; None when they are not here."""
        there = self.there
        at = bisect_left(self.indexes, index, 0, there)
        if at == there or self.indexes[at] != index:
            return None
        start = self.ends[at - 1] if at else 0
        return start, self.ends[at] - start

    @property
    def end(self) -> int:
        """Where the contents that are in the file end."""
        there = self.there
        return self.ends[there - 1] if there else 0


class Spool:
    """Contents on their way to a temporary file; they are written some mebibytes at a time."""

    def __init__(self, folder: Path | None) -> None:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as nameless:
            self._raw = ReservingFile(os.dup(nameless.fileno()), "wb")
            self._file = io.BufferedWriter(self._raw, _CHUNK)
        self.at = 0
        self._taken = Taken(file=self._file.fileno(), indexes=array("I"), ends=array("q"))
        self._told = 0
        self._tell: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def take(self, index: int, content: Iterable[bytes | memoryview]) -> None:
        """Write the contents of an entry, whose index is greater than those of what was taken before."""
        self._taken.indexes.append(index)
        write = self._file.write
        for view in content:
            if is_hole(view) and len(view) >= _HOLE:
                self._file.flush()
                self._raw.skip(len(view))
            else:
                write(view)
            self.at += len(view)
        self._taken.ends.append(self.at)
        if self._tell is not None and self.at - self._told >= _CHUNK:
            self._told = self.at
            self._show()
            self._tell()

    def written(self, offset: int, size: int) -> Iterator[bytes]:
        """Yield bytes that were written before."""
        self._file.flush()
        while size:
            data = os.pread(self._file.fileno(), min(size, _CHUNK), offset)
            offset, size = offset + len(data), size - len(data)
            yield data

    def growing(self, tell: Callable[[], None]) -> Taken:
        """Return what is taken from now on, in a file that stays open; `tell` is called when more of it is there."""
        self._tell = tell
        self._taken.file = os.dup(self._file.fileno())
        return self._taken

    def keep(self) -> Taken:
        """Return all that was taken, in a file that stays open."""
        if self._tell is None:
            self._taken.file = os.dup(self._file.fileno())
        self._show()
        return self._taken

    def _show(self) -> None:
        self._file.flush()
        self._taken.there = len(self._taken.ends)
