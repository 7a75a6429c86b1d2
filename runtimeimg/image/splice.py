"""Blocks of deflate data taken over as they are into a gzip member of ours (RFC 1951, RFC 1952).

They begin at any bit, and refer back to what came before them. So the member begins with that, not packed, and with
blocks that hold nothing and end at that bit; behind the last one stands an empty block, which is marked as the last.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from runtimeimg.image.deflate import aligned, lead
from runtimeimg.image.marks import Mark

_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no flags, no time, an unknown system
_END, _END_BITS = 3, 10  # the last block, fixed codes, end of block


class Splice:
    """The blocks from a mark on that has a window, as bytes of a member."""

    def __init__(self, mark: Mark) -> None:
        assert mark.window
        self._mark = mark
        self._held = b""  # the last byte, of which some bits may be another block's

    def opening(self) -> bytes:
        """Return the beginning of the member, which holds the mark's window."""
        window = self._mark.window or b""
        stored = struct.pack("<BHH", 0, len(window), 0xFFFF ^ len(window))  # section 3.2.4
        return _HEADER + stored + window + lead(self._mark.bit % 8)[:-1]

    def blocks(self, mark: Mark, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the bytes of the blocks from a mark up to the next one; a byte that they share is the last of `pieces`.

        To be called for marks that follow on each other, from the first one on.
        """
        bit = mark.bit % 8
        if self._held and bit:
            self._held = b""  # it comes once more
        first = mark is self._mark
        for piece in pieces:
            data = self._held + (aligned(bit, piece) if first else piece)
            first = False
            self._held = data[-1:]
            yield data[:-1]

    def closing(self, end: int) -> bytes:
        """Return the end of the data, the blocks of which end at the bit `end` of the blob."""
        bits = end % 8
        last = self._held[0]
        whole, number = (b"", last & (1 << bits) - 1) if bits else (self._held, 0)
        return whole + (number | _END << bits).to_bytes((bits + _END_BITS + 7) // 8, "little")
