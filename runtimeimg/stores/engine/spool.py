"""The layers of an Engine's image: one stream of all of them, written to an unnamed temporary file when first needed.

The file has no name, so nothing is left of it however the process ends; it is closed when the last layer that reads
from it is gone. Memory stays flat.
"""

from __future__ import annotations

import io
import os
import tempfile
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from runtimeimg.errors import RemoteError
from runtimeimg.hostfile import explained
from runtimeimg.image import Origin
from runtimeimg.oci import Descriptor, Digest, ImageConfig
from runtimeimg.oci.mediatypes import OCI_LAYER
from runtimeimg.stores.base import StoreOptions
from runtimeimg.stores.engine.connection import Engine, quoted
from runtimeimg.stores.engine.saved import Members, Piece, SavedLayer, blob_name
from runtimeimg.stores.verify import verified

_CHUNK = 1 << 20


class Spool:
    """An image's saved stream in a file."""

    def __init__(self, chunks: Iterator[bytes], folder: str | None) -> None:
        with (
            explained(Path(folder or tempfile.gettempdir())),
            tempfile.TemporaryFile(dir=folder, buffering=0) as file,
        ):
            for chunk in chunks:
                view = memoryview(chunk)
                while view:
                    view = view[file.write(view) :]
            self.descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self.descriptor)
        with os.fdopen(os.dup(self.descriptor), "rb") as reader:
            reader.seek(0)
            self._members = Members(reader)
            self.layers: tuple[SavedLayer, ...] = self._members.layers()

    def open(self, piece: Piece) -> IO[bytes]:
        """Return a reader of a part of the file; it does not check what it reads."""
        return io.BufferedReader(_Part(self, piece), _CHUNK)

    def blob(self, digest: Digest) -> Piece:
        """Return where a blob of the layout lies."""
        return self._members.piece(blob_name(digest))


class _Part(io.RawIOBase):
    """A part of a spool. Several may be read at once: none moves the file's position."""

    def __init__(self, spool: Spool, piece: Piece) -> None:
        self._spool = spool
        self._at = piece.offset
        self._end = piece.offset + piece.size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = os.pread(self._spool.descriptor, min(len(buffer), self._end - self._at), self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


@dataclass(slots=True, kw_only=True)
class EngineImage:
    """What the layers of one image share: where it is, its exact config if known, and the spool once there is one."""

    options: StoreOptions
    address: str
    image_id: str
    config: ImageConfig | None = None
    _spool: Spool | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def spool(self) -> Spool:
        """Return the saved layers, fetched from the Engine when first asked for."""
        with self._lock:
            if self._spool is None:
                folder = self.options.environ.get("TMPDIR") or None
                with Engine.connect(self.options) as engine:
                    self._spool = Spool(saved(engine, self.image_id), folder)
            return self._spool

    @property
    def origin(self) -> Origin:
        """The Engine."""
        return Origin(store="engine", place=self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLayer:
    """A layer of an Engine's image, found by its place in it; an uncompressed archive unless the Engine keeps blobs."""

    diff_id: Digest
    index: int
    image: EngineImage = field(repr=False, compare=False)

    @property
    def descriptor(self) -> Descriptor:
        """The layer as a blob; asking fetches all layers of the image from the Engine."""
        saved = self._saved
        if saved.descriptor is not None and saved.descriptor.media_type != OCI_LAYER:
            return saved.descriptor
        return Descriptor(media_type=OCI_LAYER, digest=self.diff_id, size=saved.piece.size)

    @property
    def origin(self) -> Origin:
        """The Engine."""
        return self.image.origin

    def open(self) -> IO[bytes]:
        """Return a reader of the blob; it raises IntegrityError at its end when the digest is another."""
        return verified(self.image.spool().open(self._saved.piece), self.descriptor, f"layer {self.diff_id}")

    @property
    def _saved(self) -> SavedLayer:
        layers = self.image.spool().layers
        if self.index >= len(layers):
            raise RemoteError(f"engine saved {len(layers)} layers of '{self.image.image_id}', more were promised")
        return layers[self.index]


def saved(engine: Engine, image_id: str) -> Iterator[bytes]:
    """Yield the saved stream of an image, counted and shown."""
    options = engine.options
    progress, key = options.progress, f"save {image_id}"
    progress.start(key, f"read docker-daemon: {image_id[7:19]}", None)
    response = engine.call("GET", f"/images/{quoted(image_id)}/get", patient=True)
    for chunk in engine.chunks(response, _CHUNK):
        progress.advance(key, len(chunk))
        options.account.add(read_bytes=len(chunk))
        yield chunk
    progress.done(key)
