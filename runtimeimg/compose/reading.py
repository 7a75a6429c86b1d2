"""Reading of layers: tables of contents for the merged view, and the contents that are wanted, in one pass each.

A layer passes through three threads: one reads (and so verifies) the blob, one unfolds it, one takes the tar archive
apart. Two layers are read at a time, the largest first. Wanted contents go to a temporary file without a name, so
memory stays flat.

What is verified: the blob against the digest of its descriptor, which the manifest names. The digest of the unfolded
archive (the diff id in the config) is not computed: a builder's layers do not become part of the result, the blob's
digest fixes every byte of them already, and hashing would cost as much again as unfolding. Tables are kept under the
blob's digest for the same reason: nobody can put a wrong table in the place of another layer's.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

from runtimeimg.account import Account
from runtimeimg.cache import Cache
from runtimeimg.compose.blobs import Blobs
from runtimeimg.compose.wanted import Wanted
from runtimeimg.errors import InvalidDocumentError, RuntimeimgError
from runtimeimg.image import Layer
from runtimeimg.image.ahead import ahead
from runtimeimg.image.decompress import Unfolded
from runtimeimg.image.layertar import FILE, SYMLINK, LayerTar, is_hole
from runtimeimg.image.reserving import ReservingFile
from runtimeimg.image.toc import Toc, TocBuilder

_AT_ONCE = 2
_CHUNK = 1 << 20
_HOLE = 1 << 12  # bytes of a sparse file that are worth a hole in ours
_DEPTH = 3


@dataclass(frozen=True, slots=True)
class Keep:
    """Tells of a path whether its contents are wanted, by any of several."""

    several: Sequence[Wanted]

    @property
    def wants(self) -> Callable[[bytes], bool]:
        """What tells it."""
        if len(self.several) == 1:
            return self.several[0].covers_below
        return lambda path: any(wanted.covers_below(path) for wanted in self.several)

    def follow(self, path: bytes, target: bytes) -> bool:
        """Want what a symlink leads to, where it stands for something wanted; tell whether it does."""
        led = [wanted.follow(path, target) for wanted in self.several]  # all of them, not up to the first
        return any(led)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRef:
    """A layer, the key it is known by (the digest of its blob), and what messages call it."""

    layer: Layer
    key: str
    name: str

    @classmethod
    def of(cls, layer: Layer, image: str) -> LayerRef:
        """Return the reference of a layer of `image`. An Engine keeps archives, so there the diff id is the digest."""
        from_engine = layer.origin is not None and layer.origin.store == "engine"
        digest = layer.diff_id if from_engine else layer.descriptor.digest
        return cls(layer=layer, key=str(digest), name=f"layer {digest} of '{image}'")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """Contents of a layer in a temporary file: the entries' indexes, ascending, and offsets in bytes."""

    file: int
    indexes: array[int]
    offsets: array[int]

    def offset(self, index: int) -> int | None:
        """Return where an entry's contents start; None when they are not here."""
        at = bisect_left(self.indexes, index)
        return self.offsets[at] if at < len(self.indexes) and self.indexes[at] == index else None


@dataclass(slots=True)
class Reader:
    """Tables and contents of layers that were read so far, by the layers' keys. Close it to give up the contents."""

    cache: Cache | None
    account: Account
    folder: Path | None = None
    tocs: dict[str, Toc] = field(default_factory=dict)
    _contents: dict[str, list[_Taken]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _window: bytes = b""
    _window_of: int = -1
    _window_at: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for several in self._contents.values():
            for taken in several:
                os.close(taken.file)
        self._contents.clear()

    def load(self, layers: Iterable[LayerRef], keep: Mapping[str, Keep]) -> None:
        """Make the tables of all `layers` known: out of the cache, else by reading the layer.

        Of a layer that is read, contents are taken along for which `keep` (by the layer's key) says so.
        """
        missing: dict[str, LayerRef] = {}
        for ref in layers:
            if ref.key not in self.tocs and not self._from_cache(ref):
                missing.setdefault(ref.key, ref)
        self._each(list(missing.values()), lambda ref, pieces: self._read_whole(ref, keep.get(ref.key), pieces))

    def fetch(self, wanted: Mapping[str, Iterable[int]], layers: Mapping[str, LayerRef]) -> None:
        """Read contents by layer key and index in its table, those that were not taken along before."""
        missing = {key: flags for key, indexes in wanted.items() if any(flags := self._missing(key, indexes))}
        self._each(
            [layers[key] for key in missing],
            lambda ref, pieces: self._read_some(ref, missing[ref.key], pieces),
        )

    def _missing(self, key: str, indexes: Iterable[int]) -> bytearray:
        """Return for each entry of a layer whether it is among `indexes` and was not taken along yet."""
        several = self._contents.get(key, ())
        flags = bytearray(self.tocs[key].count)
        for index in indexes:
            flags[index] = all(taken.offset(index) is None for taken in several)
        return flags

    def pieces(self, key: str, index: int, size: int) -> Iterator[bytes | memoryview]:
        """Yield the contents, `size` bytes, of an entry that was fetched; to be called from one thread only.

        Files are wanted in about the order that they were taken in, so many come out of one read of the disk.
        """
        file, offset = self._place(key, index)
        while size:
            start = offset - self._window_at
            if file != self._window_of or not 0 <= start < len(self._window):
                self._window_of, self._window_at, start = file, offset, 0
                self._window = os.pread(file, _CHUNK, offset)
                if not self._window:
                    raise RuntimeimgError("the temporary file of the build was cut short")
            data = memoryview(self._window)[start : start + size]
            offset, size = offset + len(data), size - len(data)
            yield data

    def _place(self, key: str, index: int) -> tuple[int, int]:
        for taken in self._contents[key]:
            offset = taken.offset(index)
            if offset is not None:
                return taken.file, offset
        raise KeyError(f"entry {index} of {key} was not fetched")

    def _from_cache(self, ref: LayerRef) -> bool:
        data = self.cache.get("toc", ref.key.partition(":")[2]) if self.cache else None
        toc = Toc.from_bytes(data) if data is not None else None
        if toc is None:
            return False
        self.tocs[ref.key] = toc
        self.account.add(cache_hits=1)
        return True

    def _each(self, refs: Sequence[LayerRef], read: Callable[[LayerRef, Iterator[bytes]], bool]) -> None:
        if not refs:
            return
        blobs = Blobs(self.cache, self.folder, self.account)
        if len(refs) > 1:
            refs = sorted(refs, key=lambda ref: -ref.layer.descriptor.size)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for done in [pool.submit(blobs.read, ref, partial(read, ref)) for ref in refs]:
                try:
                    done.result()
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise

    def _read_whole(self, ref: LayerRef, keep: Keep | None, pieces: Iterator[bytes]) -> bool:
        linked = False
        wants = keep.wants if keep is not None else None
        with _Spool(self.folder) as spool, _unfolding(pieces, ref) as (raw, unfolded):
            archive, builder = LayerTar(unfolded, ref.name, raw.count), TocBuilder(ref.name, raw.count)
            for entry in archive:
                path = builder.add(entry)
                if path is None or keep is None or wants is None:
                    continue
                if entry.kind == FILE and wants(path):
                    spool.take(builder.count - 1, archive)
                elif entry.kind == SYMLINK:
                    linked = keep.follow(path, entry.target) or linked
            self._adopt(ref.key, spool)
        toc = self.tocs[ref.key] = builder.finish()
        if self.cache:
            self.cache.put("toc", ref.key.partition(":")[2], toc.to_bytes())
        return linked

    def _read_some(self, ref: LayerRef, flags: bytearray, pieces: Iterator[bytes]) -> bool:
        """Read flagged entries. Behind the last one the blob is only read to be verified, not unfolded any more."""
        left = sum(flags)
        with _Spool(self.folder) as spool, _unfolding(pieces, ref) as (raw, unfolded):
            archive, builder = LayerTar(unfolded, ref.name, raw.count), TocBuilder(ref.name, raw.count)
            for entry in archive:
                if builder.add(entry) is not None and builder.count <= len(flags) and flags[builder.count - 1]:
                    spool.take(builder.count - 1, archive)
                    left -= 1
                    if not left:
                        break
            unfolded.close()
            raw.finish()
            if left:
                raise InvalidDocumentError(f"{ref.name}: it is not what its table of contents says", hint=_PRUNE)
            self._adopt(ref.key, spool)
        return False

    def _adopt(self, key: str, spool: _Spool) -> None:
        with self._lock:
            self._contents.setdefault(key, []).append(spool.keep())


_PRUNE = "empty the cache with 'runtimeimg cache prune' and try again"


@contextlib.contextmanager
def _unfolding(pieces: Iterator[bytes], ref: LayerRef) -> Iterator[tuple[_Raw, Generator[bytes, None, None]]]:
    """Return the raw and the unfolded pieces of a layer, each made ahead by a thread that ends with the context."""
    source = ahead(pieces, _DEPTH)
    raw = _Raw(source)
    made = Unfolded(raw, ref.name, size=ref.layer.descriptor.size)
    with contextlib.closing(source), contextlib.closing(ahead(made, _DEPTH)) as unfolded:
        try:
            yield raw, unfolded
        except InvalidDocumentError:
            # Bytes that were damaged on their way unfold to anything; only those of the digest can be found fault with.
            unfolded.close()
            raw.finish()
            raise


class _Raw:
    """The pieces of a blob, and what went wrong with them: a thread may find that when nobody listens any more."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._bytes = 0
        self._error: Exception | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        try:
            piece = next(self._pieces)
        except StopIteration:
            raise
        except Exception as error:
            self._error = error
            raise
        self._bytes += len(piece)
        return piece

    def count(self) -> int:
        """Return how many bytes were read."""
        return self._bytes

    def finish(self) -> None:
        """Read the rest, so that all of the blob is verified; raise what went wrong, now or before."""
        for _ in self:
            pass
        if self._error is not None:
            raise self._error


class _Spool:
    """Contents on their way to a temporary file; they are written some mebibytes at a time."""

    def __init__(self, folder: Path | None) -> None:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as nameless:
            self._raw = ReservingFile(os.dup(nameless.fileno()), "wb")
            self._file = io.BufferedWriter(self._raw, _CHUNK)
        self._at = 0
        self._indexes, self._offsets = array("I"), array("q")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def take(self, index: int, archive: LayerTar) -> None:
        """Write the contents of the archive's current entry, which is behind those that were taken before."""
        self._indexes.append(index)
        self._offsets.append(self._at)
        write = self._file.write
        for view in archive.content():
            if is_hole(view) and len(view) >= _HOLE:
                self._file.flush()
                self._raw.skip(len(view))
            else:
                write(view)
            self._at += len(view)

    def keep(self) -> _Taken:
        """Return what was taken, in a file that stays open."""
        self._file.flush()
        return _Taken(file=os.dup(self._file.fileno()), indexes=self._indexes, offsets=self._offsets)
