"""Where a blob can be read from in its middle: places, and a digest of what lies between them.

An index of spans is made while a blob is read whole, and so verified, for the first time. Later only the spans that
hold what is wanted are read, each verified by its own digest. What a place is depends on the codec: the first bit of a
block of deflate data with the 32 KiB that came before it, the beginning of a gzip member or zstd frame, anything in a
blob that is not compressed.
"""

from __future__ import annotations

import contextlib
import hashlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, Self

from runtimeimg import budgets
from runtimeimg.errors import IntegrityError
from runtimeimg.image.decompress import Unfolded, inflated
from runtimeimg.image.deflate import WINDOW
from runtimeimg.image.marks import Mark
from runtimeimg.image.tarwrite import Style, is_name
from runtimeimg.image.zstd import unpacked, zstd

_FORMAT = 2
_MAX_SPANS = 1 << 20
_DIGEST = 32

_CHUNK = 1 << 18
_NOT_OURS = (ValueError, TypeError, AttributeError, OverflowError, MemoryError)


class ByteSource(Protocol):
    """What bytes are read from."""

    def read(self, count: int, /) -> bytes | None:
        """Return up to `count` bytes, none at the end."""

    def close(self) -> None:
        """Let go of what is held."""


OpenRange = Callable[[int, int], ByteSource]
"""Opens the bytes of a blob from one offset up to another."""


class FileRange:
    """The bytes of a file from one offset up to another."""

    def __init__(self, path: Path, start: int, end: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._end = end
        self.back(start)

    def back(self, start: int) -> None:
        """Go on from `start`, whatever has become of the file's name."""
        self._file.seek(start)
        self._left = self._end - start

    def read(self, count: int, /) -> bytes:
        """Return up to `count` bytes, none at the end."""
        data = self._file.read(min(count, self._left)) or b""
        self._left -= len(data)
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@dataclass(frozen=True, slots=True)
class OfFile:
    """Opens parts of a file that nobody else writes to, an OpenRange of bytes that are the same when read once more."""

    path: Path

    def __call__(self, start: int, end: int) -> FileRange:
        """Open a part."""
        return FileRange(self.path, start, end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """What tells whether a part of another archive is what a span unfolds to, which is one gzip member's.

    `checksums` are the CRC-32 of what each span unfolds to, `heads` those of the header block of each entry, that of
    nothing where extended headers precede it. `style` is how the archive's headers were written.
    """

    checksums: array[int]
    heads: array[int]
    style: Style

    def fits(self, marks: Sequence[Mark], starts: Sequence[int]) -> bool:
        """Tell whether there is one of each, and marks are those of blocks."""
        counted = len(self.checksums) == len(marks) and len(self.heads) == len(starts) - 1
        return counted and all(mark.window for mark in marks[1:])

    def to_row(self) -> tuple[object, ...]:
        """Return it for keeping."""
        return self.checksums.tobytes(), self.heads.tobytes(), self.style

    @classmethod
    def from_row(cls, row: Any) -> Self:
        """Return one that was kept; ValueError or TypeError for what is none."""
        checksums, heads, (typed, users, groups) = row
        for names in (users, groups):
            if not all(type(number) is int and is_name(name) for number, name in names.items()):
                raise ValueError(names)
        return cls(checksums=array("I", checksums), heads=array("I", heads), style=Style(bool(typed), users, groups))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """The spans of a blob of `size` bytes: `marks` where they begin, the first at 0, and a sha256 digest of each.

    `kind` is what the blob is: gzip, zstd or none.
    `starts` are the offsets, in the unfolded archive, at which the entries of the layer's table begin, headers
    included, and where the last one ends. `likeness` is there where spans may be taken over as they are.
    """

    kind: str
    size: int
    marks: tuple[Mark, ...]
    digests: tuple[bytes, ...]
    starts: array[int]
    likeness: Likeness | None = None

    def to_bytes(self) -> bytes:
        """Return the index for keeping."""
        import msgpack

        pack = zstd().compress
        steps = array("Q", self.starts)
        for number in range(len(steps) - 1, 0, -1):
            steps[number] -= steps[number - 1]
        marks = [(mark.bit, mark.at, None if mark.window is None else pack(mark.window, 1)) for mark in self.marks]
        likeness = None if self.likeness is None else self.likeness.to_row()
        packed: bytes = msgpack.packb(
            (_FORMAT, self.kind, self.size, marks, self.digests, pack(steps.tobytes(), 1), likeness)
        )
        return packed

    @classmethod
    def from_bytes(cls, data: bytes) -> Self | None:
        """Return an index that was kept; None for one of another version, or that does not hold together."""
        import msgpack

        try:
            form, kind, size, marks, digests, steps, like = msgpack.unpackb(
                data, use_list=False, max_array_len=_MAX_SPANS, strict_map_key=False
            )
            numbers = [size, *(mark[0] for mark in marks), *(mark[1] for mark in marks)]
            if form != _FORMAT or not all(type(number) is int for number in numbers):
                return None
            starts = array("Q", unpacked(steps, 8 * (budgets.MAX_ENTRIES + 1)))
            for number in range(1, len(starts)):
                starts[number] += starts[number - 1]
            found = tuple(Mark(bit, at, packed and unpacked(packed, WINDOW)) for bit, at, packed in marks)
            likeness = None if like is None else Likeness.from_row(like)
            made = cls(kind=kind, size=size, marks=found, digests=digests, starts=starts, likeness=likeness)
            return made if made.holds_together() else None
        except (
            ValueError,
            TypeError,
            AttributeError,
            OverflowError,
            MemoryError,
            msgpack.UnpackException,
            zstd().ZstdError,
        ):
            return None

    def holds_together(self) -> bool:
        """Tell whether the values are of their kinds, in their order and within bounds."""
        marks, starts, likeness = self.marks, self.starts, self.likeness
        return (
            self.kind in ("gzip", "zstd", "none")
            and 0 < len(marks) == len(self.digests)
            and len(starts) > 1
            and all(len(digest) == _DIGEST for digest in self.digests)
            and all(mark.window is None or len(mark.window) <= WINDOW for mark in marks)
            and marks[0] == (0, 0, None)
            and all(one.bit < other.bit and one.at <= other.at for one, other in pairwise(marks))
            and marks[-1].bit < 8 * self.size
            and all(one < other for one, other in pairwise(starts))
            and (likeness is None or likeness.fits(marks, starts))
        )

    def holding(self, start: int, end: int) -> range:
        """Return the numbers of the spans that hold the bytes of the archive from `start` up to `end`."""
        offsets = [mark.at for mark in self.marks]
        return range(max(bisect_right(offsets, start) - 1, 0), max(bisect_right(offsets, max(end - 1, start)), 1))

    def bounds(self, number: int) -> tuple[int, int]:
        """Return where a span begins in the blob and where it ends; a byte that two blocks share is in both."""
        after = number + 1
        end = self.size if after == len(self.marks) else (self.marks[after].bit + 7) // 8
        return self.marks[number].bit // 8, end

    def unfolded(self, held: range, open_range: OpenRange, name: str) -> Iterator[bytes]:
        """Yield what spans that follow on each other unfold to, each verified before anything is made of it.

        Raises IntegrityError for one that is not what it was when the index was made.
        """
        mark = self.marks[held.start]
        pieces = self.verified(held, open_range, name)
        with contextlib.closing(pieces):
            if self.kind == "none":
                yield from pieces
            elif mark.window is None:
                yield from Unfolded(pieces, name, size=self.size)
            else:
                yield from inflated(mark, pieces, name)

    def verified(self, held: range, open_range: OpenRange, name: str) -> Generator[bytes, None, None]:
        """Yield the bytes of spans that follow on each other, a byte that two of them share once.

        Those of our own files are read twice, others are held in memory span by span until they are verified.

        Raises IntegrityError before any byte of a span that is not what it was.
        """
        at = self.bounds(held.start)[0]
        if isinstance(open_range, OfFile):
            for number in held:
                start, end = self.bounds(number)
                with contextlib.closing(open_range(start, end)) as part:
                    found = hashlib.sha256(usedforsecurity=False)
                    while data := part.read(_CHUNK):
                        found.update(data)
                    self._check(number, found.digest(), name)
                    part.back(at)
                    while data := part.read(_CHUNK):
                        yield data
                at = end
            return
        whole = bytearray()
        with contextlib.closing(open_range(at, self.bounds(held.stop - 1)[1])) as source:
            for number in held:
                start, end = self.bounds(number)
                del whole[: len(whole) - (at - start)]  # all but a byte that is shared
                while len(whole) < end - start and (piece := source.read(min(end - start - len(whole), _CHUNK))):
                    whole += piece
                self._check(number, hashlib.sha256(whole, usedforsecurity=False).digest(), name)
                for offset in range(at - start, len(whole), _CHUNK):
                    yield bytes(whole[offset : offset + _CHUNK])
                at = end

    def _check(self, number: int, digest: bytes, name: str) -> None:
        if digest != self.digests[number]:
            start, end = self.bounds(number)
            raise IntegrityError(f"{name}: bytes {start} to {end} are not what they were")


def runs(spans: Spans, indexes: Sequence[int]) -> Iterator[tuple[range, array[int]]]:
    """Divide ascending indexes of entries by the spans that hold them: such that follow on each other go together."""
    run, held = array("I"), range(0)
    for index in indexes:
        more = spans.holding(spans.starts[index], spans.starts[index + 1])
        if run and more.start > held.stop:
            yield held, run
            run = array("I")
        held = range(held.start if run else more.start, more.stop)
        run.append(index)
    if run:
        yield held, run
