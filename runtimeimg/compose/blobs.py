"""Layers of registries kept on this machine: each is downloaded once, by whatever build it was read first.

That also goes for those that held nothing wanted, as another service may be made from the same builder image. Layers in
files and Engines are here already and not kept. Without a cache a layer is kept for this build alone, where a symlink
in it leads to what may have come before it and so has to be looked for again. A kept blob is verified each time that it
is read; a damaged one is fetched again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from io import FileIO
from pathlib import Path

from runtimeimg.account import Account
from runtimeimg.cache import Cache
from runtimeimg.compose.layers import DownloadedLayer, LayerRef, Ranged
from runtimeimg.errors import IntegrityError, InvalidDocumentError
from runtimeimg.image import Layer
from runtimeimg.image.decompress import raw_pieces
from runtimeimg.image.filelayer import FileLayer
from runtimeimg.image.reserving import ReservingFile
from runtimeimg.image.spans import FileRange, OfFile, OpenRange
from runtimeimg.stores.verify import once_more

Take = Callable[[Iterator[bytes]], bool]
"""Reads the pieces of a blob to their end and tells whether it may be read again in this build.

That is for a wanted symlink in it, which may lead to what came before, or because parts of it are taken over.
"""


_CHUNK = 1 << 18
_SMALL_PART = 0.9
"""Of a blob that would have to be downloaded: when more is wanted, all of it is downloaded, and kept."""


class Blobs:
    """Blobs as they are read, by way of a cache; `folder` must be on the cache's file system."""

    def __init__(self, cache: Cache | None, folder: Path | None, account: Account) -> None:
        self._cache = cache
        self._folder = folder
        self._account = account

    def read(self, ref: LayerRef, take: Take) -> None:
        """Hand the blob of a layer to `take`, from the cache if it is there, else from its store."""
        if self._folder is None or not _is_remote(ref):
            once_more(lambda: take(raw_pieces(ref.layer.open())))
            return
        path = self._copy(ref, "blob")
        if self._from_file(ref.layer, path, take):
            return
        once_more(lambda: self._fetch(ref.layer, path, take))

    def open_range(self, ref: LayerRef, wanted: int) -> OpenRange | None:
        """Return what opens parts of a layer's blob, of which `wanted` bytes are; None where reading all is better."""
        if (path := _file_of(ref)) is not None:
            return partial(FileRange, path)
        if (path := self._kept(ref)) is not None:
            self._account.add(cache_hits=1)
            return OfFile(path)
        if wanted > ref.layer.descriptor.size * _SMALL_PART and not ref.trusting:
            return None
        ranges = _ranges(ref)
        return partial(_CopiedRange, ranges, self._copy(ref, "some")) if ranges and self._folder else ranges

    def places(self, ref: LayerRef) -> Iterator[OpenRange]:
        """Yield what opens parts of a layer's blob, the quickest first: files that have it or some of it, its store."""
        copies = [self._copy(ref, "some"), self._copy(ref, "blob")] if self._folder is not None else []
        for path in (*copies, self._kept(ref)):
            if path is not None and path.exists():
                yield OfFile(path)
        if (path := _file_of(ref)) is not None:
            yield partial(FileRange, path)
        ranges = _ranges(ref)
        if ranges is not None:
            yield ranges
        yield partial(_LateRange, ref.layer)

    def _copy(self, ref: LayerRef, name: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{name}-{ref.layer.descriptor.digest.encoded}"

    def _kept(self, ref: LayerRef) -> Path | None:
        """Return a second name of a blob that the cache has."""
        descriptor = ref.layer.descriptor
        if not _is_remote(ref) or self._cache is None or self._folder is None:
            return None
        path = self._copy(ref, "part")
        there = path.exists() or self._cache.link_out("blob", descriptor.digest.encoded, descriptor.size, path)
        return path if there else None

    def _fetch(self, layer: Layer, path: Path, take: Take) -> None:
        whole = _Copy(path)
        again = False
        try:
            again = take(whole.of(raw_pieces(layer.open())))
            if self._cache is not None and whole.is_whole:
                self._cache.take_in("blob", layer.descriptor.digest.encoded, path)
        finally:
            if self._cache is not None or not again or not whole.is_whole:
                path.unlink(missing_ok=True)

    def _from_file(self, layer: Layer, path: Path, take: Take) -> bool:
        """Read a layer that is kept, from the cache by a second name; tell whether it is there and whole."""
        descriptor = layer.descriptor
        if self._cache is not None:
            if not self._cache.link_out("blob", descriptor.digest.encoded, descriptor.size, path):
                return False
        elif not path.exists():
            return False
        try:
            take(raw_pieces(FileLayer(descriptor=descriptor, diff_id=layer.diff_id, path=path).open()))
        except (IntegrityError, InvalidDocumentError):
            path.unlink()
            return False
        if self._cache is not None:
            self._account.add(cache_hits=1)
            path.unlink(missing_ok=True)
        return True


def _is_remote(ref: LayerRef) -> bool:
    return ref.layer.origin is not None and ref.layer.origin.store == "registry"


def _file_of(ref: LayerRef) -> Path | None:
    """Return the file of a blob that is kept in one, which others may write to."""
    origin = ref.layer.origin
    return Path(origin.place) if origin is not None and origin.store == "file" else None


def _ranges(ref: LayerRef) -> OpenRange | None:
    return ref.layer.ranges if _is_remote(ref) and isinstance(ref.layer, Ranged) else None


def downloaded(layers: Iterable[Layer], cache: Cache, folder: Path) -> tuple[Layer, ...]:
    """Return layers that are read from the cache where it has their blobs; second names of these are in `folder`."""
    return tuple(_downloaded(layer, cache, folder) for layer in layers)


def _downloaded(layer: Layer, cache: Cache, folder: Path) -> Layer:
    descriptor, origin = layer.descriptor, layer.origin
    if origin is None or origin.store != "registry":
        return layer
    path = folder / f"base-{descriptor.digest.encoded}"
    if not path.exists() and not cache.link_out("blob", descriptor.digest.encoded, descriptor.size, path):
        return layer
    return DownloadedLayer(layer=layer, path=path)


class _CopiedRange:
    """Bytes of a blob as they are read, which are also written to a file, in their places; other places are holes."""

    def __init__(self, open_range: OpenRange, path: Path, start: int, end: int) -> None:
        self._source = open_range(start, end)
        self._path = path
        self._at = start
        self._file = -1
        with contextlib.suppress(OSError):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def read(self, count: int, /) -> bytes | None:
        """Return up to `count` bytes, none at the end."""
        data = self._source.read(count)
        if data and self._file >= 0:
            try:
                os.pwrite(self._file, data, self._at)
            except OSError:
                self._path.unlink(missing_ok=True)  # the room that is left is the build's
                self._end_copy()
            self._at += len(data)
        return data

    def close(self) -> None:
        """Let go of both."""
        self._source.close()
        self._end_copy()

    def _end_copy(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class _LateRange:
    """Bytes of a layer that is read from its beginning, as nothing better is there."""

    def __init__(self, layer: Layer, start: int, end: int) -> None:
        self._stream = layer.open()
        self._left = end - start
        while start and (passed := len(self._stream.read(min(start, _CHUNK)))):
            start -= passed

    def read(self, count: int, /) -> bytes:
        """Return up to `count` bytes, none at the end."""
        data = self._stream.read(min(count, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        """Close the layer."""
        self._stream.close()


class _Copy:
    """A file that pieces are written to as they pass; a disk that is full costs the copy, not the build."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.is_whole = False

    def of(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the pieces."""
        with contextlib.ExitStack() as stack:
            file = None
            with contextlib.suppress(OSError):
                file = stack.enter_context(ReservingFile(self._path, "wb"))
            for piece in pieces:
                if file is not None and not _written(file, piece):
                    file.truncate(0)  # the room that is left is the build's
                    file = None
                yield piece
        self.is_whole = file is not None


def _written(file: FileIO, data: bytes) -> bool:
    try:
        return file.write(data) == len(data)
    except OSError:
        return False
