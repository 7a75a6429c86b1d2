"""From documents to images: what every store does the same way once it can fetch a blob."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Protocol, runtime_checkable

from runtimeimg.budgets import MAX_DOCUMENT, MAX_INDEX_ENTRIES
from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.image import Image, ImageIndex, Origin
from runtimeimg.image.spans import ByteSource, OpenRange
from runtimeimg.image.values import is_image
from runtimeimg.oci import Descriptor, Digest, ImageConfig, Index, Manifest, parse_manifest
from runtimeimg.oci.documents import load_json
from runtimeimg.oci.mediatypes import is_layer
from runtimeimg.stores.verify import check_bytes, once_more, read_all, verified

MAX_DEPTH = 8
"""Indexes within indexes; real ones have one or two levels."""
MAX_LAYERS = 1024


class Blobs(Protocol):
    """Where a store keeps the blobs of one image or index."""

    name: str
    """What messages call the image."""

    def open_blob(self, descriptor: Descriptor) -> IO[bytes]:
        """Return a verified reader of a blob; may be called from several threads. NotFoundError when it is missing."""

    def open_manifest(self, descriptor: Descriptor) -> IO[bytes]:
        """Return a verified reader of a manifest or index."""

    def origin(self, descriptor: Descriptor) -> Origin | None:
        """Tell where a blob is kept, for destinations that can make use of it."""


@runtime_checkable
class RangedBlobs(Protocol):
    """Blobs of which parts can be read."""

    def open_range(self, descriptor: Descriptor, start: int, end: int) -> ByteSource:
        """Open the bytes of a blob from one offset up to another; they are not verified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBlob:
    """A blob of a store, a layer where `diff_id` is its own; `open` may be called often and from any thread."""

    descriptor: Descriptor
    diff_id: Digest
    blobs: Blobs = field(repr=False, compare=False)

    @property
    def origin(self) -> Origin | None:
        """Where the blob is kept."""
        return self.blobs.origin(self.descriptor)

    def open(self) -> IO[bytes]:
        """Return a verified reader of the blob."""
        return _open(self.descriptor, self.blobs.open_blob)

    @property
    def ranges(self) -> OpenRange | None:
        """What opens parts of the blob, not verified, where its store hands out such."""
        return partial(self.blobs.open_range, self.descriptor) if isinstance(self.blobs, RangedBlobs) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class BytesBlob:
    """A blob that is in memory: a config or a manifest."""

    descriptor: Descriptor
    raw: bytes = field(repr=False)
    origin: Origin | None = None

    def open(self) -> IO[bytes]:
        """Return a verified reader of the bytes."""
        return verified(io.BytesIO(self.raw), self.descriptor, f"blob {self.descriptor.digest}")


@dataclass(frozen=True)
class Artifact(Manifest):
    """A manifest of something that is no image (an attestation, a signature), with the blobs that it names."""

    blobs: tuple[StoredBlob, ...] = field(default=(), repr=False, compare=False)


def open_top(raw: bytes, media_type: str | None, blobs: Blobs, limit: int = MAX_DOCUMENT) -> Image | ImageIndex:
    """Return the image or index that a verified top document describes, one of at most `limit` bytes."""
    if len(raw) > limit:
        raise InvalidDocumentError(
            f"image '{blobs.name}': its manifest or index is {len(raw)} bytes; {limit} are allowed"
        )
    opened = open_document(raw, media_type, blobs)
    if isinstance(opened, Manifest):
        kind = opened.artifact_type or opened.config.media_type
        raise UsageError(f"'{blobs.name}' is no image but an artifact of the type {kind[:100]!r}")
    return opened


def open_document(
    raw: bytes, media_type: str | None, blobs: Blobs, *, depth: int = 0, name: str | None = None
) -> Image | ImageIndex | Artifact:
    """Return what a manifest or index describes; its raw bytes must have been verified by the caller."""
    name = name or blobs.name
    if depth > MAX_DEPTH:
        raise InvalidDocumentError(f"'{name}' holds indexes more than {MAX_DEPTH} deep")
    try:
        document = _parse(raw, media_type)
        if isinstance(document, Index):
            return _open_index(document, blobs, depth, name)
        if is_image(document) and all(is_layer(layer.media_type) for layer in document.layers):
            return _open_image(document, blobs, name)
        parts = (document.config, *document.layers)
        stored = tuple(StoredBlob(descriptor=part, diff_id=part.digest, blobs=blobs) for part in parts)
        return Artifact(raw, document.media_type, stored)
    except InvalidDocumentError as error:
        raise InvalidDocumentError(f"image '{name}': {error.message}", hint=error.hint) from error


def _parse(raw: bytes, media_type: str | None) -> Manifest | Index:
    data = load_json(raw, "manifest")
    if data.get("schemaVersion") == 1:
        raise InvalidDocumentError(
            "its manifest is of Docker's schema 1, which is not supported",
            hint="convert it first: pull and push it with a current tool",
        )
    return parse_manifest(raw, media_type, data)


def _open_index(index: Index, blobs: Blobs, depth: int, name: str) -> ImageIndex:
    if len(index.manifests) > MAX_INDEX_ENTRIES:
        raise InvalidDocumentError(f"its index lists {len(index.manifests)} manifests; {MAX_INDEX_ENTRIES} are allowed")

    def open_manifest(descriptor: Descriptor) -> Image | ImageIndex | Manifest:
        raw = read_manifest(blobs, descriptor, name)
        child = f"{name} ({descriptor.platform})" if descriptor.platform else f"{name} ({descriptor.digest.short})"
        return open_document(raw, descriptor.media_type, blobs, depth=depth + 1, name=child)

    listed = {entry.digest for entry in index.manifests}
    return ImageIndex(
        index=index,
        open_manifest=open_manifest,
        name=name,
        origin=lambda entry: blobs.origin(entry) if entry.digest in listed else None,
    )


def _open_image(manifest: Manifest, blobs: Blobs, name: str) -> Image:
    """Read the config and pair layers with diff ids (config.md: rootfs.diff_ids, in the manifest's order)."""
    layers = manifest.layers
    if len(layers) > MAX_LAYERS:
        raise InvalidDocumentError(f"it has {len(layers)} layers; {MAX_LAYERS} are allowed")
    descriptor = manifest.config
    if descriptor.size > MAX_DOCUMENT:
        raise InvalidDocumentError(f"its config is {descriptor.size} bytes; {MAX_DOCUMENT} are allowed")
    raw = once_more(lambda: read_all(_open(descriptor, blobs.open_blob), MAX_DOCUMENT, "config"))
    config = ImageConfig(raw, descriptor.media_type)
    diff_ids = config.diff_ids
    if len(diff_ids) != len(layers):
        raise InvalidDocumentError(f"its config names {len(diff_ids)} layers, its manifest {len(layers)}")
    return Image(
        config=config,
        layers=tuple(
            StoredBlob(descriptor=layer, diff_id=diff_id, blobs=blobs)
            for layer, diff_id in zip(layers, diff_ids, strict=True)
        ),
        annotations=manifest.annotations,
        manifest=manifest,
        name=name,
    )


def _open(descriptor: Descriptor, fetch: Callable[[Descriptor], IO[bytes]]) -> IO[bytes]:
    """Return a verified reader of what a descriptor carries itself, else of what the store fetches."""
    raw = descriptor.data
    return fetch(descriptor) if raw is None else verified(io.BytesIO(raw), descriptor, f"data of {descriptor.digest}")


def read_manifest(blobs: Blobs, descriptor: Descriptor, name: str) -> bytes:
    """Return the verified bytes of a manifest that a descriptor names."""
    if descriptor.size > MAX_DOCUMENT:
        raise InvalidDocumentError(f"image '{name}': manifest {descriptor.digest} is larger than {MAX_DOCUMENT} bytes")
    raw = once_more(lambda: read_all(_open(descriptor, blobs.open_manifest), MAX_DOCUMENT, "manifest"))
    check_bytes(raw, descriptor.digest, f"manifest {descriptor.digest}")
    return raw
