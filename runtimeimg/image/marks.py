"""Marks are set in a blob while it is unfolded whole, about every eight megabytes; spans.py says what they are for.

In gzip data they depend on the blob alone, not on the pieces that it comes in: what is made of a blob's spans is the
same wherever and however often the blob is read.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import deque
from typing import NamedTuple

from runtimeimg.image import deflate

SPACING = 8 << 20
"""Bytes of a blob between two marks, at least."""
LEAST = 1 << 16
"""Bytes that a block is looked for in."""
_AGAIN = 1 << 19  # bytes until a block is looked for again, where none was found
_LAG = 1 << 20  # bytes that are not summed up yet, as a mark may come to lie among them


class Mark(NamedTuple):
    """A place: the bit in the blob, the offset in what it unfolds to, and what a block there may refer back to.

    `window` is None where nothing that came before matters.
    """

    bit: int
    at: int
    window: bytes | None


class Marker:
    """Collects the marks of one blob, a sha256 digest of what is between them, and the CRC-32 of what that unfolds to.

    `members` counts those of gzip. For one thread.
    """

    def __init__(self) -> None:
        from isal.isal_zlib import crc32

        self._crc32 = crc32
        self.marks = [Mark(0, 0, None)]
        self.digests: list[bytes] = []
        self.checksums = array("I")
        self.members = 0
        self.read = 0
        self.made = 0
        self._held: deque[bytes] = deque()
        self._holds = 0  # bytes in them
        self._sum = hashlib.sha256(usedforsecurity=False)
        self._next = self._look = SPACING
        self._tail: list[bytes] = []
        self._checksum = 0
        self._tried: list[int] = []  # the checksums before a mark that is tried, and behind it

    def pulled(self, piece: bytes) -> None:
        """Note bytes of the blob, in their order."""
        self.read += len(piece)
        self._held.append(piece)
        self._holds += len(piece)
        while self._holds - len(self._held[0]) >= _LAG:
            self._sum_up()

    def unfolded(self, piece: bytes) -> None:
        """Note what came out of them, in its order."""
        self.made += len(piece)
        self._checksum = self._crc32(piece, self._checksum)
        if self._tried:
            self._tried[1] = self._crc32(piece, self._tried[1])
        self._tail = [piece] if len(piece) >= deflate.WINDOW else [*self._tail, piece]
        if len(self._tail) > 64:
            self._tail = [self.window]

    @property
    def window(self) -> bytes:
        """The last bytes that came out, as far as a block may refer back to them."""
        return b"".join(self._tail)[-deflate.WINDOW :]

    def due(self, unread: int) -> bool:
        """Tell whether a mark is wanted; `unread` bytes of those that were pulled are still to be unfolded."""
        return self.read - unread >= self._next

    def room(self, unread: int) -> int:
        """Return how many bytes are to be unfolded before a block is looked for."""
        return self._look - (self.read - unread)

    def find(self, data: bytes) -> int | None:
        """Return the bit of `data`, the bytes still to be unfolded, that seems to begin a block."""
        bit = deflate.find_block(data[:LEAST])
        if bit is None:
            self.refuse()
        return bit

    def tried(self, bit: int) -> Mark:
        """Return a mark at a bit of the blob, here, which is to be set or refused when a little more was unfolded."""
        self._tried = [self._checksum, 0]
        return Mark(bit, self.made, self.window)

    def set(self, mark: Mark) -> None:
        """Set a mark, unless it came too late."""
        ended, begun = self._tried or (self._checksum, 0)
        self._tried = []
        byte = mark.bit // 8
        at = byte - (self.read - self._holds)
        if at < 0:
            return
        held = b"".join(self._held)
        self._sum.update(held[: at + (mark.bit % 8 > 0)])
        self.digests.append(self._sum.digest())
        self.checksums.append(ended)
        self._checksum = begun
        self._sum = hashlib.sha256(usedforsecurity=False)
        self._held, self._holds = deque([held[at:]]), len(held) - at
        self.marks.append(mark)
        self._next = self._look = byte + SPACING

    def refuse(self) -> None:
        """Look for another place further on: there was none, or it was a block of what is packed in the blob."""
        self._tried = []
        self._look += _AGAIN

    def finish(self) -> None:
        """Sum up the last span."""
        while self._held:
            self._sum_up()
        self.digests.append(self._sum.digest())
        self.checksums.append(self._checksum)

    def _sum_up(self) -> None:
        piece = self._held.popleft()
        self._sum.update(piece)
        self._holds -= len(piece)
