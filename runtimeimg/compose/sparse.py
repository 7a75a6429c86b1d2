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
from runtimeimg.image.layertar import LayerTar
from runtimeimg.image.marks import SPACING, Marker
from runtimeimg.image.spans import OpenRange, Spans

LEAST_INDEXED = SPACING + SPACING // 4
"""Bytes of a blob that is worth an index."""
_DEPTH = 3


def keep(cache: Cache, ref: LayerRef, marker: Marker, kind: str, starts: array[int]) -> None:
    """Keep the index of a layer that was read whole."""
    marker.finish()
    if len(marker.marks) > 1:
        spans = Spans(
            kind=kind, size=marker.read, marks=tuple(marker.marks), digests=tuple(marker.digests), starts=starts
        )
        cache.put("spans", ref.encoded, spans.to_bytes())


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


def _behind(pieces: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Yield the pieces behind the first `count` bytes."""
    for piece in pieces:
        if count < len(piece):
            yield piece[count:] if count else piece
            count = 0
        else:
            count -= len(piece)
