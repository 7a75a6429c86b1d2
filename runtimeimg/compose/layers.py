"""Layers as compositions know them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, runtime_checkable

from runtimeimg.image import Layer
from runtimeimg.image.filelayer import FileLayer
from runtimeimg.image.spans import OpenRange
from runtimeimg.image.values import Origin
from runtimeimg.oci import Descriptor, Digest


@runtime_checkable
class Ranged(Protocol):
    """A layer of a store that may hand out parts of blobs."""

    @property
    def ranges(self) -> OpenRange | None:
        """What opens parts of the blob, not verified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Around:
    """A layer that is another one, but for how it is read."""

    layer: Layer

    @property
    def diff_id(self) -> Digest:
        """Digest of the uncompressed archive."""
        return self.layer.diff_id

    @property
    def descriptor(self) -> Descriptor:
        """The blob as stored."""
        return self.layer.descriptor

    @property
    def origin(self) -> Origin | None:
        """Where the blob is kept."""
        return self.layer.origin

    @property
    def ranges(self) -> OpenRange | None:
        """What opens parts of the blob, not verified."""
        return self.layer.ranges if isinstance(self.layer, Ranged) else None

    def open(self) -> IO[bytes]:
        """Return a verified reader of the blob."""
        return self.layer.open()


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedLayer(_Around):
    """A layer that is read by an index which somebody else may have made; `index` is the digest of what that is in."""

    index: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadedLayer(_Around):
    """A layer of a registry whose blob is also in the file `path`, and read from there while that is whole."""

    path: Path

    def open(self) -> IO[bytes]:
        """Return a verified reader of the blob."""
        try:
            with self.path.open("rb") as file:
                whole = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" == self.descriptor.digest
        except OSError:
            whole = False
        if not whole:
            return self.layer.open()
        return FileLayer(descriptor=self.descriptor, diff_id=self.diff_id, path=self.path).open()


def salted(digest: Digest, index: Digest) -> Digest:
    """Return what stands for a layer that is read by somebody's index, so that what comes of it is kept apart."""
    return Digest.of(f"{digest} {index}".encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRef:
    """A layer, the key it is known by (the digest of its blob), and what messages call it.

    `trusting` tells that it is read by somebody's index; its key is another one then.
    """

    layer: Layer
    key: str
    name: str
    trusting: bool = False

    @classmethod
    def of(cls, layer: Layer, image: str) -> LayerRef:
        """Return the reference of a layer of `image`. An Engine keeps archives, so there the diff id is the digest."""
        from_engine = layer.origin is not None and layer.origin.store == "engine"
        digest = layer.diff_id if from_engine else layer.descriptor.digest
        name = f"layer {digest} of '{image}'"
        if isinstance(layer, IndexedLayer):
            return cls(layer=layer, key=str(salted(digest, layer.index)), name=name, trusting=True)
        return cls(layer=layer, key=str(digest), name=name)

    @property
    def encoded(self) -> str:
        """The key without its algorithm, as what is kept of the layer is known by."""
        return self.key.partition(":")[2]
