"""Images of an Engine with the containerd image store: manifests and blobs as they were pulled or built.

There an image's ID is the digest of a manifest or of an index, and only the saved stream shows the documents. An
index may list more than is there: Docker pulls one platform and keeps the whole index.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import IO, Any

from runtimeimg.errors import NotFoundError, RemoteError
from runtimeimg.image import Image, ImageIndex, Origin
from runtimeimg.image.values import REFERENCE_DIGEST, image_entries
from runtimeimg.oci import Descriptor, Digest, Index, parse_manifest
from runtimeimg.stores.engine.connection import Engine
from runtimeimg.stores.engine.saved import Documents
from runtimeimg.stores.engine.spool import EngineImage, saved
from runtimeimg.stores.opening import open_top
from runtimeimg.stores.verify import check_bytes, verified


def platforms_held(inspection: Mapping[str, Any]) -> int:
    """Return how many images an inspection tells to be there whole, 0 where it does not tell (Engine API 1.48)."""
    manifests = inspection.get("Manifests") or []
    return sum(1 for one in manifests if one.get("Kind") == "image" and one.get("Available"))


def read_stored(engine: Engine, image_id: str, name: str) -> Image | ImageIndex:
    """Return what an ID of the containerd image store names, out of its saved stream, layers not kept.

    An index of which one image is there gives that image; of one that is there in part, the entries that are.
    """
    documents = Documents.of(saved(engine, image_id))
    shared = EngineImage(options=engine.options, address=engine.address, image_id=image_id)
    blobs = _StoredBlobs(name=name, documents=documents, image=shared)
    raw = documents.blob(Digest.parse(image_id))
    if raw is None:
        raise RemoteError(f"engine saved image '{image_id}' without its manifest")
    check_bytes(raw, Digest.parse(image_id), f"manifest of '{name}'")
    opened = open_top(raw, None, blobs)
    if isinstance(opened, Image):
        return replace(opened, image_id=image_id)
    held = _held(opened, documents)
    images = image_entries(held)
    if not images:
        raise RemoteError(f"engine saved image '{image_id}' without any of its platforms")
    only = held.open_manifest(images[0])
    if len(images) == 1 and isinstance(only, Image):
        return replace(only, name=name, image_id=image_id)
    return held


@dataclass(slots=True, kw_only=True)
class _StoredBlobs:
    """The blobs of a saved image: documents in memory, layers from the stream once they are wanted."""

    name: str
    documents: Documents
    image: EngineImage

    def open_blob(self, descriptor: Descriptor) -> IO[bytes]:
        what = f"blob {descriptor.digest}"
        if (raw := self.documents.blob(descriptor.digest)) is not None:
            return verified(io.BytesIO(raw), descriptor, what)
        if not self.documents.has(descriptor):
            raise NotFoundError(f"image '{self.name}' is in the Docker Engine without its {what}")
        spool = self.image.spool()
        return verified(spool.open(spool.blob(descriptor.digest)), descriptor, what)

    def open_manifest(self, descriptor: Descriptor) -> IO[bytes]:
        return self.open_blob(descriptor)

    def origin(self, descriptor: Descriptor) -> Origin | None:  # noqa: ARG002 - every blob is in the Engine
        return self.image.origin


def _held(found: ImageIndex, documents: Documents) -> ImageIndex:
    """Return `found` with the entries that are there whole, and what refers to one of them."""
    kept = [item for item in found.index.manifests if _whole(item, documents)]
    there = {item.digest for item in kept}
    kept = [item for item in kept if item.annotations.get(REFERENCE_DIGEST, item.digest) in there]
    if len(kept) == len(found.index.manifests):
        return found
    index = found.index.evolve(manifests=[item.to_json() for item in kept])
    return ImageIndex(index=index, open_manifest=found.open_manifest, name=found.name)


def _whole(item: Descriptor, documents: Documents) -> bool:
    raw = documents.blob(item.digest)
    if raw is None:
        return False
    document = parse_manifest(raw, item.media_type)
    if isinstance(document, Index):
        return all(_whole(child, documents) for child in document.manifests)
    return all(documents.has(part) for part in (document.config, *document.layers))
