"""The layers of an Engine's image: one stream of all of them, written to an unnamed temporary file when first needed.

The file has no name, so nothing is left of it however the process ends; it is closed when the last layer that reads
from it is gone. Memory stays flat.
"""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, cast

from runtimeimg.budgets import MAX_DOCUMENT
from runtimeimg.errors import RemoteError
from runtimeimg.image import Origin
from runtimeimg.oci import Descriptor, Digest, ImageConfig
from runtimeimg.oci.mediatypes import DOCKER_CONFIG, OCI_LAYER
from runtimeimg.stores.base import StoreOptions
from runtimeimg.stores.engine import Engine, quoted
from runtimeimg.stores.verify import VerifiedReader

_CHUNK = 1 << 20
_MAX_MEMBERS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    offset: int
    size: int


class Spool:
    """An image's saved stream in a file; `pieces` are its layers, base first."""

    def __init__(self, chunks: Iterator[bytes], folder: str | None) -> None:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            for chunk in chunks:
                view = memoryview(chunk)
                while view:
                    view = view[file.write(view) :]
            self.descriptor = os.dup(file.fileno())
            weakref.finalize(self, os.close, self.descriptor)
            file.seek(0)
            self.pieces, self.config = _contents(file)

    def open(self, piece: _Piece) -> IO[bytes]:
        """Return a reader of a part of the file; it does not check what it reads."""
        return io.BufferedReader(_Part(self, piece), _CHUNK)


class _Part(io.RawIOBase):
    """A part of a spool. Several may be read at once: none moves the file's position."""

    def __init__(self, spool: Spool, piece: _Piece) -> None:
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
                    self._spool = Spool(_progressing(engine, self), folder)
            return self._spool


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLayer:
    """A layer of an Engine's image, an uncompressed tar archive."""

    diff_id: Digest
    index: int
    image: EngineImage = field(repr=False, compare=False)

    @property
    def descriptor(self) -> Descriptor:
        """The layer as a blob; asking fetches all layers of the image from the Engine."""
        return Descriptor(media_type=OCI_LAYER, digest=self.diff_id, size=self._piece.size)

    @property
    def origin(self) -> Origin:
        """The Engine."""
        return Origin(store="engine", place=self.image.address)

    def open(self) -> IO[bytes]:
        """Return a reader of the archive; it raises IntegrityError at its end when the digest is another."""
        reader = VerifiedReader(self.image.spool().open(self._piece), self.descriptor, f"layer {self.diff_id}")
        return cast("IO[bytes]", reader)

    @property
    def _piece(self) -> _Piece:
        pieces = self.image.spool().pieces
        if self.index >= len(pieces):
            raise RemoteError(f"engine saved {len(pieces)} layers of '{self.image.image_id}', more were promised")
        return pieces[self.index]


def saved_config(engine: Engine, image_id: str) -> ImageConfig:
    """Return the config of an image out of its saved stream, kept nowhere; slow for large images.

    The stream is left as soon as the config has come.
    """
    wanted = image_id.partition(":")[2]
    response = engine.call("GET", f"/images/{quoted(image_id)}/get", patient=True)
    found: dict[str, bytes] = {}
    with response, tarfile.open(fileobj=_Stream(engine.chunks(response, _CHUNK)), mode="r|") as archive:
        for member in archive:
            if not member.isfile() or member.size > MAX_DOCUMENT or posixpath.basename(member.name) == "layer.tar":
                continue
            stem = posixpath.basename(member.name).removesuffix(".json")
            if stem == wanted:
                raw = _read(archive, member)
                if Digest.of(raw) == image_id:
                    return ImageConfig(raw, DOCKER_CONFIG)
            elif member.name == "manifest.json" or (member.size <= MAX_DOCUMENT // 8 and len(found) < 4096):
                found[member.name] = _read(archive, member)
    name = _manifest(found.get("manifest.json", b""))["Config"]
    if name not in found:
        raise RemoteError(f"engine saved image '{image_id}' without its config")
    return ImageConfig(found[name], DOCKER_CONFIG)


class _Stream(io.RawIOBase):
    """A file around an iterator of bytes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _progressing(engine: Engine, image: EngineImage) -> Iterator[bytes]:
    progress, key = image.options.progress, f"save {image.image_id}"
    progress.start(key, f"read docker-daemon: {image.image_id[7:19]}", None)
    response = engine.call("GET", f"/images/{quoted(image.image_id)}/get", patient=True)
    for chunk in engine.chunks(response, _CHUNK):
        progress.advance(key, len(chunk))
        image.options.account.add(read_bytes=len(chunk))
        yield chunk
    progress.done(key)


def _contents(file: IO[bytes]) -> tuple[tuple[_Piece, ...], bytes]:
    """Return where the layers lie in a saved stream, and the bytes of the config."""
    members: dict[str, tarfile.TarInfo] = {}
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                members[posixpath.normpath(member.name)] = member
                if len(members) > _MAX_MEMBERS:
                    raise RemoteError("engine saved an image of too many files")
            if "manifest.json" not in members:
                raise RemoteError("engine saved an image without manifest.json")
            manifest = _manifest(_read(archive, members["manifest.json"]))
            config = _read(archive, _resolved(members, manifest["Config"]))
            layers = [_resolved(members, name) for name in manifest["Layers"] or []]
    except tarfile.TarError as error:
        raise RemoteError(f"engine saved an image that is no archive: {error}") from None
    return tuple(_Piece(offset=layer.offset_data, size=layer.size) for layer in layers), config


def _manifest(raw: bytes) -> dict[str, Any]:
    import json

    try:
        entry = json.loads(raw)[0]
        if isinstance(entry["Config"], str) and all(isinstance(name, str) for name in entry["Layers"] or []):
            return cast("dict[str, Any]", entry)
    except (ValueError, LookupError, TypeError):
        pass
    raise RemoteError("engine saved an image with a broken manifest.json")


def _resolved(members: Mapping[str, tarfile.TarInfo], name: str) -> tarfile.TarInfo:
    """Return the file called `name`; a layer that comes twice is a link to the first."""
    path = posixpath.normpath(name)
    for _ in range(8):
        member = members.get(path)
        if member is None:
            break
        if member.isfile():
            return member
        folder = posixpath.dirname(path) if member.issym() else ""
        path = posixpath.normpath(posixpath.join(folder, member.linkname))
    raise RemoteError(f"engine saved an image without its file '{name}'")


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    reader = archive.extractfile(member)
    if reader is None or member.size > MAX_DOCUMENT:
        raise RemoteError(f"engine saved an image whose '{member.name}' is no document")
    with reader:
        return reader.read()
