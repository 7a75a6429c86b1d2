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
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, compress
from pathlib import Path
from typing import Self

from runtimeimg.account import Account
from runtimeimg.cache import Cache
from runtimeimg.compose import parted, sparse
from runtimeimg.compose.blobs import Blobs
from runtimeimg.compose.layers import LayerRef
from runtimeimg.compose.packed import PackedLayer
from runtimeimg.compose.setaside import PRUNE, SetAside
from runtimeimg.compose.spool import Spool
from runtimeimg.compose.wanted import Wanted
from runtimeimg.errors import IntegrityError, InvalidDocumentError, RemoteError, TransientError
from runtimeimg.image.ahead import Counted, ahead
from runtimeimg.image.decompress import Unfolded
from runtimeimg.image.layertar import FILE, SYMLINK, LayerTar
from runtimeimg.image.parts import Parts
from runtimeimg.image.spans import Spans, runs
from runtimeimg.image.tables import read_table
from runtimeimg.image.toc import Toc, TocBuilder

_AT_ONCE = 2
_DEPTH = 3


class MistrustedError(IntegrityError):
    """A layer cannot be read by somebody's index, so nothing that the index says of it counts."""


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


@dataclass(slots=True)
class Reader:
    """Tables and contents of layers that were read so far, by the layers' keys. Close it to give up the contents."""

    cache: Cache | None
    account: Account
    folder: Path | None = None
    tocs: dict[str, Toc] = field(default_factory=dict)
    _parts: dict[str, Parts] = field(default_factory=dict)
    _spans: dict[str, Spans] = field(default_factory=dict)
    _aside: SetAside = field(default_factory=SetAside)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._aside.close()

    def load(self, layers: Iterable[LayerRef], keep: Mapping[str, Keep]) -> None:
        """Make the tables of all `layers` known: out of the cache, else by reading the layer.

        Of a layer that is read, contents are taken along for which `keep` (by the layer's key) says so.
        """
        missing: dict[str, LayerRef] = {}
        for ref in layers:
            if ref.key not in self.tocs and not self._from_cache(ref):
                missing.setdefault(ref.key, ref)
        self._each(
            sorted(missing.values(), key=lambda ref: -ref.layer.descriptor.size),
            lambda ref, pieces: self._read_whole(ref, keep.get(ref.key), pieces),
            lambda ref, _: self._read_table(ref),
        )

    def fetch(self, wanted: Mapping[str, Iterable[int]], layers: Mapping[str, LayerRef]) -> None:
        """Read contents by layer key and index in its table, those that were not taken along before."""
        self._fetch(self._missing(wanted), layers)

    @contextlib.contextmanager
    def fetching(
        self, wanted: Mapping[str, Iterable[int]], layers: Mapping[str, LayerRef], *, indexed: bool = False
    ) -> Iterator[None]:
        """Do as `fetch`, layer by layer in the order given, beside what is done in the context.

        Contents that are asked for there are waited for; the context ends when all are read. With `indexed` there is an
        index of all `layers` before it begins, of those that are worth it.
        """
        missing = self._missing(wanted)
        if indexed:
            for ref in layers.values():
                if sparse.may_be_taken(ref):
                    self._index(ref, missing)
        if not missing:
            yield
            return
        self._aside.expect(missing)
        with ThreadPoolExecutor(1, thread_name_prefix="fetch") as pool:
            done = pool.submit(self._fetch, missing, layers, indexed=indexed)
            try:
                yield
            except BaseException:
                self._aside.stop()
                raise
            done.result()

    def _fetch(
        self, missing: Mapping[str, bytearray], layers: Mapping[str, LayerRef], *, indexed: bool = False
    ) -> None:
        failure: BaseException | None = None
        try:
            self._each(
                [layers[key] for key in missing],
                lambda ref, pieces: self._read_some(ref, missing[ref.key], pieces, indexed=indexed),
                lambda ref, blobs: (
                    self._read_spans(ref, missing[ref.key], blobs) or self._read_parts(ref, missing[ref.key], blobs)
                ),
            )
        except BaseException as error:
            failure = error
            raise
        finally:
            self._aside.over(missing, failure)

    def _missing(self, wanted: Mapping[str, Iterable[int]]) -> dict[str, bytearray]:
        """Return by layer key which entries are to be read, for the layers that have any."""
        flags = {key: self._aside.missing(key, indexes, self.tocs[key].count) for key, indexes in wanted.items()}
        return {key: found for key, found in flags.items() if any(found)}

    def packed(self, ref: LayerRef) -> PackedLayer | None:
        """Return what parts of a layer are taken over from as they are, None for one of which none can be.

        It must be one that `fetching` has indexed.
        """
        spans = self._spans.get(ref.key)
        if spans is None or spans.likeness is None:
            return None
        return PackedLayer(ref, spans, Blobs(self.cache, self.folder, self.account), self.account)

    def pieces(self, key: str, index: int, size: int) -> Iterator[bytes | memoryview]:
        """Yield the contents, `size` bytes, of an entry that was fetched; to be called from one thread only."""
        return self._aside.pieces(key, index, size)

    def part(self, key: str, index: int, offset: int, size: int) -> bytes:
        """Return bytes of an entry that was fetched, as many as there are from an offset; from any thread."""
        return self._aside.part(key, index, offset, size)

    def _from_cache(self, ref: LayerRef) -> bool:
        data = self.cache.get("toc", ref.encoded) if self.cache else None
        toc = Toc.from_bytes(data) if data is not None else None
        if toc is None:
            return False
        self.tocs[ref.key] = toc
        self.account.add(cache_hits=1)
        return True

    def _each(
        self,
        refs: Sequence[LayerRef],
        read: Callable[[LayerRef, Iterator[bytes]], bool],
        sparsely: Callable[[LayerRef, Blobs], bool] = lambda *_: False,
    ) -> None:
        """Read layers, `sparsely` where that is possible; it tells whether it was."""
        if not refs:
            return
        blobs = Blobs(self.cache, self.folder, self.account)

        def one(ref: LayerRef) -> None:
            self._aside.go_on()
            if not sparsely(ref, blobs):
                if ref.trusting and ref.key in self.tocs:
                    raise MistrustedError(f"{ref.name}: the index beside its image does not lead through it")
                blobs.read(ref, partial(read, ref))

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for done in [pool.submit(one, ref) for ref in refs]:
                try:
                    done.result()
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise

    def _read_spans(self, ref: LayerRef, flags: bytearray, blobs: Blobs) -> bool:
        """Read flagged entries by the layer's index, and tell whether that could be done."""
        if self.cache is None or (spans := self._indexed(ref)) is None or len(spans.marks) < 2:
            return False
        wanted = list(runs(spans, _flagged(flags)))
        if not all(sparse.are_small(spans, held) for held, _ in wanted):
            return False
        open_range = blobs.open_range(ref, sum(sparse.length(spans, held) for held, _ in wanted))
        if open_range is None:
            return False
        try:
            with Spool(self.folder) as spool, self._aside.growing(ref.key, spool):
                for held, run in wanted:
                    sparse.read_run(spans, held, run, open_range, ref.name, spool.take)
                    self.account.add(unpacked_bytes=sparse.length(spans, held))
        except _UNREADABLE:
            sparse.drop(self.cache, ref)
            return False
        return True

    def index_anew(self, ref: LayerRef) -> None:
        """Make the index of a layer again, which may be what is wrong with it."""
        flags = bytearray(self.tocs[ref.key].count)
        self._each([ref], lambda ref, pieces: self._read_some(ref, flags, pieces, indexed=True))

    def _index(self, ref: LayerRef, missing: dict[str, bytearray]) -> None:
        """Have the index of a layer; where it is not kept the layer is read, and what is missing of it taken along."""
        spans = self._indexed(ref)
        if spans is not None:
            self._spans[ref.key] = spans
        elif ref.key in missing:
            self._fetch({ref.key: missing.pop(ref.key)}, {ref.key: ref}, indexed=True)
        else:
            self.index_anew(ref)

    def _indexed(self, ref: LayerRef) -> Spans | None:
        """Return the index of a layer's spans, None where it is not known."""
        spans = self._spans.get(ref.key)
        if spans is None and self.cache is not None:
            spans = sparse.find(self.cache, ref, self.tocs[ref.key].count)
        return spans

    def _keep_index(self, ref: LayerRef, spans: Spans, *, known: bool = True) -> None:
        """Keep the index of a layer that was read whole; one that is `known` is going to be asked for."""
        if known:
            self._spans[ref.key] = spans
        if self.cache is not None:
            self.cache.put("spans", ref.encoded, spans.to_bytes())

    def _read_table(self, ref: LayerRef) -> bool:
        """Read the table that a layer of a registry carries itself, and tell whether that could be done."""
        read = parted.table_reader(ref)
        if read is None:
            return False
        try:
            toc, parts = read_table(ref.layer.descriptor, read, ref.name)
        except _UNREADABLE:
            return False  # it is a layer as any other, too
        self.tocs[ref.key], self._parts[ref.key] = toc, parts
        if self.cache:
            self.cache.put("parts", ref.encoded, parts.to_bytes())
            self.cache.put("toc", ref.encoded, toc.to_bytes())
        return True

    def _parts_of(self, ref: LayerRef) -> Parts | None:
        """Return where the contents are by the layer's own table, where our table was made of that."""
        if ref.key not in self._parts and self.cache is not None:
            data = self.cache.get("parts", ref.encoded)
            parts = Parts.from_bytes(data) if data is not None else None
            if parts is not None:
                self._parts[ref.key] = parts
        return self._parts.get(ref.key)

    def _read_parts(self, ref: LayerRef, flags: bytearray, blobs: Blobs) -> bool:
        """Read flagged entries by the layer's own table, and tell whether that could be done."""
        parts = self._parts_of(ref)
        indexes = _flagged(flags)
        if parts is None or any(index not in parts for index in indexes):
            return False
        ranges = parted.ranges(parts.of(indexes))
        size = sum(end - start for start, end in ranges)
        open_range = blobs.open_range(ref, size)
        if open_range is None:
            return False
        try:
            with (
                Spool(self.folder) as spool,
                self._aside.growing(ref.key, spool),
                parted.PartReader(ranges, parted.repeated(parts, indexes), open_range, ref, spool) as reader,
            ):
                for index in indexes:
                    spool.take(index, chain.from_iterable(map(reader.read, parts.of([index]))))
        except _UNREADABLE:
            return False
        self.account.add(unpacked_bytes=size)
        return True

    def _read_whole(self, ref: LayerRef, keep: Keep | None, pieces: Iterator[bytes]) -> bool:
        linked = False
        wants = keep.wants if keep is not None else None
        indexer = None
        if sparse.is_worth_it(ref) if self.cache is not None else keep is not None and sparse.may_be_taken(ref):
            indexer = sparse.Indexer(ref)
        with Spool(self.folder) as spool, _unfolding(pieces, ref, indexer) as (raw, unfolded, made):
            archive, builder = LayerTar(unfolded, ref.name, raw.count), TocBuilder(ref.name, raw.count)
            for entry in archive:
                path = builder.add(entry)
                if path is None:
                    continue
                if indexer is not None:
                    indexer.note(archive, entry)
                if keep is None or wants is None:
                    continue
                if entry.kind == FILE and wants(path):
                    spool.take(builder.count - 1, archive.content())
                elif entry.kind == SYMLINK:
                    linked = keep.follow(path, entry.target) or linked
            self._aside.add(ref.key, spool)
        self.account.add(unpacked_bytes=made.raw_bytes)
        toc = self.tocs[ref.key] = builder.finish()
        if self.cache:
            self.cache.drop("parts", ref.encoded)  # they are numbered as the layer's own table has them
            self.cache.put("toc", ref.encoded, toc.to_bytes())
        if indexer is not None:
            self._keep_index(ref, indexer.finish(archive, made.kind), known=keep is not None)
        return linked or (self.cache is None and ref.key in self._spans)

    def _read_some(self, ref: LayerRef, flags: bytearray, pieces: Iterator[bytes], *, indexed: bool) -> bool:
        """Read flagged entries. Behind the last one the blob is only read to be verified, not unfolded any more.

        Where it is to be `indexed` it is unfolded to its end.
        """
        left = sum(flags)
        paths = (
            {index: row[0] for index, row in self.tocs[ref.key].rows() if flags[index]} if self._parts_of(ref) else {}
        )
        indexer = sparse.Indexer(ref) if indexed and sparse.may_be_taken(ref) else None
        with Spool(self.folder) as spool, _unfolding(pieces, ref, indexer) as (raw, unfolded, made):
            archive, builder = LayerTar(unfolded, ref.name, raw.count), TocBuilder(ref.name, raw.count)
            for entry in archive:
                path = builder.add(entry)
                if path is None:
                    continue
                if indexer is not None:
                    indexer.note(archive, entry)
                if builder.count <= len(flags) and flags[builder.count - 1]:
                    if paths and paths[builder.count - 1] != path:
                        break
                    spool.take(builder.count - 1, archive.content())
                    left -= 1
                    if not left and indexer is None:
                        break
            unfolded.close()
            self.account.add(unpacked_bytes=made.raw_bytes)
            raw.finish()
            if left:
                raise InvalidDocumentError(f"{ref.name}: it is not what its table of contents says", hint=PRUNE)
            if indexer is not None and builder.count == len(flags):
                self._keep_index(ref, indexer.finish(archive, made.kind))
            self._aside.add(ref.key, spool)
        return False


def _flagged(flags: bytearray) -> list[int]:
    """Return the indexes of flagged entries."""
    return list(compress(range(len(flags)), flags))


_UNREADABLE = (IntegrityError, InvalidDocumentError, RemoteError, TransientError)
"""What goes wrong with parts of a layer, which is then read whole."""


@contextlib.contextmanager
def _unfolding(
    pieces: Iterator[bytes], ref: LayerRef, indexer: sparse.Indexer | None = None
) -> Iterator[tuple[Counted, Generator[bytes, None, None], Unfolded]]:
    """Return the raw and the unfolded pieces of a layer, each made ahead by a thread that ends with the context."""
    source = ahead(pieces, _DEPTH)
    raw = Counted(source)
    made = Unfolded(raw, ref.name, size=ref.layer.descriptor.size, marker=indexer.marker if indexer else None)
    with contextlib.closing(source), contextlib.closing(ahead(made, _DEPTH)) as unfolded:
        try:
            yield raw, unfolded, made
        except InvalidDocumentError:
            # Bytes that were damaged on their way unfold to anything; only those of the digest can be found fault with.
            unfolded.close()
            raw.finish()
            raise
