"""Layers in files of this machine: those that were just written."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from runtimeimg.errors import IntegrityError, NotFoundError
from runtimeimg.image.values import Origin
from runtimeimg.oci import Descriptor, Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLayer:
    """A layer whose blob is the file `path`."""

    descriptor: Descriptor
    diff_id: Digest
    path: Path

    @property
    def origin(self) -> Origin:
        """The file."""
        return Origin(store="file", place=str(self.path))

    def open(self) -> IO[bytes]:
        """Return a reader that raises IntegrityError at the end of a file that is not the blob any more."""
        try:
            file = self.path.open("rb", buffering=0)
        except FileNotFoundError:
            raise NotFoundError(f"layer file '{self.path}' is gone") from None
        return cast("IO[bytes]", _Checked(file, self))


class _Checked(io.RawIOBase):
    """A file's bytes, checked against a layer's descriptor when they end."""

    def __init__(self, file: io.FileIO, layer: FileLayer) -> None:
        super().__init__()
        self._file = file
        self._layer = layer
        self._hash = hashlib.sha256(usedforsecurity=False)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer)
        self._hash.update(memoryview(buffer)[:count])
        if not count and len(buffer) and f"sha256:{self._hash.hexdigest()}" != self._layer.descriptor.digest:
            raise IntegrityError(
                f"layer file '{self._layer.path}' is not {self._layer.descriptor.digest} any more",
                hint="if it came out of the cache, empty that with 'runtimeimg cache prune' and build again",
            )
        return count

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
