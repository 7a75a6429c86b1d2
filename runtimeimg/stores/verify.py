"""Readers that check what they read: the only way that blobs leave a store."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import IO, TypeVar, cast

from runtimeimg.errors import IntegrityError, InvalidDocumentError
from runtimeimg.image.spans import ByteSource
from runtimeimg.oci import Descriptor, Digest

_Result = TypeVar("_Result")

CHUNK = 1024 * 1024
"""Bytes moved at once: large enough that the cost of a call does not show, small enough for many at a time."""


class VerifiedReader(io.RawIOBase):
    """A blob's bytes, checked against its descriptor as they pass.

    The last bytes are handed out only when size and digest are right: whoever has read `size` bytes has the blob. A
    blob that ends early, goes on too long or hashes differently raises IntegrityError naming `what`.
    """

    def __init__(self, source: ByteSource, descriptor: Descriptor, what: str) -> None:
        super().__init__()
        self._source = source
        self._digest = descriptor.digest
        self._left = descriptor.size
        self._size = descriptor.size
        self._hash = hashlib.new(descriptor.digest.algorithm, usedforsecurity=False)
        self._what = what
        self._verified = False

    def readable(self) -> bool:
        """Tell that this is for reading."""
        return True

    def read(self, count: int = -1, /) -> bytes:
        """Return up to `count` bytes, all when negative; nothing only at the end."""
        if count < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        if count == 0:
            return b""
        data = self._source.read(min(count, self._left + 1)) or b""
        self._left -= len(data)
        if self._left < 0:
            raise IntegrityError(f"{self._what} is longer than the {self._size} bytes that its descriptor says")
        if not data and self._left:
            raise IntegrityError(
                f"{self._what} ends after {self._size - self._left} of the {self._size} bytes that its descriptor says"
            )
        self._hash.update(data)
        if not self._left and not self._verified:
            self._check()
        return data

    def readinto(self, buffer: object, /) -> int:
        """Fill `buffer` with the next bytes and return how many."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the source as well."""
        if not self.closed:
            self._source.close()
        super().close()

    def _check(self) -> None:
        found = f"{self._digest.algorithm}:{self._hash.hexdigest()}"
        if found != self._digest:
            raise IntegrityError(f"{self._what} has the digest {found}, not {self._digest}")
        self._verified = True


def verified(source: ByteSource, descriptor: Descriptor, what: str) -> IO[bytes]:
    """Return a verified reader, typed as the file that it is."""
    return cast("IO[bytes]", VerifiedReader(source, descriptor, what))


def once_more(work: Callable[[], _Result], undo: Callable[[], object] = lambda: None) -> _Result:
    """Return what `work` does, done again when the bytes that it read were not those of their digest.

    What was damaged on its way comes whole the next time; what is wrong where it lies does not, and raises. `undo`
    takes back what the first time left.
    """
    try:
        return work()
    except IntegrityError:
        undo()
    return work()


def read_all(reader: IO[bytes], limit: int, what: str = "document") -> bytes:
    """Read to the end and close; raise InvalidDocumentError as soon as there are more than `limit` bytes."""
    chunks: list[bytes] = []
    total = 0
    with reader:
        while chunk := reader.read(min(CHUNK, limit + 1)):
            total += len(chunk)
            if total > limit:
                raise InvalidDocumentError(f"{what} is larger than {limit} bytes")
            chunks.append(chunk)
    return b"".join(chunks)


def digest_like(digest: Digest, data: bytes) -> Digest:
    """Return the digest of `data` by the algorithm of `digest`."""
    return Digest(f"{digest.algorithm}:{hashlib.new(digest.algorithm, data, usedforsecurity=False).hexdigest()}")


def check_bytes(data: bytes, digest: Digest, what: str) -> None:
    """Raise IntegrityError unless `data` has that digest."""
    found = digest_like(digest, data)
    if found != digest:
        raise IntegrityError(f"{what} has the digest {found}, not {digest}")
