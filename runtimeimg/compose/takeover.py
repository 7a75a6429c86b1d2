"""Parts of builder layers that are taken over packed as they are, where a new layer's archive is the same there.

A layer that holds what a builder's layer does, in its order, is in long stretches the same archive: packing those anew
would cost the most of a build. What can be taken are spans of the builder's layer (image/spans.py). One is taken where
all entries that reach into it follow on each other in both archives, and their headers are the same byte for byte,
which the header's checksums in the index tell before anything is written. The 32 KiB in front of the first span, which
its blocks refer back to, are packed into the member with it (image/splice.py).

What is written in a taken part is hashed as all else is, so the digest of the archive is that of what it holds; and
its checksum must be that of the span, else nothing of the layer is taken over (UnlikeError).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from runtimeimg.compose.nodes import Inode
from runtimeimg.compose.packed import PackedLayer
from runtimeimg.image.compress import BlobWriter
from runtimeimg.image.layertar import FILE, Entry
from runtimeimg.image.splice import Splice
from runtimeimg.image.tarheader import BLOCK
from runtimeimg.image.tarwrite import header

LayerOf = Callable[[Inode], PackedLayer | None]
"""Tells the layer that something comes from, where parts of that may be taken over."""


def of_none(_: Inode) -> None:
    """Tell that nothing may be taken over."""
    return


class Item(NamedTuple):
    """An entry of the layer to come, and where its contents are if it has any."""

    entry: Entry
    inode: Inode


class UnlikeError(Exception):
    """A part of an archive is not what its headers made it seem."""


class Region(NamedTuple):
    """A part of the new archive, by offsets: `begin`, `middle` where the span itself begins, and `end`."""

    begin: int
    middle: int
    end: int
    layer: PackedLayer
    number: int


class _Held(NamedTuple):
    item: Item
    begin: int
    end_of_header: int
    end: int
    header: bytes  # as the builder's layer has it; empty where that is not known


class Plan:
    """Tells of entries, in their order, how their headers are written, and before that what `regions` are taken."""

    def __init__(self, layer_of: LayerOf) -> None:
        from isal.isal_zlib import crc32

        self.regions: deque[Region] = deque()
        self._layer_of = layer_of
        self._crc32 = crc32
        self._at = 0
        self._held: deque[_Held] = deque()
        self._recent: deque[Region] = deque()
        self._layer: PackedLayer | None = None
        self._expected = -1
        self._shift = 0
        self._span = 0
        self._offsets: list[int] = []

    def headers(self, items: Iterable[Item]) -> Iterator[tuple[Item, bytes]]:
        """Yield the entries with their headers; regions that reach into one are known when it is yielded."""
        for item in items:
            layer = self._layer_of(item.inode)
            if layer is None:
                yield from self._end_run()
                written = header(item.entry)
                self._at += len(written) + _contents(item)
                yield item, written
                continue
            if layer is not self._layer or item.inode.entry != self._expected:
                yield from self._end_run()
                self._begin_run(layer, item.inode.entry)
            self._hold(layer, item)
            yield from self._decided(layer)
        yield from self._end_run()

    def _begin_run(self, layer: PackedLayer, index: int) -> None:
        spans = layer.spans
        if layer is not self._layer:
            self._offsets = [mark.at - len(mark.window or b"") for mark in spans.marks]
        self._layer = layer
        start = spans.starts[index]
        self._shift = self._at - start
        self._span = layer.next_span(max(bisect_left(self._offsets, start), 1))

    def _hold(self, layer: PackedLayer, item: Item) -> None:
        likeness, index, starts = layer.likeness, item.inode.entry, layer.spans.starts
        written = header(item.entry, likeness.style)
        begin = self._at
        self._at += len(written) + _contents(item)
        like = self._crc32(written) == likeness.heads[index]
        self._held.append(_Held(item, begin, begin + len(written), self._at, written if like else b""))
        self._expected = index + 1 if self._at - begin == starts[index + 1] - starts[index] else -1

    def _decided(self, layer: PackedLayer) -> Iterator[tuple[Item, bytes]]:
        """Decide what can be, and yield the entries that no later decision reaches into."""
        marks = layer.spans.marks
        while self._span + 1 < len(marks) and marks[self._span + 1].at + self._shift <= self._at:
            self._judge(layer)
            self._span = layer.next_span(self._span + 1)
        open_from = self._offsets[self._span] + self._shift if self._span + 1 < len(marks) else self._at
        while self._held and self._held[0].end <= open_from:
            yield self._released()

    def _judge(self, layer: PackedLayer) -> None:
        """Decide whether a span is taken."""
        marks, number = layer.spans.marks, self._span
        middle, end = marks[number].at + self._shift, marks[number + 1].at + self._shift
        last = self._recent[-1] if self._recent else None
        goes_on = last is not None and last.layer is layer and last.number == number - 1 and last.end == middle
        begin = middle if goes_on else self._offsets[number] + self._shift
        reaching = (held for held in self._held if held.end > begin and held.begin < end)
        if all(held.header or held.end_of_header <= begin for held in reaching):
            region = Region(begin, middle, end, layer, number)
            self.regions.append(region)
            self._recent.append(region)

    def _released(self) -> tuple[Item, bytes]:
        held = self._held.popleft()
        while self._recent and self._recent[0].end <= held.begin:
            self._recent.popleft()
        taken = bool(self._recent) and self._recent[0].begin < held.end_of_header
        return held.item, held.header if taken else header(held.item.entry)

    def _end_run(self) -> Iterator[tuple[Item, bytes]]:
        while self._held:
            yield self._released()
        self._recent.clear()
        self._expected = -1


class Cut:
    """Writes an archive to a layer blob; what is in a region is taken over when that is complete."""

    def __init__(self, writer: BlobWriter, regions: deque[Region]) -> None:
        from isal.isal_zlib import crc32

        self._crc32 = crc32
        self._writer = writer
        self._regions = regions
        self._at = 0
        self._splice: Splice | None = None

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes of the archive. Raises UnlikeError."""
        while self._regions and self._at + len(data) >= (bound := self._bound(self._regions[0])):
            count = bound - self._at
            self._writer.write(memoryview(data)[:count])
            self._at = bound
            self._pass(self._regions[0])
            data = memoryview(data)[count:]
        self._writer.write(data)
        self._at += len(data)

    def _bound(self, region: Region) -> int:
        """Return the next offset at which something is to be done, the current one where a region begins here."""
        if self._splice is None:
            return region.begin
        return region.middle if self._at < region.middle else region.end

    def _pass(self, region: Region) -> None:
        """Do what is to be done at the current offset."""
        mark = region.layer.spans.marks[region.number]
        if self._splice is None:
            if self._at == region.begin:
                self._splice = Splice(mark)
                self._writer.begin(self._splice.opening())
        elif self._at == region.middle and region.begin < region.middle:
            if self._writer.checksum() != self._crc32(mark.window):
                raise UnlikeError
        elif self._at == region.end:
            self._take(self._splice, region)

    def _take(self, splice: Splice, region: Region) -> None:
        spans, number = region.layer.spans, region.number
        if self._writer.checksum() != region.layer.likeness.checksums[number]:
            raise UnlikeError
        for piece in splice.blocks(spans.marks[number], region.layer.span(number)):
            self._writer.splice(piece)
        self._regions.popleft()
        if self._regions and self._regions[0].begin == region.end == self._regions[0].middle:
            return
        self._writer.splice(splice.closing(spans.marks[number + 1].bit))
        self._writer.end()
        self._splice = None


def _contents(item: Item) -> int:
    """Return how many bytes follow the header of an entry."""
    entry = item.entry
    return -(-entry.size // BLOCK) * BLOCK if entry.kind == FILE else 0
