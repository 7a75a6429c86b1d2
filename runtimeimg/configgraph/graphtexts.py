"""A picture of a graph as text that other tools draw: Graphviz's DOT, and Mermaid.

Boxes are called `n1`, `n2`, ... there, so that nothing that a graph says is ever read as a name or as syntax.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runtimeimg.configgraph.folding import COLUMNS, Folded
from runtimeimg.configgraph.layout import Arrow, Box
from runtimeimg.text import plain

_MERMAID = {character: f"#{ord(character)};" for character in '"#<>&`\\'}


def dot(folded: Folded, title: str) -> str:
    """Return a graph in DOT (the grammar of Graphviz, doc/info/lang), a cluster for each kind."""
    return "".join(f"{line}\n" for line in _dot(folded, title))


def mermaid(folded: Folded) -> str:
    """Return a flowchart of Mermaid (its syntax, "Flowcharts"), a subgraph for each kind."""
    return "".join(f"{line}\n" for line in _mermaid(folded))


def _dot(folded: Folded, title: str) -> Iterator[str]:
    names = _names(folded)
    yield "digraph {"
    yield f"  graph [rankdir=LR, label={_quoted(title)}, labelloc=t, fontname=sans]"
    yield "  node [shape=box, style=rounded, fontname=sans, fontsize=10]"
    yield "  edge [fontname=sans, fontsize=8, color=gray40]"
    for column, boxes in _columns(folded):
        yield f"  subgraph cluster_{column} {{"
        yield f"    label={_quoted(_heading(column, boxes))}; style=filled; color=gray95"
        for box in boxes:
            label = f"{box.title}\n{box.note}" if box.note else box.title
            yield f"    {names[box.id]} [label={_quoted(label)}, tooltip={_quoted(box.id)}]"
        yield "  }"
    for arrow in folded.arrows:
        yield f"  {names[arrow.source]} -> {names[arrow.target]} [label={_quoted(_said(arrow))}]"
    yield "}"


def _mermaid(folded: Folded) -> Iterator[str]:
    names = _names(folded)
    yield "flowchart LR"
    for column, boxes in _columns(folded):
        yield f'  subgraph {column}s["{_escaped(_heading(column, boxes))}"]'
        for box in boxes:
            label = f"{_escaped(box.title)}<br/>{_escaped(box.note)}" if box.note else _escaped(box.title)
            yield f'    {names[box.id]}["{label}"]'
        yield "  end"
    for arrow in folded.arrows:
        yield f'  {names[arrow.source]} -->|"{_escaped(_said(arrow))}"| {names[arrow.target]}'


def _names(folded: Folded) -> Mapping[str, str]:
    return {box.id: f"n{number}" for number, box in enumerate(folded.boxes, start=1)}


def _columns(folded: Folded) -> Iterator[tuple[str, list[Box]]]:
    for column in COLUMNS:
        boxes = [box for box in folded.boxes if box.column == column]
        if boxes:
            yield column, boxes


def _heading(column: str, boxes: list[Box]) -> str:
    return f"{column}s ({sum(box.count for box in boxes):,})"


def _said(arrow: Arrow) -> str:
    return f"{arrow.relation} ({arrow.count:,})" if arrow.count > 1 else arrow.relation


def _quoted(text: str) -> str:
    """Return a quoted string of DOT, in which a backslash begins an escape (escString)."""
    lines = [plain(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n")]
    return '"' + "\\n".join(lines) + '"'


def _escaped(text: str) -> str:
    """Return text as Mermaid has it between quotes: what it or HTML would act on as entities; never nothing."""
    return "".join(_MERMAID.get(character, character) for character in plain(text).replace("\n", " ")) or " "
