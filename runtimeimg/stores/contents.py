"""What has to be written for an image or index: its blobs, its manifests children first, and the top."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import IO, Protocol

from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.image import Image, ImageIndex, Origin
from runtimeimg.oci import Descriptor, Manifest
from runtimeimg.stores.opening import MAX_DEPTH, Artifact, BytesBlob
from runtimeimg.stores.verify import check_bytes


class Blob(Protocol):
    """Bytes to be written: a layer, a config, a part of an artifact."""

    @property
    def descriptor(self) -> Descriptor:
        """The blob as stored."""

    @property
    def origin(self) -> Origin | None:
        """Where it is kept."""

    def open(self) -> IO[bytes]:
        """Return a verified reader."""


MAX_MANIFESTS = 64 * 1024 * 1024
"""Bytes of all manifests of one index together; they are held in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """`blobs` each once; `children` are the manifests below the top, deepest first; `top` names it all."""

    blobs: tuple[Blob, ...]
    children: tuple[BytesBlob, ...]
    top: BytesBlob


def contents(image: Image | ImageIndex, there: Callable[[Origin], bool] = lambda _: False) -> Contents:
    """Return what `image` consists of; documents are read and checked, blobs are not.

    Entries of an index are left out, with all below them, where they are kept in a place of which `there` is true.
    """
    found = _Collected(there=there)
    top = found.add(image, None, 0)
    del found.manifests[top.descriptor.digest]
    return Contents(blobs=tuple(found.blobs.values()), children=tuple(found.manifests.values()), top=top)


def require_whole(image: Image) -> None:
    """Raise InvalidDocumentError unless config and layers of `image` fit each other, before anything moves.

    config.md: `rootfs` is required, its diff ids are those of the layers in their order, and as many entries of the
    history made a layer as there are layers. A config without any history is taken as it is.
    """
    config = image.config
    if not isinstance(config.data.get("rootfs"), Mapping):
        raise InvalidDocumentError(f"image '{image.name}' has a config without rootfs: its layers would be lost")
    if len(image.layers) != len(config.diff_ids):
        raise InvalidDocumentError(
            f"image '{image.name}': its config names {len(config.diff_ids)} layers, it has {len(image.layers)}"
        )
    for index, (layer, diff_id) in enumerate(zip(image.layers, config.diff_ids, strict=True)):
        if layer.diff_id != diff_id:
            raise InvalidDocumentError(
                f"image '{image.name}': its config calls layer {index + 1} {diff_id}, it is {layer.diff_id}"
            )
    made = sum(1 for step in config.history if not step.get("empty_layer"))
    if config.history and made != len(image.layers):
        raise InvalidDocumentError(f"image '{image.name}': its history made {made} layers, it has {len(image.layers)}")


def is_foreign(descriptor: Descriptor) -> bool:
    """Tell whether a layer is one that is kept elsewhere and must not be passed on (layer.md, "Non-Distributable")."""
    restricted = ".nondistributable." in descriptor.media_type or ".foreign." in descriptor.media_type
    return restricted and bool(descriptor.extra.get("urls"))


@dataclass(kw_only=True)
class _Collected:
    """The blobs and manifests that were come upon, each once."""

    there: Callable[[Origin], bool]
    blobs: dict[str, Blob] = field(default_factory=dict)
    manifests: dict[str, BytesBlob] = field(default_factory=dict)
    size: int = 0

    def add(self, item: Image | ImageIndex | Manifest, entry: Descriptor | None, depth: int) -> BytesBlob:
        """Note the blobs and manifests of `item`, which `entry` of an index names, and return its own manifest."""
        if isinstance(item, ImageIndex):
            self._add_entries(item, depth)
            raw, descriptor = item.index.raw, item.index.descriptor
        elif isinstance(item, Image):
            manifest = item.to_manifest()
            self._add_blobs(_image_blobs(item, manifest))
            raw, descriptor = manifest.raw, manifest.descriptor
        elif isinstance(item, Artifact):
            self._add_blobs(item.blobs)
            raw, descriptor = item.raw, item.descriptor
        else:
            raise UsageError(f"manifest {item.digest} is of a kind that cannot be written")
        if entry is not None:
            check_bytes(raw, entry.digest, "manifest of an index entry")
            descriptor = replace(entry, size=len(raw))
        self.size += len(raw)
        if self.size > MAX_MANIFESTS:
            raise InvalidDocumentError(f"the manifests of the index are larger than {MAX_MANIFESTS >> 20} MiB together")
        found = BytesBlob(descriptor=descriptor, raw=raw)
        self.manifests[descriptor.digest] = found
        return found

    def _add_entries(self, item: ImageIndex, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise InvalidDocumentError(f"'{item.name}' holds indexes more than {MAX_DEPTH} deep")
        for child in item.index.manifests:
            origin = item.origin(child)
            if child.digest not in self.manifests and (origin is None or not self.there(origin)):
                self.add(item.open_manifest(child), child, depth + 1)

    def _add_blobs(self, blobs: Iterable[Blob]) -> None:
        for blob in blobs:
            self.blobs.setdefault(blob.descriptor.digest, blob)


def _image_blobs(image: Image, manifest: Manifest) -> list[Blob]:
    """Return the config and layers of `image`, described as its manifest has them; foreign layers are left out."""
    require_whole(image)
    described = manifest.layers
    if [item.digest for item in described] != [layer.descriptor.digest for layer in image.layers]:
        raise InvalidDocumentError(f"image '{image.name}': its layers are not those of its manifest")
    check_bytes(image.config.raw, manifest.config.digest, f"config of '{image.name}'")
    found: list[Blob] = [layer for layer, item in zip(image.layers, described, strict=True) if not is_foreign(item)]
    found.append(BytesBlob(descriptor=manifest.config, raw=image.config.raw))
    return found
