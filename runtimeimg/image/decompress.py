"""Layer blobs to tar streams: gzip, zstd or nothing, by the first bytes rather than by what the media type says.

Everything streams in pieces of about a mebibyte. How far a blob may unfold is bounded by its own size, so that a
small blob cannot keep a machine busy for long (runtimeimg/budgets.py). Gzip and zstd
check their own checksums; the blob's digest is checked by the reader that the store handed out, which is why it is
read to its end even where the tar archive ends earlier.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import IO, Any, cast

from runtimeimg import budgets
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image.zstd import zstd

PIECE = 1 << 20
_INPUT = 1 << 18
_GZIP = b"\x1f\x8b\x08"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = tuple(bytes((0x50 + low, 0x2A, 0x4D, 0x18)) for low in range(16))
_ZSTD_HEADER = 18  # bytes: magic number and the longest frame header
_ZSTD_MAX_WINDOW = 27  # 128 MiB: as much as zstd itself allows without being asked for more
_large_windows = threading.Lock()  # frames that need more memory than most are unfolded one at a time


def sniff(head: bytes) -> str:
    """Return `gzip`, `zstd` or `none` for the first bytes of a blob."""
    if head.startswith(_GZIP):
        return "gzip"
    if head.startswith(_ZSTD) or head[:4] in _ZSTD_SKIPPABLE:
        return "zstd"
    return "none"


class Unfolded:
    """The uncompressed pieces of a blob; iterate once. `raw_bytes` counts what was read of the blob.

    `size` is that of the blob where it is known before.
    """

    def __init__(self, pieces: Iterator[bytes], name: str, *, size: int = 0) -> None:
        self._input = pieces
        self._name = name
        self._size = size
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
            yield from self._bounded(_gunzip(self._raw(), head) if kind == "gzip" else self._unzstd(head))

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
                if made > budgets.FREE_UNFOLDED and made > budgets.allowance(budgets.FREE_UNFOLDED, self.raw_bytes):
                    raise InvalidDocumentError(
                        f"{self._name}: unfolds to more than {budgets.FREE_UNFOLDED >> 20} MiB and {budgets.RATIO} "
                        "times its size",
                        hint="nothing but a trap does that; the layer is refused",
                    )
                yield piece
        except _DamagedError as error:
            for _ in self._raw():
                pass  # to its end, where a blob that was damaged on its way is told by its digest
            raise InvalidDocumentError(f"{self._name}: {error}") from None

    def _unzstd(self, head: bytes) -> Iterator[bytes]:
        """Yield what zstd frames hold; skippable frames are passed over by the decoder."""
        module = zstd()
        pieces = self._raw()
        while head:
            while len(head) < _ZSTD_HEADER and (more := next(pieces, b"")):
                head += more
            window = min(_window(head), 1 << _ZSTD_MAX_WINDOW)
            large = window > budgets.FREE_WINDOW
            if large and window > budgets.WINDOW_RATIO * max(self._size, self.raw_bytes):
                raise _DamagedError(f"a zstd frame wants {window >> 20} MiB of memory for so small a blob")
            rest: list[bytes] = []
            with _large_windows if large else contextlib.nullcontext():
                yield from _frame(module, pieces, head, rest)
            head = rest[0] or next(pieces, b"")


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


def _frame(module: Any, pieces: Iterator[bytes], head: bytes, rest: list[bytes]) -> Iterator[bytes]:
    """Yield what one frame holds; what was read behind it is put into `rest`."""
    frame = module.ZstdDecompressor(options={module.DecompressionParameter.window_log_max: _ZSTD_MAX_WINDOW})
    data = head
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
    rest.append(frame.unused_data)


def _window(head: bytes) -> int:
    """Return how many bytes a zstd frame wants kept while it is unfolded (RFC 8878, section 3.1.1.1); 0 if unknown."""
    if len(head) < 6 or not head.startswith(_ZSTD):
        return 0
    flags = head[4]
    if not flags & 0x20:
        base = 1 << (10 + (head[5] >> 3))
        return base + base // 8 * (head[5] & 7)
    start = 5 + (0, 1, 2, 4)[flags & 3]
    size = head[start : start + (1, 2, 4, 8)[flags >> 6]]
    return int.from_bytes(size, "little") + (256 if flags >> 6 == 1 else 0)
