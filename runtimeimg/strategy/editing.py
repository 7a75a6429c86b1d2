"""Changes to the text of a YAML document: items added to lists, entries to maps, and both taken out again.

A change is a piece of the text and what stands in its place; all of them are made at once. In block style whole lines
come and go, in flow style (and so in JSON) what stands between the brackets. Adding and taking out are each other's
inverse, byte for byte.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtimeimg.errors import UsageError
from runtimeimg.strategy import data, layout
from runtimeimg.strategy.layout import Place

_ENDS = ("\n", "\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """`text` in place of what stands from `start` to `end` (lines and columns, from 0)."""

    start: tuple[int, int]
    end: tuple[int, int]
    text: str = ""


def apply(text: str, edits: Iterable[Edit]) -> str:
    """Return `text` with all edits made; what is added takes over the line ends that are there."""
    lines = layout.split_lines(text)
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line))
    newline = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"

    def offset(place: tuple[int, int]) -> int:
        return offsets[min(place[0], len(lines))] + place[1]

    done, pieces, unended = 0, [], False
    for edit in sorted(edits, key=lambda item: (item.start, item.end)):
        pieces += [text[done : offset(edit.start)], edit.text.replace("\n", newline)]
        done = offset(edit.end)
        if edit.text and edit.start == (len(lines), 0) and not unended and lines and not lines[-1].endswith(_ENDS):
            unended = True
            pieces.insert(-1, newline)
    result = "".join([*pieces, text[done:]])
    return result.removesuffix(newline) if unended else result


def lines_at(line: int, text: str) -> Edit:
    """Return the edit that puts whole lines before a line."""
    return Edit(start=(line, 0), end=(line, 0), text=text)


def flow_items(place: Place, items: Sequence[Any]) -> Edit:
    """Return the edit that puts items at the end of a list in brackets."""
    return _into_flow(place, place.items, ", ".join(data.flow(item) for item in items))


def flow_entry(place: Place, key: str, value: Any) -> Edit:
    """Return the edit that puts an entry at the end of a map in braces."""
    return _into_flow(place, list(place.entries.values()), f"{data.flow(key)}: {data.flow(value)}")


def without_items(lines: Sequence[str], place: Place, gone: Sequence[int]) -> list[Edit]:
    """Return the edits that take items, by number, out of a list."""
    if place.flow:
        return _out_of_flow([item.start for item in place.items], [item.end for item in place.items], gone)
    starts = [_dash(lines, place, item) for item in place.items]
    ends = [*starts[1:], layout.line_after(lines, place, layout.dash_column(lines, place))]
    return [Edit(start=(starts[number], 0), end=(ends[number], 0)) for number in gone]


def without_entries(lines: Sequence[str], place: Place, keys: Collection[str]) -> list[Edit]:
    """Return the edits that take entries out of a map; in block style it must keep others."""
    values = list(place.entries.values())
    if place.flow:
        gone = [at for at, key in enumerate(place.entries) if key in keys]
        return _out_of_flow([item.key for item in values], [item.end for item in values], gone)
    return [_lines_gone(lines, place.entries[key]) for key in place.entries if key in keys]


def emptied(lines: Sequence[str], place: Place, text: str) -> Edit:
    """Return the edit that puts `text`, an empty list or map, in place of the value of a map's entry."""
    if place.flow:
        return Edit(start=place.start, end=place.end, text=text)
    key = lines[place.key[0]][place.key[1] :].partition(":")[0]
    gone = _lines_gone(lines, place)
    return Edit(start=gone.start, end=gone.end, text=f"{' ' * place.key[1]}{key}: {text}\n")


def _lines_gone(lines: Sequence[str], place: Place) -> Edit:
    return Edit(start=(place.key[0], 0), end=(layout.line_after(lines, place, place.key[1]), 0))


def indented(text: str, column: int) -> str:
    """Return lines moved to the right; empty ones stay empty."""
    return "".join(f"{' ' * column}{line}" if line.strip() else line for line in text.splitlines(keepends=True))


def block(place: Place | None, key: str, kind: str, *, flow: bool = False) -> Place:
    """Return the place of a map or list, or raise UsageError where it is something else, or `flow` is not allowed."""
    if place is None or place.kind == "scalar":
        raise UsageError(f"'{key}' of the document is missing or empty; there is nothing to add to")
    if place.kind != kind or (place.flow and not flow):
        written = "an alias" if place.kind == "alias" else "in brackets" if place.flow else f"a {place.kind}"
        raise UsageError(f"'{key}' in line {place.line + 1} is written as {written}; a {kind} is needed to add to it")
    return place


def entries_of(document: Mapping[str, Any], key: str) -> list[Any]:
    """Return the list that a map has under a key, an empty one for anything else."""
    found = document.get(key)
    return found if isinstance(found, list) else []


def _into_flow(place: Place, there: Sequence[Place], text: str) -> Edit:
    if there:
        return Edit(start=there[-1].end, end=there[-1].end, text=f", {text}")
    before = (place.end[0], place.end[1] - 1)
    return Edit(start=before, end=before, text=text)


def _out_of_flow(starts: Sequence[tuple[int, int]], ends: Sequence[tuple[int, int]], gone: Sequence[int]) -> list[Edit]:
    """Return the edits that take out what is gone, each with the comma that joined it to what stays."""
    edits = []
    for first in gone:
        if first - 1 in gone:
            continue
        last = first
        while last + 1 in gone:
            last += 1
        following = last + 1 < len(starts)
        if first:
            edits.append(Edit(start=ends[first - 1], end=ends[last]))
        else:
            edits.append(Edit(start=starts[0], end=starts[last + 1] if following else ends[last]))
    return edits


def _dash(lines: Sequence[str], place: Place, item: Place) -> int:
    """Return the line of an item's dash, which may stand before the item."""
    column, line = layout.dash_column(lines, place), item.line
    while line > place.line and lines[line][column : column + 1] != "-":
        line -= 1
    return line
