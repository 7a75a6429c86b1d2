"""Where the contents of files are in a layer's blob, as a table that the layer carries has it: part by part."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Self

from runtimeimg import budgets
from runtimeimg.image.zstd import unpacked, zstd

NUMBERS, DIGEST = 4, 32
"""Numbers of a part, and bytes of its digest."""
_FORMAT = 2


class Part(NamedTuple):
    """A part of a file: what of the blob unfolds to it (none for zeros), what of that it is, and its sha256 digest."""

    start: int
    end: int
    skip: int
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of the files of a layer, in columns: there may be a hundred thousand of them.

    `files` are the indexes of entries of the layer's table, ascending, and `ends` tell how many parts they and those
    before them have. `numbers` are start, end, skip and size of each part, and `digests` 32 bytes each.
    """

    files: array[int]
    ends: array[int]
    numbers: array[int]
    digests: bytes

    def __contains__(self, index: int) -> bool:
        at = bisect_left(self.files, index)
        return at < len(self.files) and self.files[at] == index

    def of(self, indexes: Iterable[int]) -> Iterator[Part]:
        """Yield the parts of files that have some, by the indexes of their entries, one file after the other."""
        for index in indexes:
            at = bisect_left(self.files, index)
            for number in range(self.ends[at - 1] if at else 0, self.ends[at]):
                start, end, skip, size = self.numbers[number * NUMBERS : (number + 1) * NUMBERS]
                yield Part(start, end, skip, size, self.digests[number * DIGEST : (number + 1) * DIGEST])

    def to_bytes(self) -> bytes:
        """Return them for keeping."""
        import msgpack

        columns = (self.files.tobytes(), self.ends.tobytes(), self.numbers.tobytes(), self.digests)
        packed: bytes = zstd().compress(msgpack.packb((_FORMAT, *columns)), 1)
        return packed

    @classmethod
    def from_bytes(cls, data: bytes) -> Self | None:
        """Return what was kept; None when it is of another version, or does not hold together."""
        import msgpack

        try:
            form, *columns = msgpack.unpackb(unpacked(data, budgets.MAX_TABLE), use_list=False)
            if form != _FORMAT:
                return None
            files, ends, numbers, digests = columns
            made = cls(files=array("I", files), ends=array("I", ends), numbers=array("Q", numbers), digests=digests)
            return made if made.hold_together() else None
        except (ValueError, TypeError, msgpack.UnpackException, zstd().ZstdError):
            return None

    def hold_together(self) -> bool:
        """Tell whether the columns are of one length, and in their order."""
        count = self.ends[-1] if self.ends else 0
        return (
            len(self.files) == len(self.ends)
            and all(one < other for column in (self.files, self.ends) for one, other in pairwise(column))
            and (len(self.numbers), len(self.digests)) == (count * NUMBERS, count * DIGEST)
        )
