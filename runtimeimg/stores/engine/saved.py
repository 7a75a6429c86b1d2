"""What an Engine's saved stream holds: where its files lie, and which of them are an image's config and layers.

Engines write three kinds: the archive of `docker save` as it always was (Docker before 25, podman); the same beside
an OCI layout, all layers uncompressed (Docker since 25); and an OCI layout of what is stored (the containerd image
store), layers as they were pulled or built, perhaps of several platforms and with attestations.
"""

from __future__ import annotations

import io
import json
import posixpath
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, cast

from runtimeimg.budgets import MAX_DOCUMENT
from runtimeimg.errors import InvalidDocumentError, RemoteError
from runtimeimg.oci import Descriptor, Digest
from runtimeimg.oci.mediatypes import oci_layer

MAX_MEMBERS = 100_000
MAX_DOCUMENTS = 64 * 1024 * 1024
"""Bytes of all documents of one stream together; they are held in memory."""

BLOBS = "blobs/"
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a stream that was written to a file."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedLayer:
    """A layer of a stream; `descriptor` is None for one that is named by its diff id alone, and so uncompressed."""

    piece: Piece
    descriptor: Descriptor | None


class Members:
    """The files of a stream in a file, by name."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._members: dict[str, tarfile.TarInfo] = {}
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    self._members[posixpath.normpath(member.name)] = member
                    if len(self._members) > MAX_MEMBERS:
                        raise RemoteError("engine saved an image of too many files")
        except tarfile.TarError as error:
            raise RemoteError(f"engine saved an image that is no archive: {error}") from None

    def piece(self, name: str) -> Piece:
        """Return where the file called `name` lies; a layer that comes twice is a link to the first."""
        path = posixpath.normpath(name)
        for _ in range(8):
            member = self._members.get(path)
            if member is None:
                break
            if member.isfile():
                return Piece(offset=member.offset_data, size=member.size)
            folder = posixpath.dirname(path) if member.issym() else ""
            path = posixpath.normpath(posixpath.join(folder, member.linkname))
        raise RemoteError(f"engine saved an image without its file '{name}'")

    def layers(self) -> tuple[SavedLayer, ...]:
        """Return the layers that manifest.json lists, base first."""
        if "manifest.json" not in self._members:
            raise RemoteError("engine saved an image without manifest.json")
        entry = manifest_entry(self._read("manifest.json"))
        return tuple(self._layer(name) for name in entry["Layers"] or [])

    def _layer(self, name: str) -> SavedLayer:
        piece = self.piece(name)
        return SavedLayer(piece=piece, descriptor=self._descriptor(name, piece))

    def _descriptor(self, name: str, piece: Piece) -> Descriptor | None:
        digest = blob_digest(name)
        if digest is None:
            return None
        start = self._bytes(Piece(offset=piece.offset, size=min(4, piece.size)))
        compression = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), "none")
        return Descriptor(media_type=oci_layer(compression), digest=digest, size=piece.size)

    def _read(self, name: str) -> bytes:
        piece = self.piece(name)
        if piece.size > MAX_DOCUMENT:
            raise RemoteError(f"engine saved an image whose '{name}' is no document")
        return self._bytes(piece)

    def _bytes(self, piece: Piece) -> bytes:
        self._file.seek(piece.offset)
        return self._file.read(piece.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """The JSON documents of a stream by name, and the names of all its files."""

    documents: Mapping[str, bytes]
    names: frozenset[str]

    @classmethod
    def of(cls, chunks: Iterator[bytes]) -> Documents:
        """Read a stream to its end, keeping nothing else of it."""
        documents: dict[str, bytes] = {}
        names: set[str] = set()
        total = 0
        try:
            with tarfile.open(fileobj=io.BufferedReader(Stream(chunks)), mode="r|") as archive:
                for member in archive:
                    names.add(posixpath.normpath(member.name))
                    if len(names) > MAX_MEMBERS:
                        raise RemoteError("engine saved an image of too many files")
                    if not member.isfile() or member.size > MAX_DOCUMENT:
                        continue
                    reader = cast("IO[bytes]", archive.extractfile(member))
                    if (start := reader.read(1)) in {b"{", b"["}:
                        documents[posixpath.normpath(member.name)] = start + reader.read()
                        total += member.size
                    if total > MAX_DOCUMENTS:
                        raise RemoteError("engine saved an image of too many documents")
        except tarfile.TarError as error:
            raise RemoteError(f"engine saved an image that is no archive: {error}") from None
        return cls(documents=documents, names=frozenset(names))

    def config(self) -> bytes:
        """Return the config that manifest.json names."""
        name = posixpath.normpath(manifest_entry(self.documents.get("manifest.json", b""))["Config"])
        if name not in self.documents:
            raise RemoteError("engine saved an image without its config")
        return self.documents[name]

    def blob(self, digest: Digest) -> bytes | None:
        """Return the document of a digest, None where the stream has no such document."""
        return self.documents.get(blob_name(digest))

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether a blob is in the stream."""
        return blob_name(descriptor.digest) in self.names


class Stream(io.RawIOBase):
    """A file around an iterator of bytes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Tell that this is for reading."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` with what came next."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def blob_name(digest: Digest) -> str:
    """Return the name of a blob's file (image-layout.md, "Blobs")."""
    return f"{BLOBS}{digest.algorithm}/{digest.encoded}"


def blob_digest(name: str) -> Digest | None:
    """Return the digest of a file that is a layout's blob, None for any other file."""
    if not name.startswith(BLOBS):
        return None
    try:
        return Digest.parse(name.removeprefix(BLOBS).replace("/", ":", 1))
    except InvalidDocumentError:
        return None


def manifest_entry(raw: bytes) -> dict[str, Any]:
    """Return the image of a manifest.json: `Config` and `Layers` are names of files."""
    try:
        entry = json.loads(raw)[0]
        if isinstance(entry["Config"], str) and all(isinstance(name, str) for name in entry["Layers"] or []):
            return cast("dict[str, Any]", entry)
    except (ValueError, LookupError, TypeError):
        pass
    raise RemoteError("engine saved an image with a broken manifest.json")
