"""Archives of `docker save`: `manifest.json`, configs and layers (docker's image specification 1.2).

Their layers are named by diff id alone. An uncompressed layer, the usual kind, is its own diff id; of a compressed one
the digest and size are found by reading it once, and its diff id is checked on the way.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any

from runtimeimg import remains
from runtimeimg.budgets import MAX_INDEX_ENTRIES
from runtimeimg.errors import IntegrityError, InvalidDocumentError, NotFoundError, UsageError
from runtimeimg.hostfile import explained
from runtimeimg.image import Image, Layer, Origin
from runtimeimg.image.decompress import Unfolded, raw_pieces, sniff
from runtimeimg.image.filelayer import FileLayer
from runtimeimg.oci import Descriptor, Digest, ImageConfig, Reference
from runtimeimg.oci.documents import parse_json
from runtimeimg.oci.mediatypes import OCI_CONFIG, layer_compression, oci_layer
from runtimeimg.stores.archive.index import Member, TarIndex
from runtimeimg.stores.opening import MAX_LAYERS
from runtimeimg.stores.verify import once_more, verified


def open_docker_archive(index: TarIndex, name: str | None, shown: str) -> Image:
    """Return the image of a name, or without one the only image."""
    entry = _choose(_entries(index), name, shown)
    config_name, layer_names = entry.get("Config"), entry.get("Layers") or []
    if not isinstance(config_name, str) or not isinstance(layer_names, list) or len(layer_names) > MAX_LAYERS:
        raise InvalidDocumentError(f"image '{shown}': its entry in manifest.json has no config or too many layers")
    config = ImageConfig(index.read(config_name), OCI_CONFIG)
    diff_ids = config.diff_ids
    if len(diff_ids) != len(layer_names):
        raise InvalidDocumentError(
            f"image '{shown}': its config names {len(diff_ids)} layers, manifest.json {len(layer_names)}"
        )
    layers = tuple(_layer(index, layer, diff_id, shown) for layer, diff_id in zip(layer_names, diff_ids, strict=True))
    return Image(config=config, layers=layers, name=shown)


class ArchiveLayer:
    """A layer of a docker-archive."""

    def __init__(self, index: TarIndex, member: Member, diff_id: Digest, compression: str) -> None:
        self._index = index
        self._member = member
        self._compression = compression
        self._lock = threading.Lock()
        self._descriptor: Descriptor | None = None
        self.diff_id = diff_id

    @property
    def origin(self) -> Origin | None:
        """Tell nothing: a part of a file is no place that others could use."""
        return None

    @property
    def descriptor(self) -> Descriptor:
        """The blob as it lies in the archive; a compressed one is read for it, once."""
        with self._lock:
            if self._descriptor is None:
                plain = self._compression == "none"
                self._descriptor = Descriptor(
                    media_type=oci_layer(self._compression),
                    digest=self.diff_id if plain else self._measure(),
                    size=self._member.size,
                )
            return self._descriptor

    def open(self) -> IO[bytes]:
        """Return a verified reader of the blob."""
        descriptor = self.descriptor
        what = f"layer {self.diff_id} in '{self._index.path}'"
        return verified(self._index.open(self._member), descriptor, what)

    def _measure(self) -> Digest:
        """Return the digest of a compressed layer, having checked that it unpacks to its diff id."""
        stored = hashlib.sha256(usedforsecurity=False)

        def pieces() -> Iterator[bytes]:
            for piece in raw_pieces(self._index.open(self._member)):
                stored.update(piece)
                yield piece

        unpacked = hashlib.new(self.diff_id.algorithm, usedforsecurity=False)
        for piece in Unfolded(pieces(), f"layer {self.diff_id} in '{self._index.path}'"):
            unpacked.update(piece)
        found = f"{self.diff_id.algorithm}:{unpacked.hexdigest()}"
        if found != self.diff_id:
            raise IntegrityError(f"layer in '{self._index.path}' unpacks to {found}, not to {self.diff_id}")
        return Digest(f"sha256:{stored.hexdigest()}")


@contextlib.contextmanager
def loadable(image: Image, folder: str | None) -> Iterator[Image]:
    """Return a context whose value is the image with its zstd layers unpacked: Engines before 23.0 do not know them.

    They are kept in files under `folder` (the system's folder for such files when None) until the context is left.
    """
    if all(layer_compression(layer.descriptor.media_type) != "zstd" for layer in image.layers):
        yield image
        return
    with remains.folder(folder) as place:
        layers = list(image.layers)
        for number, layer in enumerate(layers):
            if layer_compression(layer.descriptor.media_type) == "zstd":
                layers[number] = once_more(partial(_unpacked, layer, place / str(number)))
        yield replace(image, layers=tuple(layers), manifest=None)


def _unpacked(layer: Layer, path: Path) -> Layer:
    found = hashlib.new(layer.diff_id.algorithm, usedforsecurity=False)
    with explained(path), path.open("wb") as file:
        for piece in Unfolded(raw_pieces(layer.open()), f"layer {layer.descriptor.digest}"):
            found.update(piece)
            file.write(piece)
        size = file.tell()
    if f"{layer.diff_id.algorithm}:{found.hexdigest()}" != layer.diff_id:
        raise IntegrityError(f"layer {layer.descriptor.digest} does not unpack to {layer.diff_id}")
    descriptor = Descriptor(media_type=oci_layer("none"), digest=layer.diff_id, size=size)
    return FileLayer(descriptor=descriptor, diff_id=layer.diff_id, path=path)


def _entries(index: TarIndex) -> list[dict[str, Any]]:
    data = parse_json(index.read("manifest.json"), f"archive '{index.path}': manifest.json")
    if not isinstance(data, list) or len(data) > MAX_INDEX_ENTRIES or not all(isinstance(item, dict) for item in data):
        raise InvalidDocumentError(f"archive '{index.path}': manifest.json is not a list of images")
    return data


def _choose(entries: list[dict[str, Any]], name: str | None, shown: str) -> dict[str, Any]:
    tags = [
        [tag for tag in entry.get("RepoTags") or [] if isinstance(tag, str)]
        if isinstance(entry.get("RepoTags") or [], list)
        else []
        for entry in entries
    ]
    listed = ", ".join(tag[:128] for group in tags[:20] for tag in group[:5]) or "no names"
    if name is None:
        if len(entries) == 1:
            return entries[0]
        if not entries:
            raise NotFoundError(f"archive '{shown}' holds no image")
        raise UsageError(f"archive '{shown}' holds several images", hint=f"add one of the names: {listed}")
    wanted = Reference.parse(name).tagged.familiar
    for entry, group in zip(entries, tags, strict=True):
        if wanted in group or name in group:
            return entry
    raise NotFoundError(f"image '{shown}' does not exist", hint=f"the archive holds {listed}")


def _layer(index: TarIndex, name: object, diff_id: Digest, shown: str) -> ArchiveLayer:
    member = index.find(name) if isinstance(name, str) else None
    if member is None:
        raise NotFoundError(f"image '{shown}': the archive has no layer {str(name)[:200]!r}")
    with index.open(member) as file:
        compression = sniff(file.read(4))
    return ArchiveLayer(index, member, diff_id, compression)
