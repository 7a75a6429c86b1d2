"""Contents of files out of a layer that carries a table of its own: the parts that are wanted, each verified."""

from __future__ import annotations

import contextlib
import hashlib
from array import array
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Self

from runtimeimg.compose.layers import LayerRef, Ranged
from runtimeimg.compose.spool import Spool
from runtimeimg.errors import IntegrityError, InvalidDocumentError
from runtimeimg.image.decompress import Unfolded
from runtimeimg.image.holes import zeros
from runtimeimg.image.parts import Part, Parts
from runtimeimg.image.spans import ByteSource, OpenRange
from runtimeimg.image.tables import ReadRange, has_table

_GAP = 1 << 12  # bytes between two parts that are rather read than asked for around: headers of small files
_CHUNK = 1 << 18


def ranges(parts: Iterable[Part]) -> list[tuple[int, int]]:
    """Return the ranges of the blob that hold the parts, in the order in which they are read, each part once."""
    found: list[tuple[int, int]] = []
    seen: set[int] = set()
    for part in parts:
        if part.start == part.end or part.start in seen:
            continue
        seen.add(part.start)
        if found and found[-1][1] <= part.start <= found[-1][1] + _GAP:
            found[-1] = (found[-1][0], part.end)
        else:
            found.append((part.start, part.end))
    return found


def repeated(parts: Parts, indexes: Sequence[int]) -> set[Part]:
    """Return the parts that several of the files, or one of them several times, is made of."""
    starts = array("Q", sorted(part.start for part in parts.of(indexes)))
    several = {one for one, other in pairwise(starts) if one == other and one}
    counts = Counter(part for part in parts.of(indexes) if part.start in several)
    return {part for part, count in counts.items() if count > 1}


def table_reader(ref: LayerRef) -> ReadRange | None:
    """Return what reads parts of a layer that says it has a table, None where it has none or its store has no parts."""
    open_range = ref.layer.ranges if isinstance(ref.layer, Ranged) and has_table(ref.layer.descriptor) else None
    if open_range is None:
        return None

    def read(start: int, end: int) -> bytes:
        parts = []
        with contextlib.closing(open_range(start, end)) as source:
            while data := source.read(_CHUNK):
                parts.append(data)
        return b"".join(parts)

    return read


class PartReader:
    """Reads parts in the order in which they were given; a context, as a connection may be open.

    Files that have parts in common share them in the blob (zstd:chunked): such a part is taken out of `spool`, which
    all that is read is written to as it comes, when it is wanted again.
    """

    def __init__(
        self,
        read: Iterable[tuple[int, int]],
        several: Container[Part],
        open_range: OpenRange,
        ref: LayerRef,
        spool: Spool,
    ) -> None:
        self._ends = dict(read)
        self._several = several
        self._known: dict[Part, int] = {}
        self._spool = spool
        self._open = open_range
        self._name = ref.name
        self._size = ref.layer.descriptor.size
        self._source: ByteSource | None = None
        self._at = self._end = 0
        self._member: Iterator[bytes] = iter(())
        self._member_at = (-1, 0)  # where the member that is being unfolded starts, and how far that has come
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._member = iter(())
        if self._source is not None:
            self._source.close()

    def read(self, part: Part) -> Iterator[bytes | memoryview]:
        """Yield what a part unfolds to; IntegrityError at its end where that is not what the table says."""
        if part.start == part.end:
            return zeros(part.size)
        known = self._known.get(part)
        if known is not None:
            return self._spool.written(known, part.size)
        if part in self._several:
            self._known[part] = self._spool.at
        return self._unfolded(part)

    def _unfolded(self, part: Part) -> Iterator[bytes]:
        start, done = self._member_at
        if start != part.start or done > part.skip:
            self._begin(part)
        self._pass(part.skip - self._member_at[1])
        found = hashlib.sha256(usedforsecurity=False)
        left = part.size
        while left:
            piece = self._take(left)
            found.update(piece)
            left -= len(piece)
            yield piece
        if found.digest() != part.digest:
            raise IntegrityError(f"{self._name}: bytes {part.start} to {part.end} are not what its table says")

    def _begin(self, part: Part) -> None:
        """Go to where a part's member starts."""
        if self._source is None or not self._at <= part.start < self._end:
            if self._source is not None:
                self._source.close()
            self._at, self._end = part.start, self._ends.get(part.start, part.end)
            self._source = self._open(self._at, self._end)
        for _ in self._raw(part.start - self._at):
            pass
        # What memory a frame may want goes by the blob: whoever wrote it set the window for all of its frames.
        self._member = iter(Unfolded(self._raw(part.end - part.start), self._name, size=self._size))
        self._member_at, self._rest = (part.start, 0), b""

    def _raw(self, count: int) -> Iterator[bytes]:
        """Yield the next bytes of the blob."""
        assert self._source is not None
        while count:
            data = self._source.read(min(count, _CHUNK))
            if not data:
                raise IntegrityError(f"{self._name}: a part of it ends too early")
            count -= len(data)
            self._at += len(data)
            yield data

    def _pass(self, count: int) -> None:
        while count:
            count -= len(self._take(count))

    def _take(self, most: int) -> bytes:
        """Return the next bytes of the member, up to `most`."""
        if not self._rest:
            self._rest = next(self._member, b"")
            if not self._rest:
                raise InvalidDocumentError(f"{self._name}: a part of it is smaller than its table says")
        piece, self._rest = self._rest[:most], self._rest[most:]
        self._member_at = (self._member_at[0], self._member_at[1] + len(piece))
        return piece
