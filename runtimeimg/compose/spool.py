"""Contents of a layer set aside in a temporary file without a name, until they are written to a new layer."""

from __future__ import annotations

import io
import os
import tempfile
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from runtimeimg.image.layertar import LayerTar, is_hole
from runtimeimg.image.reserving import ReservingFile

_CHUNK = 1 << 20
_HOLE = 1 << 12  # bytes of a sparse file that are worth a hole in ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Contents of a layer in a temporary file: the entries' indexes, ascending, and offsets in bytes."""

    file: int
    indexes: array[int]
    offsets: array[int]

    def offset(self, index: int) -> int | None:
        """Return where an entry's contents start; None when they are not here."""
        at = bisect_left(self.indexes, index)
        return self.offsets[at] if at < len(self.indexes) and self.indexes[at] == index else None


class Spool:
    """Contents on their way to a temporary file; they are written some mebibytes at a time."""

    def __init__(self, folder: Path | None) -> None:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as nameless:
            self._raw = ReservingFile(os.dup(nameless.fileno()), "wb")
            self._file = io.BufferedWriter(self._raw, _CHUNK)
        self._at = 0
        self._indexes, self._offsets = array("I"), array("q")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def take(self, index: int, archive: LayerTar) -> None:
        """Write the contents of the archive's current entry, which is behind those that were taken before."""
        self._indexes.append(index)
        self._offsets.append(self._at)
        write = self._file.write
        for view in archive.content():
            if is_hole(view) and len(view) >= _HOLE:
                self._file.flush()
                self._raw.skip(len(view))
            else:
                write(view)
            self._at += len(view)

    def keep(self) -> Taken:
        """Return what was taken, in a file that stays open."""
        self._file.flush()
        return Taken(file=os.dup(self._file.fileno()), indexes=self._indexes, offsets=self._offsets)
