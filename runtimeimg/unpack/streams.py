"""Layers as verified streams: a thread reads the blob and its digest, one unfolds it, one sums up the diff id."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from runtimeimg.errors import IntegrityError, InvalidDocumentError
from runtimeimg.image import Layer
from runtimeimg.image.ahead import Ahead, Counted
from runtimeimg.image.decompress import Unfolded, raw_pieces
from runtimeimg.image.layertar import LayerTar
from runtimeimg.progress import Progress

_DEPTH = 3


class LayerStream:
    """A layer that is read ahead from when this is made; a context, at whose good end all of it is verified.

    `label` is what progress shows, `archive` what it unfolds to. IntegrityError for bytes that are not those of the
    blob's digest or of the diff id, in place of whatever else such bytes look like.
    """

    def __init__(self, layer: Layer, name: str, label: str, progress: Progress) -> None:
        self._name = name
        self._diff_id = layer.diff_id
        self._stages = contextlib.ExitStack()
        size = layer.descriptor.size
        source = Ahead(_shown(raw_pieces(layer.open()), label, size, progress), _DEPTH)
        self._stages.callback(source.close)
        self._raw = Counted(source)
        self._unfolding = contextlib.ExitStack()
        self._made = Unfolded(self._raw, name, size=size)
        pieces = self._stage(self._made)
        self._sum = None
        if layer.descriptor.digest != layer.diff_id:
            self._sum = hashlib.new(layer.diff_id.algorithm, usedforsecurity=False)
            pieces = self._stage(_summed(pieces, self._sum))
        self.archive = LayerTar(pieces, name, self._raw.count)

    @property
    def paid(self) -> int:
        """Bytes of the blob that were read."""
        return self._raw.count()

    @property
    def unfolded(self) -> int:
        """Bytes of the blob that were unfolded."""
        return self._made.raw_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if kind is None or issubclass(kind, InvalidDocumentError):
                self._unfolding.close()
                self._raw.finish()
            if kind is None:
                self._check_diff_id()
        finally:
            self.close()

    def _check_diff_id(self) -> None:
        """Compare what it unfolds to with the diff id; it is the blob itself where that is not packed."""
        if self._sum is None and self._made.kind == "none":
            return
        found = f"{self._diff_id.algorithm}:{self._sum.hexdigest()}" if self._sum is not None else "something else"
        if found != self._diff_id:
            raise IntegrityError(f"{self._name} unfolds to {found}, not to its diff id {self._diff_id}")

    def close(self) -> None:
        """End the threads."""
        self._unfolding.close()
        self._stages.close()

    def _stage(self, items: Iterable[bytes]) -> Ahead[bytes]:
        made = Ahead(items, _DEPTH)
        self._unfolding.callback(made.close)
        return made


def _summed(pieces: Iterable[bytes], into: Any) -> Iterator[bytes]:
    for piece in pieces:
        into.update(piece)
        yield piece


def _shown(pieces: Iterator[bytes], label: str, size: int, progress: Progress) -> Iterator[bytes]:
    """Yield pieces, and tell of them."""
    progress.start(label, label, size)
    with contextlib.closing(pieces):  # type: ignore[type-var]
        for piece in pieces:
            progress.advance(label, len(piece))
            yield piece
    progress.done(label)
