"""An Engine's layers made fit for a registry or layout: compressed, each into a file that is gone afterwards.

What a layer came to is remembered in the cache, as the same archive always gives the same blob. A layer that is known
is neither fetched nor compressed until somebody reads it, which nobody does where the destination has it already.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from runtimeimg import __version__, remains
from runtimeimg.cache import Cache
from runtimeimg.errors import IntegrityError, InvalidDocumentError
from runtimeimg.hostfile import explained
from runtimeimg.image.compress import BlobWriter, Compression
from runtimeimg.image.decompress import Unfolded, raw_pieces
from runtimeimg.image.filelayer import FileLayer
from runtimeimg.image.reserving import reserving
from runtimeimg.image.values import Image, Layer, Origin
from runtimeimg.oci import Descriptor, Digest
from runtimeimg.oci.mediatypes import layer_compression


@contextlib.contextmanager
def compressed(
    image: Image, compression: Compression, folder: str | None = None, cache: Cache | None = None
) -> Iterator[Image]:
    """Yield `image` with its uncompressed layers compressed; its blobs can be read until the context ends."""
    if compression.name == "none":
        yield image
        return
    with remains.folder(folder) as work:
        places = (work / str(at) for at in range(len(image.layers)))
        layers = tuple(
            _compressed(layer, compression, path, cache) for layer, path in zip(image.layers, places, strict=False)
        )
        changed = any(new is not old for new, old in zip(layers, image.layers, strict=True))
        yield replace(image, layers=layers, manifest=None) if changed else image


def _compressed(layer: Layer, compression: Compression, path: Path, cache: Cache | None) -> Layer:
    if layer.origin is not None and layer.origin.store == "engine":
        known = _known(layer.diff_id, compression, cache)
        if known is not None:
            return _KnownLayer(descriptor=known, layer=layer, compression=compression, path=path)
    if layer_compression(layer.descriptor.media_type) != "none":
        return layer
    packed = _packed(layer, compression, path)
    if cache is not None:
        cache.put("packed", _key(layer.diff_id, compression), json.dumps(packed.descriptor.to_json()).encode())
    return packed


def _packed(layer: Layer, compression: Compression, path: Path) -> FileLayer:
    what = f"layer {layer.diff_id}"
    with explained(path), reserving(path) as out, BlobWriter(out, compression) as writer:
        for piece in Unfolded(raw_pieces(layer.open()), what, size=layer.descriptor.size):
            writer.write(piece)
        packed = writer.finish()
    if packed.diff_id != layer.diff_id:
        raise IntegrityError(f"{what} has the digest {packed.diff_id}")
    return FileLayer(path=path, descriptor=packed.descriptor, diff_id=packed.diff_id)


def _key(diff_id: Digest, compression: Compression) -> str:
    return hashlib.sha256(f"{diff_id} {compression.name} {compression.level} {__version__}".encode()).hexdigest()


def _known(diff_id: Digest, compression: Compression, cache: Cache | None) -> Descriptor | None:
    data = cache.get("packed", _key(diff_id, compression)) if cache is not None else None
    if data is None:
        return None
    try:
        return Descriptor.from_json(json.loads(data))
    except (ValueError, InvalidDocumentError):
        return None  # not of our making


@dataclass(frozen=True, slots=True, kw_only=True)
class _KnownLayer:
    """A layer whose compressed blob is known, and made when it is read."""

    descriptor: Descriptor
    layer: Layer
    compression: Compression
    path: Path
    _lock: threading.Lock = field(default_factory=threading.Lock, compare=False)

    @property
    def diff_id(self) -> Digest:
        """Digest of the uncompressed archive."""
        return self.layer.diff_id

    @property
    def origin(self) -> Origin | None:
        """Nowhere yet."""
        return None

    def open(self) -> IO[bytes]:
        """Return a reader of the blob; IntegrityError where it is not what was remembered."""
        with self._lock:
            if not self.path.exists():
                made = _packed(self.layer, self.compression, self.path)
                if made.descriptor != self.descriptor:
                    self.path.unlink()
                    raise IntegrityError(
                        f"layer {self.diff_id} is packed to {made.descriptor.digest}, not {self.descriptor.digest}",
                        hint="empty the cache with 'runtimeimg cache prune' and try again",
                    )
        return FileLayer(path=self.path, descriptor=self.descriptor, diff_id=self.diff_id).open()
