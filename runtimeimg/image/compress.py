"""Writing of layer blobs: compressed in blocks on several cores, hashed as they are made, the same bytes every time.

The tar stream is cut into blocks of fixed size whatever the pieces were that it came in. A gzip blob is one member:
each block is a deflate stream of its own that ends at a byte's boundary with a full flush, so blocks are compressed
side by side and joined, and any gzip reader takes the result. A zstd blob has one frame for each block. Block sizes
and levels are part of what a release promises: with them unchanged the same stream gives the same digest.

Levels of gzip 1 to 3 are isal's (1 is the default: of isal's levels the best for its time on module trees, a third of
zlib's time at level 1); 4 to 9 are zlib's.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Protocol, Self

from runtimeimg.errors import UsageError
from runtimeimg.image.zstd import zstd
from runtimeimg.oci import Descriptor, Digest
from runtimeimg.oci.mediatypes import oci_layer

GZIP_BLOCK = 1 << 20
ZSTD_BLOCK = 4 << 20
_WORKERS = 2
_LEVELS = {"gzip": (1, 9, 1), "zstd": (1, 19, 3), "none": (0, 0, 0)}
_GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no name, no time, no system: nothing of the machine it was made on
_DEFLATE_END = b"\x03\0"  # an empty last block


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """How a layer is written: `gzip`, `zstd` or `none`, and how hard it is tried."""

    name: str = "gzip"
    level: int = 1

    @classmethod
    def parse(cls, name: str, level: str | None = None) -> Compression:
        """Return what `name` and `level`, or `name:level`, ask for; UsageError says what there is."""
        name, colon, given = name.partition(":")
        text = given if colon else level
        if name not in _LEVELS:
            raise UsageError(f"compression '{name}' is not known", hint="known are gzip, zstd and none")
        least, most, default = _LEVELS[name]
        if text is None:
            return cls(name=name, level=default)
        if not text.isdecimal() or not least <= int(text) <= most:
            raise UsageError(f"compression level '{text}' of {name} is not a number from {least} to {most}")
        return cls(name=name, level=int(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What was written: the blob's descriptor, and the digest and size of the tar archive in it."""

    descriptor: Descriptor
    diff_id: Digest
    tar_size: int


class _Deflater(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self, mode: int = ..., /) -> bytes: ...


class BlobWriter:
    """Writes a tar stream to `out` as a layer blob; a context manager, `finish` returns what it came to."""

    def __init__(self, out: IO[bytes], compression: Compression) -> None:
        self._out = out
        self._compression = compression
        self._block = ZSTD_BLOCK if compression.name == "zstd" else GZIP_BLOCK
        self._compress = _compressor(compression)
        self._workers = ThreadPoolExecutor(_WORKERS)
        self._hasher = ThreadPoolExecutor(1)
        self._pending: deque[tuple[Future[bytes], Future[None]]] = deque()
        self._buffer = bytearray()
        self._diff = hashlib.sha256()
        self._crc = 0
        self._size = 0
        self._blob = hashlib.sha256()
        self._written = 0
        if compression.name == "gzip":
            self._emit(_GZIP_HEAD)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._workers.shutdown(cancel_futures=True)
        self._hasher.shutdown(cancel_futures=True)

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes of the tar stream."""
        self._buffer += data
        while len(self._buffer) >= self._block:
            self._submit(bytes(memoryview(self._buffer)[: self._block]))
            del self._buffer[: self._block]

    def finish(self) -> Packed:
        """Write what is left and return the result."""
        if self._buffer:
            self._submit(bytes(self._buffer))
        while self._pending:
            self._drain()
        if self._compression.name == "gzip":
            self._emit(_DEFLATE_END + struct.pack("<II", self._crc, self._size & 0xFFFFFFFF))
        return Packed(
            descriptor=Descriptor(
                media_type=oci_layer(self._compression.name),
                digest=Digest(f"sha256:{self._blob.hexdigest()}"),
                size=self._written,
            ),
            diff_id=Digest(f"sha256:{self._diff.hexdigest()}"),
            tar_size=self._size,
        )

    def _submit(self, block: bytes) -> None:
        self._size += len(block)
        self._pending.append((self._workers.submit(self._compress, block), self._hasher.submit(self._hash, block)))
        if len(self._pending) > 2 * _WORKERS:
            self._drain()

    def _drain(self) -> None:
        compressed, hashed = self._pending.popleft()
        self._emit(compressed.result())
        hashed.result()

    def _hash(self, block: bytes) -> None:
        self._diff.update(block)
        if self._compression.name == "gzip":
            from isal import isal_zlib

            self._crc = isal_zlib.crc32(block, self._crc)

    def _emit(self, data: bytes) -> None:
        self._blob.update(data)
        self._out.write(data)
        self._written += len(data)


def _compressor(compression: Compression) -> Callable[[bytes], bytes]:
    """Return the function that compresses one block."""
    level = compression.level
    if compression.name == "none":
        return lambda block: block
    if compression.name == "zstd":
        module = zstd()
        return lambda block: bytes(module.compress(block, level))
    if level > 3:
        return lambda block: _deflate(zlib.compressobj(level, zlib.DEFLATED, -15), block, zlib.Z_FULL_FLUSH)
    from isal import isal_zlib

    return lambda block: _deflate(isal_zlib.compressobj(level, isal_zlib.DEFLATED, -15), block, isal_zlib.Z_FULL_FLUSH)


def _deflate(stream: _Deflater, block: bytes, flush: int) -> bytes:
    return stream.compress(block) + stream.flush(flush)
