"""Tables for people, in columns as wide as what is in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runtimeimg.text import printable


def aligned(rows: Sequence[Sequence[str]], indent: str = "") -> Iterator[str]:
    """Yield a line for each row, fit to be shown; all rows have as many cells as the first."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield indent + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
