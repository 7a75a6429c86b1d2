"""Gzip data unfolded as it comes (RFC 1952), from its beginning or from a mark in its middle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from runtimeimg.image import deflate
from runtimeimg.image.marks import LEAST, Mark, Marker

PIECE = 1 << 20
"""Bytes that come out at once, at most."""
MAGIC = b"\x1f\x8b\x08"
_TRAILER = 8  # bytes behind a member's deflate data: its checksum and size
_PROOF = 1 << 13  # bytes of the blob by which a mark is tried
_LEAST_PROOF = 1 << 10  # bytes that must come out of them


class DamagedError(Exception):
    """The compressed data is damaged; the text says how."""


class Gunzip:
    """What gzip members hold; zeros behind the last one are padding, anything else there is refused.

    `head` are the first bytes of the data, `pieces` the others. A `marker` was told of both when they were pulled, is
    told what comes out of them, and sets its marks.
    """

    def __init__(self, pieces: Iterator[bytes], head: bytes, marker: Marker | None = None) -> None:
        self._pieces = pieces
        self._data = head
        self._marker = marker

    def from_start(self) -> Iterator[bytes]:
        """Yield what the members hold. Raises DamagedError."""
        from isal import igzip_lib

        while True:
            marker = self._marker
            if marker is not None and marker.due(len(self._data)):
                marker.set(Mark(8 * (marker.read - len(self._data)), marker.made, None))
            if marker is not None:
                marker.members += 1
            yield from self._member(igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP))
            while len(self._data) < len(MAGIC) and (more := next(self._pieces, b"")):
                self._data += more
            if not self._data.startswith(MAGIC):
                break
        while self._data:
            if self._data.strip(b"\0"):
                raise DamagedError("something follows the gzip data")
            self._data = next(self._pieces, b"")

    def from_middle(self, bit: int, window: bytes) -> Iterator[bytes]:
        """Yield what comes of a block at `bit` of the first byte, and all behind it; checksums of it are not checked.

        Raises DamagedError.
        """
        self._data = deflate.aligned(bit, self._data or next(self._pieces, b""))
        yield from self._member(deflate.resumed(bit, window))
        while len(self._data) < _TRAILER and (more := next(self._pieces, b"")):
            self._data += more
        self._data = self._data[_TRAILER:] or next(self._pieces, b"")
        if self._data:
            yield from self.from_start()

    def _member(self, member: Any) -> Iterator[bytes]:
        while not member.eof:
            marker = self._marker
            if marker is not None and marker.room(len(self._data)) <= 0:
                while len(self._data) < LEAST and (more := next(self._pieces, b"")):
                    self._data += more
                bit = marker.find(self._data)
                if bit is not None:
                    yield from self._up_to_mark(member, bit, marker)
                    continue
            elif not self._data:
                self._data = next(self._pieces, b"")
            if not self._data:
                raise DamagedError("the gzip data ends too early")
            room = marker.room(len(self._data)) if marker is not None else 0
            yield from self._feed(member, room if room > 0 else len(self._data))

    def _up_to_mark(self, member: Any, bit: int, marker: Marker) -> Iterator[bytes]:
        """Yield what comes before `bit` of the data, and a little more, which tells whether a block begins there."""
        byte, shared = bit // 8, bit % 8 > 0
        ahead = self._data[byte : min(byte + _PROOF, LEAST)]
        yield from self._feed(member, byte + shared)
        if member.eof:
            return
        mark = marker.tried(8 * (marker.read - len(self._data) - shared) + bit % 8)
        proof = _proof(mark, ahead)
        made = bytearray()
        for piece in self._feed(member, len(ahead) - shared):
            made += piece
            yield piece
        if len(proof) >= _LEAST_PROOF and made.startswith(proof):
            marker.set(mark)
        else:
            marker.refuse()

    def _feed(self, member: Any, count: int) -> Iterator[bytes]:
        """Yield what comes of the next bytes of the data; what is behind the member's end is given back."""
        from isal import igzip_lib

        part, self._data = self._data[:count], self._data[count:]
        while True:
            try:
                made = member.decompress(part, PIECE)
            except cast("type[Exception]", igzip_lib.error) as error:
                raise DamagedError(f"the gzip data is damaged ({error})") from None
            part = b""
            if made:
                if self._marker is not None:
                    self._marker.unfolded(made)
                yield made
            if member.eof:
                self._data = member.unused_data + self._data
                return
            if member.needs_input:
                return


def _proof(mark: Mark, ahead: bytes) -> bytes:
    """Return what comes out of `ahead` if a block begins at the mark."""
    from isal import igzip_lib

    assert mark.window is not None
    try:
        made: bytes = deflate.resumed(mark.bit % 8, mark.window).decompress(deflate.aligned(mark.bit % 8, ahead), PIECE)
    except cast("type[Exception]", igzip_lib.error):
        return b""
    return made
