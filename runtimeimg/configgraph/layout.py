"""A picture of a graph laid out: boxes in a column for each kind, each near what it is joined to.

Nothing is drawn here. Distances are in pixels of the picture, from its upper left corner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

BOX_WIDTH, BOX_HEIGHT = 196.0, 40.0
COLUMN_GAP, ROW_GAP = 60.0, 10.0
PADDING, HEADING, MARGIN = 10.0, 26.0, 16.0
_SWEEPS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A node, or a group of `count` nodes, in the column `column`; `note` is its second, smaller line."""

    id: str
    column: str
    title: str
    note: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """What one box is to another; `count` edges of the graph in one."""

    source: str
    target: str
    relation: str
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column with a heading: where it begins, and how large it is."""

    name: str
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Boxes with the places of their upper left corners, the arrows between them, and the columns they stand in."""

    width: float
    height: float
    columns: tuple[Column, ...]
    boxes: tuple[tuple[Box, float, float], ...]
    arrows: tuple[Arrow, ...]


def lay_out(boxes: Iterable[Box], arrows: Iterable[Arrow], columns: Sequence[str]) -> Picture:
    """Return boxes in columns, those that are not empty in the order of `columns`.

    The same boxes and arrows, in whatever order, give the same picture.
    """
    by_column: dict[str, list[Box]] = {name: [] for name in columns}
    for box in sorted(boxes, key=lambda item: item.id):
        by_column[box.column].append(box)
    filled = [found for found in by_column.values() if found]
    there = {box.id for found in filled for box in found}
    drawn = sorted(
        (item for item in arrows if item.source in there and item.target in there),
        key=lambda item: (item.source, item.target, item.relation),
    )
    _order(filled, _neighbours(drawn))
    return _placed(filled, tuple(drawn))


def _neighbours(arrows: Iterable[Arrow]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in arrows:
        found.setdefault(item.source, []).append(item.target)
        found.setdefault(item.target, []).append(item.source)
    return found


def _order(columns: Sequence[list[Box]], neighbours: Mapping[str, list[str]]) -> None:
    """Sort each column by the mean place of what its boxes are joined to, to and fro."""
    places = {box.id: (number + 0.5) / len(column) for column in columns for number, box in enumerate(column)}
    for sweep in range(_SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            means = {box.id: _mean(box.id, neighbours, places) for box in column}
            column.sort(key=lambda box, means=means: (means[box.id], box.id))  # type: ignore[misc]
            for number, box in enumerate(column):
                places[box.id] = (number + 0.5) / len(column)


def _mean(name: str, neighbours: Mapping[str, list[str]], places: Mapping[str, float]) -> float:
    found = neighbours.get(name)
    return round(sum(places[item] for item in found) / len(found), 9) if found else places[name]


def _placed(columns: Sequence[Sequence[Box]], arrows: tuple[Arrow, ...]) -> Picture:
    step = BOX_HEIGHT + ROW_GAP
    tallest = max((len(column) for column in columns), default=0) * step - ROW_GAP
    height = HEADING + max(tallest, BOX_HEIGHT) + 2 * PADDING
    made: list[Column] = []
    placed: list[tuple[Box, float, float]] = []
    left = MARGIN
    for column in columns:
        width = BOX_WIDTH + 2 * PADDING
        made.append(Column(name=column[0].column, left=left, top=MARGIN, width=width, height=height))
        own = len(column) * step - ROW_GAP
        top = MARGIN + HEADING + PADDING + (max(tallest, BOX_HEIGHT) - own) / 2
        placed += [(box, left + PADDING, top + number * step) for number, box in enumerate(column)]
        left += width + COLUMN_GAP
    wide = left - COLUMN_GAP + MARGIN if columns else 2 * MARGIN
    return Picture(width=wide, height=height + 2 * MARGIN, columns=tuple(made), boxes=tuple(placed), arrows=arrows)
