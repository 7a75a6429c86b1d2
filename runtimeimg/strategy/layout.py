"""Where things stand in the text of a YAML document: which line a value ends on, where an item can be added.

Only positions come from the parser; the text itself is edited, so what is not touched keeps its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from runtimeimg.errors import UsageError
from runtimeimg.spec import yamlnodes

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BLANK = re.compile(r"\s*(?:#.*)?\Z")


@dataclass(slots=True, kw_only=True)
class Place:
    """A value in the text: its first and last line (from 0), its column, and what is in it.

    `kind` is `scalar`, `map`, `list` or `alias`; `flow` tells the forms with brackets and braces. `start` and `end` are
    where the text of anything but a block begins and ends, `key` where the key of a map's value begins: line and
    column, from 0.
    """

    kind: str
    line: int
    column: int
    last: int
    flow: bool = False
    text: str = ""
    entries: dict[str, Place] = field(default_factory=dict)
    items: list[Place] = field(default_factory=list)
    start: tuple[int, int] = (0, 0)
    end: tuple[int, int] = (0, 0)
    key: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A document of a file: what it says, and where."""

    data: Any
    place: Place


def read(text: str, file: str) -> list[Found]:
    """Return the documents of `text`, or raise SpecError with what is wrong in it.

    Size, depth and the expansion of aliases are bounded as for a Build spec.
    """
    from runtimeimg.errors import SpecError

    documents = yamlnodes.compose(text.encode("utf-8", "surrogatepass"), file)
    problems = [problem for document in documents for problem in document.problems]
    if problems:
        raise SpecError(problems)
    lines = split_lines(text)
    # Empty documents are among the places only.
    places = dict(_documents(yaml.parse(text, Loader=LOADER), lines))
    return [
        Found(data=document.root.plain(), place=places[document.root.line, document.root.column])
        for document in documents
    ]


def split_lines(text: str) -> list[str]:
    """Return the lines of `text` as YAML counts them, each with its end."""
    return re.findall(r"[^\r\n\x85\u2028\u2029]*(?:\r\n|[\r\n\x85\u2028\u2029])|[^\r\n\x85\u2028\u2029]+\Z", text)


def dash_column(lines: Sequence[str], place: Place) -> int:
    """Return the column of the dashes of a block list."""
    for line in lines[place.line : place.last + 1]:
        stripped = line.lstrip(" ")
        if stripped.startswith("-") and stripped[1:2] in {" ", "\n", "\r", ""}:
            return len(line) - len(stripped)
    raise UsageError(f"the list in line {place.line + 1} does not begin with a dash; write it in block style")


def line_after(lines: Sequence[str], place: Place, column: int) -> int:
    """Return the line (from 0) before which something that stands at `column` can be added after `place`.

    Comments below the value that stand further right belong to it.
    """
    after = at = place.last + 1
    while at < len(lines) and _BLANK.match(lines[at]):
        content = lines[at].strip()
        if content:
            if len(lines[at]) - len(lines[at].lstrip(" \t")) <= column:
                break
            after = at + 1
        at += 1
    return after


def _documents(events: Iterator[Any], lines: Sequence[str]) -> Iterator[tuple[tuple[int, int], Place]]:
    """Yield where documents begin, line and column from 1, and what is there."""
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            root = next(events)
            yield (root.start_mark.line + 1, root.start_mark.column + 1), _value(root, events, lines)


def _value(event: Any, events: Iterator[Any], lines: Sequence[str]) -> Place:
    line, column, end = event.start_mark.line, event.start_mark.column, event.end_mark
    start = (line, column)
    if isinstance(event, yaml.AliasEvent):
        return Place(kind="alias", line=line, column=column, last=end.line, start=start, end=(end.line, end.column))
    if isinstance(event, yaml.ScalarEvent):
        last = _block_end(line, end, lines) if event.style in {"|", ">"} else end.line
        place = Place(kind="scalar", line=line, column=column, last=max(line, last), text=event.value, start=start)
        place.end = (end.line, end.column)
        return place
    is_map = isinstance(event, yaml.MappingStartEvent)
    flow = bool(event.flow_style)
    place = Place(kind="map" if is_map else "list", line=line, column=column, last=line, flow=flow, start=start)
    while not isinstance(inner := next(events), yaml.MappingEndEvent | yaml.SequenceEndEvent):
        child = _value(inner, events, lines)
        place.last = max(place.last, child.last)
        if not is_map:
            place.items.append(child)
            continue
        if not place.entries:
            place.column = child.column  # of the first key; an anchor may stand on the line before
        value = _value(next(events), events, lines)
        value.key = child.start
        place.last = max(place.last, value.last)
        place.entries[child.text] = value
    if flow and inner.end_mark is not None:
        place.last = max(place.last, inner.end_mark.line)
        place.end = (inner.end_mark.line, inner.end_mark.column)
    return place


def _block_end(first: int, end: Any, lines: Sequence[str]) -> int:
    """Return the last line of a literal or folded text; blank lines after it count where `+` keeps them."""
    last: int = min(end.line if end.column == 0 else end.line + 1, len(lines)) - 1
    header = re.search(r"[|>]([0-9+-]*)[ \t]*(?:#.*)?\s*\Z", lines[first])
    if header is None or "+" not in header[1]:
        while last > first and not lines[last].strip():
            last -= 1
    return last
