"""Writing of layer blobs: compressed in blocks on several cores, hashed as they are made, the same bytes every time.

The tar stream is cut into blocks of fixed size whatever the pieces were that it came in. A gzip blob has one member
for each block (RFC 1952, section 2.2), a zstd blob one frame, so blocks are compressed side by side and joined.
Block sizes, levels and libdeflate are part of what a release promises: the same stream gives the same digest on any
machine (docs/decisions/0005-gzip.md).
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, Self

from runtimeimg.errors import UsageError
from runtimeimg.image.zstd import zstd
from runtimeimg.oci import Descriptor, Digest
from runtimeimg.oci.mediatypes import oci_layer

GZIP_BLOCK = 1 << 20
ZSTD_BLOCK = 4 << 20
_WORKERS = min(8, os.cpu_count() or 2)
_LEVELS = {"gzip": (1, 9, 1), "zstd": (1, 19, 3), "none": (0, 0, 0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """How a layer is written: `gzip`, `zstd` or `none`, and how hard it is tried.

    `takes_over` tells that parts which are there already, packed alike, are taken as they are: no level was asked for.
    """

    name: str = "gzip"
    level: int = 1
    takes_over: bool = True

    @classmethod
    def parse(cls, name: str, level: str | None = None) -> Compression:
        """Return what `name` and `level`, or `name:level`, ask for; UsageError says what there is."""
        name, colon, given = name.partition(":")
        text = given if colon else level
        if name not in _LEVELS:
            raise UsageError(f"compression '{name}' is not known", hint="known are gzip, zstd and none")
        least, most, default = _LEVELS[name]
        if text is None:
            return cls(name=name, level=default, takes_over=name == "gzip")
        if not text.isdecimal() or not least <= int(text) <= most:
            raise UsageError(f"compression level '{text}' of {name} is not a number from {least} to {most}")
        return cls(name=name, level=int(text), takes_over=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What was written: the blob's descriptor, and the digest and size of the tar archive in it."""

    descriptor: Descriptor
    diff_id: Digest
    tar_size: int


Block = bytes | bytearray | memoryview


class Sink(Protocol):
    """What a blob is written to."""

    def write(self, data: Block, /) -> int:
        """Write all of `data`."""


class BlobWriter:
    """Writes a tar stream to `out` as a layer blob; a context manager, `finish` returns what it came to.

    Between `begin` and `end`, in a gzip blob, the stream is only hashed, and is there packed already.
    """

    def __init__(self, out: Sink, compression: Compression) -> None:
        self._out = out
        self._compression = compression
        self._block = ZSTD_BLOCK if compression.name == "zstd" else GZIP_BLOCK
        self._compress = _compressor(compression)
        self._workers = ThreadPoolExecutor(_WORKERS)
        self._hasher = ThreadPoolExecutor(1)
        self._pending: deque[tuple[Future[Block] | None, Future[None]]] = deque()
        self._parts: list[bytes | memoryview] = []
        self._held = 0  # bytes in them
        self._diff = hashlib.sha256()
        self._size = 0
        self._blob = hashlib.sha256()
        self._written = 0
        self._member: _Member | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._workers.shutdown(cancel_futures=True)
        self._hasher.shutdown(cancel_futures=True)

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes of the tar stream."""
        self._parts.append(data)
        self._held += len(data)
        if self._held >= self._block:
            whole = memoryview(b"".join(self._parts))
            end = self._held - self._held % self._block
            for at in range(0, end, self._block):
                self._submit(whole[at : at + self._block])
            self._parts, self._held = [whole[end:]], self._held - end

    def finish(self) -> Packed:
        """Write what is left and return the result."""
        if not self._held and not self._size:
            self._submit(memoryview(b""))
        self._settle()
        return Packed(
            descriptor=Descriptor(
                media_type=oci_layer(self._compression.name),
                digest=Digest(f"sha256:{self._blob.hexdigest()}"),
                size=self._written,
            ),
            diff_id=Digest(f"sha256:{self._diff.hexdigest()}"),
            tar_size=self._size,
        )

    def begin(self, opening: bytes) -> None:
        """Begin a gzip member with these bytes of the blob; from now on what it holds is written, and only hashed."""
        self._settle()
        self._member = _Member()
        self._emit(opening)

    def checksum(self) -> int:
        """Return the CRC-32 of what was written since the member was begun, or since this was asked last."""
        self._settle()
        assert self._member is not None
        return self._member.part()

    def splice(self, data: bytes) -> None:
        """Add bytes of the blob to the member."""
        self._emit(data)

    def end(self) -> None:
        """End the member; what is written then is packed again."""
        self._settle()
        assert self._member is not None
        self._emit(self._member.trailer())
        self._member = None

    def _settle(self) -> None:
        """Have all that was written packed and hashed."""
        if self._held:
            self._submit(memoryview(b"".join(self._parts)))
            self._parts, self._held = [], 0
        while self._pending:
            self._drain()

    def _submit(self, block: memoryview) -> None:
        self._size += len(block)
        member = self._member
        hashed = self._hasher.submit(self._hash, block, member)
        self._pending.append((self._workers.submit(self._compress, block) if member is None else None, hashed))
        if len(self._pending) > 2 * _WORKERS:
            self._drain()

    def _hash(self, block: memoryview, member: _Member | None) -> None:
        self._diff.update(block)
        if member is not None:
            member.add(block)

    def _drain(self) -> None:
        compressed, hashed = self._pending.popleft()
        if compressed is not None:
            self._emit(compressed.result())
        hashed.result()

    def _emit(self, data: Block) -> None:
        self._blob.update(data)
        self._out.write(data)
        self._written += len(data)


class _Member:
    """The CRC-32 and size of what a member holds, and the CRC-32 of a part of it (RFC 1952, section 2.3.1)."""

    def __init__(self) -> None:
        from isal.isal_zlib import crc32

        self._crc32 = crc32
        self._checksum = self._part = self._size = 0

    def add(self, block: memoryview) -> None:
        self._size += len(block)
        self._checksum = self._crc32(block, self._checksum)
        self._part = self._crc32(block, self._part)

    def part(self) -> int:
        part, self._part = self._part, 0
        return part

    def trailer(self) -> bytes:
        return struct.pack("<II", self._checksum, self._size & 0xFFFFFFFF)


def _compressor(compression: Compression) -> Callable[[memoryview], Block]:
    """Return the function that compresses one block."""
    level = compression.level
    if compression.name == "none":
        return lambda block: block
    if compression.name == "zstd":
        module = zstd()
        return lambda block: bytes(module.compress(block, level))
    from deflate import gzip_compress

    return lambda block: gzip_compress(block, level)
