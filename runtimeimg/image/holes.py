"""The zeros of holes: of sparse files, and of parts that a layer's own table says to hold nothing else."""

from __future__ import annotations

from collections.abc import Iterator

_ZEROS = memoryview(bytes(1 << 16))


def is_hole(view: bytes | memoryview) -> bool:
    """Tell whether a piece of contents is of a hole."""
    return isinstance(view, memoryview) and view.obj is _ZEROS.obj


def zeros(count: int) -> Iterator[memoryview]:
    """Yield as many zeros, as `is_hole` knows them."""
    while count > 0:
        yield _ZEROS[:count]
        count -= len(_ZEROS)
