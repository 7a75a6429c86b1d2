"""Layers as they are packed: spans of a layer's blob that a new layer takes over as they are."""

from __future__ import annotations

import contextlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import chain

from runtimeimg.account import Account
from runtimeimg.compose.blobs import Blobs
from runtimeimg.compose.layers import LayerRef
from runtimeimg.compose.sparse import are_small
from runtimeimg.errors import IntegrityError, RemoteError, TransientError
from runtimeimg.image.spans import Likeness, Spans

_MOST_ENTRIES = 1 << 14
"""Entries of a span that is taken over: they are looked at together before any is written."""


class SpanError(IntegrityError):
    """A span of a layer is nowhere as the layer's index has it; the index itself may be wrong."""

    def __init__(self, ref: LayerRef, number: int) -> None:
        super().__init__(f"{ref.name}: part {number} of it is not what it was when it was read before")
        self.ref = ref


class PackedLayer:
    """A layer with an index of its spans, which may be taken over where `likeness` tells that they fit."""

    def __init__(self, ref: LayerRef, spans: Spans, blobs: Blobs, account: Account) -> None:
        assert spans.likeness is not None
        self.spans = spans
        self.likeness: Likeness = spans.likeness
        self._ref = ref
        self._blobs = blobs
        self._account = account

    def next_span(self, number: int) -> int:
        """Return the first span from `number` on that may be taken over; the last one of all may not."""
        while number + 1 < len(self.spans.marks) and not self._may_be_taken(number):
            number += 1
        return number

    def _may_be_taken(self, number: int) -> bool:
        mark, end = self.spans.marks[number], self.spans.marks[number + 1].at
        starts = self.spans.starts
        entries = bisect_left(starts, end) - bisect_right(starts, mark.at - len(mark.window or b""))
        return mark.at < end and entries < _MOST_ENTRIES and are_small(self.spans, range(number, number + 1))

    def span(self, number: int) -> Iterator[bytes]:
        """Yield the bytes of a span, with all of the bytes that it shares with those before and behind it.

        Raises SpanError where none of the places that have the blob gives what it was.
        """
        start, end = self.spans.bounds(number)
        self._account.add(taken_bytes=end - start)
        for open_range in self._blobs.places(self._ref):
            found = self.spans.verified(range(number, number + 1), open_range, self._ref.name)
            with contextlib.suppress(IntegrityError, RemoteError, TransientError, OSError):
                return chain([next(found)], found)
        raise SpanError(self._ref, number)
