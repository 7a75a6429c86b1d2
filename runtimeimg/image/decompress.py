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
from typing import IO, Any

from runtimeimg import budgets
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image.gunzip import MAGIC, PIECE, DamagedError, Gunzip
from runtimeimg.image.marks import Mark, Marker
from runtimeimg.image.zstd import zstd

_INPUT = 1 << 18
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = tuple(bytes((0x50 + low, 0x2A, 0x4D, 0x18)) for low in range(16))
_ZSTD_HEADER = 18  # bytes: magic number and the longest frame header
_ZSTD_MAX_WINDOW = 27  # 128 MiB: as much as zstd itself allows without being asked for more
_large_windows = threading.Lock()  # frames that need more memory than most are unfolded one at a time


def sniff(head: bytes) -> str:
    """Return `gzip`, `zstd` or `none` for the first bytes of a blob."""
    if head.startswith(MAGIC):
        return "gzip"
    if head.startswith(_ZSTD) or head[:4] in _ZSTD_SKIPPABLE:
        return "zstd"
    return "none"


class Unfolded:
    """The uncompressed pieces of a blob; iterate once.

    `raw_bytes` counts what was read of the blob, and `kind` is what its first bytes show it to be. `size` is that of
    the blob where it is known before; a `marker` sets its marks on the way.
    """

    def __init__(self, pieces: Iterator[bytes], name: str, *, size: int = 0, marker: Marker | None = None) -> None:
        self._input = pieces
        self._marker = marker
        self._name = name
        self._size = size
        self.raw_bytes = 0
        self.kind = "none"

    def __iter__(self) -> Iterator[bytes]:
        head = b""
        for piece in self._raw():
            head += piece
            if len(head) >= 4:
                break
        self.kind = sniff(head)
        if self.kind == "gzip":
            yield from self._bounded(Gunzip(self._raw(), head, self._marker).from_start())
        elif self.kind == "zstd":
            yield from self._bounded(self._unzstd(head))
        else:
            yield from self._plain(head)

    def _raw(self) -> Iterator[bytes]:
        for piece in self._input:
            self.raw_bytes += len(piece)
            if self._marker is not None:
                self._marker.pulled(piece)
            yield piece

    def _plain(self, head: bytes) -> Iterator[bytes]:
        pieces, marker = self._raw(), self._marker
        while head:
            if marker is not None:
                if marker.due(len(head)):
                    marker.set(Mark(8 * (marker.read - len(head)), marker.made, None))
                marker.unfolded(head)
            yield head
            head = next(pieces, b"")

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
        except DamagedError as error:
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
            dear = large and window > budgets.WINDOW_RATIO * max(self._size, self.raw_bytes)
            marker = self._marker
            if marker is not None and marker.due(len(head)):
                marker.set(Mark(8 * (marker.read - len(head)), marker.made, None))
            rest: list[bytes] = []
            with _large_windows if large else contextlib.nullcontext():
                held = 0  # bytes of the window that are in use
                for made in _frame(module, pieces, head, rest):
                    held += len(made)
                    if dear and held > budgets.FREE_WINDOW:
                        raise DamagedError(f"a zstd frame wants {window >> 20} MiB of memory for so small a blob")
                    if marker is not None:
                        marker.unfolded(made)
                    yield made
            head = rest[0] or next(pieces, b"")


def raw_pieces(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield what `stream` holds in pieces, and close it."""
    with stream:
        while piece := stream.read(_INPUT):
            yield piece


def inflated(mark: Mark, pieces: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Yield what a blob unfolds to from a mark within its gzip data on; `pieces` are its bytes from there on."""
    assert mark.window is not None
    try:
        yield from Gunzip(pieces, b"").from_middle(mark.bit % 8, mark.window)
    except DamagedError as error:
        raise InvalidDocumentError(f"{name}: {error}") from None


def _frame(module: Any, pieces: Iterator[bytes], head: bytes, rest: list[bytes]) -> Iterator[bytes]:
    """Yield what one frame holds; what was read behind it is put into `rest`."""
    frame = module.ZstdDecompressor(options={module.DecompressionParameter.window_log_max: _ZSTD_MAX_WINDOW})
    data = head
    while not frame.eof:
        if frame.needs_input and not data:
            data = next(pieces, b"")
            if not data:
                raise DamagedError("the zstd data ends too early")
        try:
            made = frame.decompress(data, PIECE)
        except module.ZstdError as error:
            raise DamagedError(f"the zstd data is damaged ({error})") from None
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
