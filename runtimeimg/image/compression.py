"""An Engine's layers made fit for a registry or layout: compressed, each into a file that is gone afterwards."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from runtimeimg.errors import IntegrityError
from runtimeimg.hostfile import explained
from runtimeimg.image.compress import BlobWriter, Compression
from runtimeimg.image.filelayer import FileLayer
from runtimeimg.image.reserving import reserving
from runtimeimg.image.values import Image, Layer
from runtimeimg.oci.mediatypes import layer_compression

_CHUNK = 1 << 20


@contextlib.contextmanager
def compressed(image: Image, compression: Compression, folder: str | None = None) -> Iterator[Image]:
    """Yield `image` with its uncompressed layers compressed; its blobs can be read until the context ends."""
    if compression.name == "none":
        yield image
        return
    with tempfile.TemporaryDirectory(prefix="runtimeimg-", dir=folder) as name:
        layers = tuple(_compressed(layer, compression, Path(name) / str(at)) for at, layer in enumerate(image.layers))
        yield replace(image, layers=layers, manifest=None)


def _compressed(layer: Layer, compression: Compression, path: Path) -> Layer:
    if layer_compression(layer.descriptor.media_type) != "none" or compression.name == "none":
        return layer
    with explained(path), layer.open() as source, reserving(path) as out, BlobWriter(out, compression) as writer:
        while chunk := source.read(_CHUNK):
            writer.write(chunk)
        packed = writer.finish()
    if packed.diff_id != layer.diff_id:
        raise IntegrityError(f"layer {layer.diff_id} has the digest {packed.diff_id}")
    return FileLayer(path=path, descriptor=packed.descriptor, diff_id=packed.diff_id)
