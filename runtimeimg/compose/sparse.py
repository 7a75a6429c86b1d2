"""Entries read out of the middle of a layer, by the index of its spans that was made when it was read whole.

An index is kept beside the layer's table, under the digest of the blob. It says nothing of its own: each span is
verified by the digest that it had when all of the blob was, so a span that is not what it was is told, and the layer is
then read whole again.
"""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Callable, Iterable, Iterator

from runtimeimg.cache import Cache
from runtimeimg.compose.layers import LayerRef
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image.ahead import ahead
from runtimeimg.image.layertar import Entry, LayerTar
from runtimeimg.image.marks import SPACING, Marker
from runtimeimg.image.spans import Likeness, OpenRange, Spans
from runtimeimg.image.tables import has_table
from runtimeimg.image.tarwrite import Style

LEAST_INDEXED = SPACING + SPACING // 4
"""Bytes of a blob that is worth an index."""
MOST = 4 * SPACING
"""Bytes of a span that is read by itself: there are longer ones where no block has codes of its own."""
_DEPTH = 3


class Indexer:
    """Makes the index of a layer that is read whole: `marker` is for what unfolds it, `note` is told of each entry."""

    def __init__(self, ref: LayerRef) -> None:
        from isal.isal_zlib import crc32

        self.marker = Marker()
        self._ref = ref
        self._crc32 = crc32
        self._starts, self._heads = array("Q"), array("I")
        self._style = Style(False, {}, {})

    def note(self, archive: LayerTar, entry: Entry) -> None:
        """Note an entry that has a place in the layer's table."""
        self._starts.append(archive.start)
        self._heads.append(self._crc32(archive.block))
        style = self._style
        if (entry[3] not in style.users or entry[4] not in style.groups) and not _is_whiteout(entry[0]):
            self._style = style.learn(entry, archive.block)

    def finish(self, archive: LayerTar, kind: str) -> Spans:
        """Return the index; `kind` is what the blob is."""
        marker = self.marker
        marker.finish()
        self._starts.append(archive.start)
        alike = kind == "gzip" and marker.members == 1 and may_be_taken(self._ref)
        return Spans(
            kind=kind,
            size=marker.read,
            marks=tuple(marker.marks),
            digests=tuple(marker.digests),
            starts=self._starts,
            likeness=Likeness(checksums=marker.checksums, heads=self._heads, style=self._style) if alike else None,
        )


def is_worth_it(ref: LayerRef) -> bool:
    """Tell whether a layer is large enough for an index."""
    return ref.layer.descriptor.size > LEAST_INDEXED


def may_be_taken(ref: LayerRef) -> bool:
    """Tell whether spans of a layer may be taken over as they are, as far as that shows before it is read."""
    layer = ref.layer
    from_engine = layer.origin is not None and layer.origin.store == "engine"
    return is_worth_it(ref) and not from_engine and not has_table(layer.descriptor)


def find(cache: Cache, ref: LayerRef, count: int) -> Spans | None:
    """Return the index of a layer whose table has `count` entries, None where none is kept."""
    data = cache.get("spans", ref.encoded)
    spans = Spans.from_bytes(data) if data is not None else None
    if spans is None or spans.size != ref.layer.descriptor.size or len(spans.starts) != count + 1:
        return None
    return spans


def drop(cache: Cache, ref: LayerRef) -> None:
    """Keep the index of a layer no longer."""
    cache.drop("spans", ref.encoded)


def are_small(spans: Spans, held: range) -> bool:
    """Tell whether spans can be verified in memory, each by itself."""
    return all(length(spans, range(number, number + 1)) <= MOST for number in held)


def length(spans: Spans, held: range) -> int:
    """Return how many bytes of the blob some spans are."""
    return spans.bounds(held.stop - 1)[1] - spans.bounds(held.start)[0]


def read_run(
    spans: Spans,
    held: range,
    indexes: array[int],
    open_range: OpenRange,
    name: str,
    take: Callable[[int, Iterable[memoryview]], None],
) -> None:
    """Unfold spans and hand the entries of these indexes to `take`.

    Raises IntegrityError for a span that is not what it was, InvalidDocumentError where the index leads nowhere.
    """
    start = spans.starts[indexes[0]]
    wanted = iter(indexes)
    index = next(wanted)
    unfolded = ahead(spans.unfolded(held, open_range, name), _DEPTH)
    with contextlib.closing(unfolded):
        archive = LayerTar(_behind(unfolded, start - spans.marks[held.start].at), name, lambda: spans.size)
        for _ in archive:
            if start + archive.start != spans.starts[index]:
                continue
            take(index, archive.content())
            following = next(wanted, None)
            if following is None:
                return
            index = following
    raise InvalidDocumentError(f"{name}: entry {index} is not where its index says")


def _is_whiteout(path: bytes) -> bool:
    return path.rpartition(b"/")[2].startswith(b".wh.")


def _behind(pieces: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Yield the pieces behind the first `count` bytes."""
    for piece in pieces:
        if count < len(piece):
            yield piece[count:] if count else piece
            count = 0
        else:
            count -= len(piece)
