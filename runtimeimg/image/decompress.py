"""Layer blobs to tar streams: gzip, zstd or nothing, by the first bytes rather than by what the media type says.

Everything streams in pieces of about a mebibyte. How far a blob may unfold is bounded by its own size, so that a
small blob cannot keep a machine busy for hours: beyond GRACE bytes at most RATIO times what was read. Gzip and zstd
check their own checksums; the blob's digest is checked by the reader that the store handed out, which is why it is
read to its end even where the tar archive ends earlier.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, cast

from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image.zstd import zstd

PIECE = 1 << 20
_INPUT = 1 << 18
GRACE = 4 << 30
"""Bytes that any blob may unfold to."""
RATIO = 200
"""How many times its size a blob may unfold to beyond GRACE."""

_GZIP = b"\x1f\x8b\x08"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = tuple(bytes((0x50 + low, 0x2A, 0x4D, 0x18)) for low in range(16))
_ZSTD_MAX_WINDOW = 27  # 128 MiB: as much as zstd itself allows without being asked for more


def sniff(head: bytes) -> str:
    """Return `gzip`, `zstd` or `none` for the first bytes of a blob."""
    if head.startswith(_GZIP):
        return "gzip"
    if head.startswith(_ZSTD) or head[:4] in _ZSTD_SKIPPABLE:
        return "zstd"
    return "none"


class Unfolded:
    """The uncompressed pieces of a blob; iterate once. `raw_bytes` counts what was read of the blob."""

    def __init__(self, pieces: Iterator[bytes], name: str) -> None:
        self._input = pieces
        self._name = name
        self.raw_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        head = b""
        for piece in self._raw():
            head += piece
            if len(head) >= 4:
                break
        kind = sniff(head)
        if kind == "none":
            yield from self._plain(head)
        else:
            yield from self._bounded(_gunzip(self._raw(), head) if kind == "gzip" else _unzstd(self._raw(), head))

    def _raw(self) -> Iterator[bytes]:
        for piece in self._input:
            self.raw_bytes += len(piece)
            yield piece

    def _plain(self, head: bytes) -> Iterator[bytes]:
        if head:
            yield head
        yield from self._raw()

    def _bounded(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        made = 0
        try:
            for piece in pieces:
                made += len(piece)
                if made > GRACE and made > RATIO * self.raw_bytes:
                    raise InvalidDocumentError(
                        f"{self._name}: unfolds to more than {GRACE >> 30} GiB and {RATIO} times its size",
                        hint="nothing but a trap does that; the layer is refused",
                    )
                yield piece
        except _DamagedError as error:
            raise InvalidDocumentError(f"{self._name}: {error}") from None


class _DamagedError(Exception):
    """The compressed data is damaged; the text says how."""


def raw_pieces(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield what `stream` holds in pieces, and close it."""
    with stream:
        while piece := stream.read(_INPUT):
            yield piece


def _gunzip(pieces: Iterator[bytes], head: bytes) -> Iterator[bytes]:
    """Yield what gzip members hold; zeros behind the last one are padding, anything else there is refused."""
    from isal import igzip_lib

    error_kind = cast("type[Exception]", igzip_lib.error)

    data = head
    while True:
        member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        while not member.eof:
            if member.needs_input and not data:
                data = next(pieces, b"")
                if not data:
                    raise _DamagedError("the gzip data ends too early")
            try:
                made = member.decompress(data, PIECE)
            except error_kind as error:
                raise _DamagedError(f"the gzip data is damaged ({error})") from None
            data = b""
            if made:
                yield made
        data = member.unused_data
        while len(data) < len(_GZIP) and (more := next(pieces, b"")):
            data += more
        if not data.startswith(_GZIP):
            break
    while data:
        if data.strip(b"\0"):
            raise _DamagedError("something follows the gzip data")
        data = next(pieces, b"")


def _unzstd(pieces: Iterator[bytes], head: bytes) -> Iterator[bytes]:
    """Yield what zstd frames hold; skippable frames are passed over by the decoder."""
    module = zstd()
    options = {module.DecompressionParameter.window_log_max: _ZSTD_MAX_WINDOW}
    data = head
    while True:
        frame = module.ZstdDecompressor(options=options)
        while not frame.eof:
            if frame.needs_input and not data:
                data = next(pieces, b"")
                if not data:
                    raise _DamagedError("the zstd data ends too early")
            try:
                made = frame.decompress(data, PIECE)
            except module.ZstdError as error:
                raise _DamagedError(f"the zstd data is damaged ({error})") from None
            data = b""
            if made:
                yield made
        data = frame.unused_data or next(pieces, b"")
        if not data:
            return
