"""A picture of a configuration graph as SVG, and as one page in which one can search and open nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from runtimeimg.configgraph.layout import BOX_HEIGHT, BOX_WIDTH, Arrow, Box, Picture
from runtimeimg.text import plain

_COLOURS = {
    "host": "#0f766e",
    "instance": "#b45309",
    "automaton": "#6d28d9",
    "artefact": "#1d4ed8",
    "base": "#475569",
    "layer": "#71717a",
}
_INK, _PALE, _LINE = "#27272a", "#f4f4f5", "#a1a1aa"
_LETTERS, _SMALL_LETTERS = 25, 32
"""Characters of a title and of a note that a box has room for."""
_FONT = 'font-family="sans-serif"'


def svg(picture: Picture, title: str) -> str:
    """Return a picture as an SVG document; hovering over a box or an arrow shows all of its text."""
    return "".join(f"{line}\n" for line in _lines(picture, title))


def _lines(picture: Picture, title: str) -> Iterator[str]:
    wide, high = f"{picture.width:g}", f"{picture.height:g}"
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" '
        f'role="img" {_FONT} font-size="12">'
    )
    yield f"<title>{_text(title)}</title>"
    yield f'<rect width="{wide}" height="{high}" fill="#ffffff"/>'
    for column in picture.columns:
        yield (
            f'<rect x="{column.left:g}" y="{column.top:g}" width="{column.width:g}" height="{column.height:g}" rx="8" '
            f'fill="{_PALE}"/>'
        )
        count = sum(box.count for box, _, _ in picture.boxes if box.column == column.name)
        heading = f"{column.name}s ({count:,})"
        yield (
            f'<text x="{column.left + 12:g}" y="{column.top + 19:g}" font-weight="bold" '
            f'fill="{_COLOURS.get(column.name, _INK)}">{_text(heading)}</text>'
        )
    places = {box.id: (left, top) for box, left, top in picture.boxes}
    yield '<g fill="none" stroke-width="1.3">'
    for item in picture.arrows:
        yield _arrow(item, places)
    yield "</g>"
    for box, left, top in picture.boxes:
        yield from _box(box, left, top)
    yield "</svg>"


def _arrow(item: Arrow, places: Mapping[str, tuple[float, float]]) -> str:
    """Return a curve from the side of one box to the side of another; within a column it swings out to the right."""
    (one, above), (other, below) = places[item.source], places[item.target]
    from_y, to_y = above + BOX_HEIGHT / 2, below + BOX_HEIGHT / 2
    if one == other:
        from_x = to_x = one + BOX_WIDTH
        bend = from_x + 44
        middle = f"{bend:g} {from_y:g} {bend:g} {to_y:g}"
    else:
        rightward = other > one
        from_x, to_x = (one + BOX_WIDTH, other) if rightward else (one, other + BOX_WIDTH)
        reach = (to_x - from_x) / 2
        middle = f"{from_x + reach:g} {from_y:g} {to_x - reach:g} {to_y:g}"
    times = f" ({item.count:,})" if item.count > 1 else ""
    told = f"{item.source} {item.relation} {item.target}{times}"
    dash = ' stroke-dasharray="4 3"' if item.relation.startswith("built") else ""
    return (
        f'<path class="arrow" data-from={_attribute(item.source)} data-to={_attribute(item.target)} '
        f'd="M{from_x:g} {from_y:g}C{middle} {to_x:g} {to_y:g}" stroke="{_LINE}"{dash}>'
        f"<title>{_text(told)}</title></path>"
    )


def _box(box: Box, left: float, top: float) -> Iterator[str]:
    colour = _COLOURS.get(box.column, _INK)
    told = f"{box.id}: {box.note}" if box.note else box.id
    yield f'<g class="box" data-id={_attribute(box.id)} tabindex="0"><title>{_text(told)}</title>'
    if box.count > 1:  # a second edge behind it: several in one
        yield (
            f'<rect x="{left + 4:g}" y="{top + 4:g}" width="{BOX_WIDTH:g}" height="{BOX_HEIGHT:g}" rx="5" '
            f'fill="#ffffff" stroke="{_LINE}"/>'
        )
    yield (
        f'<rect class="face" x="{left:g}" y="{top:g}" width="{BOX_WIDTH:g}" height="{BOX_HEIGHT:g}" rx="5" '
        f'fill="#ffffff" stroke="{_LINE}"/>'
    )
    yield f'<rect x="{left:g}" y="{top + 6:g}" width="4" height="{BOX_HEIGHT - 12:g}" fill="{colour}"/>'
    yield (
        f'<text x="{left + 12:g}" y="{top + 17:g}" fill="{_INK}">{_text(_short(box.title, _LETTERS))}</text>'
        f'<text x="{left + 12:g}" y="{top + 32:g}" fill="{_COLOURS["layer"]}" font-size="10">'
        f"{_text(_short(box.note, _SMALL_LETTERS))}</text></g>"
    )


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _text(text: str) -> str:
    return escape(plain(text))


def _attribute(text: str) -> str:
    return quoteattr(plain(text))


def page(picture: Picture, title: str, nodes: Sequence[Mapping[str, Any]]) -> str:
    """Return a picture as one page of HTML that asks the network for nothing.

    `nodes` are what can be searched and opened: `id`, the id of the `box` that it is drawn in, `kind`, `facts` as pairs
    of texts, `edges` as ids by what they say, and for automatons `parameters` as rows of texts: parameter, value,
    category, stage, source.
    """
    from runtimeimg import templating

    data = [{**item, "box": plain(str(item["box"]))} for item in nodes]
    return templating.page("graph", plain(title), data, picture=svg(picture, title))
