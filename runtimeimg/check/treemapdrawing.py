"""Treemaps as an SVG picture, and as one page of HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from runtimeimg.check.treemap import HEADER, HEIGHT, MARGIN, UNIT, WIDTH, Kind, Tile, Treemap

BY = ("layer", "package")
"""What rectangles are coloured by."""
_COLOURS = (
    "#a1a1aa", "#60a5fa", "#fbbf24", "#34d399", "#f87171", "#a78bfa",
    "#2dd4bf", "#fb923c", "#f472b6", "#a3e635", "#38bdf8", "#d6a77a",
)  # fmt: skip
_MORE, _FOLDER, _INK = "#e4e4e7", "#fafafa", "#27272a"
_LEAST = 3.0
"""Pixels of the smaller side of the smallest rectangle that is drawn."""
_LETTER = 6.2
_LEGEND = 24.0

_Box = tuple[float, float, float, float]


def colours(names: Sequence[str]) -> list[str]:
    """Return the colours of groups; the base, and what is of no package, is grey."""
    grey = {"base", "(of no package)"}
    rest = 0
    found = []
    for name in names:
        rest += name not in grey
        found.append(_COLOURS[0] if name in grey else _COLOURS[(rest - 1) % (len(_COLOURS) - 1) + 1])
    return found


def share(size: int, whole: int) -> str:
    """Return a part of the whole in percent."""
    return f"{100 * size / whole:.1f} %" if whole else "0.0 %"


def svg(drawn: Treemap, by: str = "layer") -> str:
    """Return a treemap as an SVG document, each rectangle with its path, bytes and share as what hovering shows."""
    names = drawn.layers if by == "layer" else drawn.packages
    paint = colours(names)
    return "".join(f"{line}\n" for line in _svg_lines(drawn, by, names, paint))


def _svg_lines(drawn: Treemap, by: str, names: Sequence[str], paint: Sequence[str]) -> Iterator[str]:
    whole = drawn.tiles[0].size
    height = HEIGHT + _LEGEND
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:g}" width="{WIDTH:g}" '
        f'height="{height:g}" role="img" font-family="sans-serif" font-size="11">'
    )
    yield f"<title>{escape(drawn.title)}: {whole:,} bytes in {drawn.tiles[0].files:,} files</title>"
    yield f'<rect width="{WIDTH:g}" height="{height:g}" fill="#ffffff"/>'
    paths: list[str] = []
    places: list[_Box | None] = []
    for number, tile in enumerate(drawn.tiles):
        above = paths[tile.parent] if number else ""
        paths.append(tile.name if not number else f"{above.rstrip('/')}/{tile.name}")
        place = _place(places[tile.parent], tile) if number else (0.0, 0.0, WIDTH, HEIGHT)
        places.append(place)
        if place is not None:
            group = tile.layer if by == "layer" else tile.package
            colour = {Kind.FOLDER: _FOLDER, Kind.MORE: _MORE}.get(tile.kind) or paint[group]
            told = f"{paths[number]}: {tile.size:,} bytes, {share(tile.size, whole)}"
            yield from _svg_tile(tile, place, colour, told)
    yield from _svg_legend(names, paint)
    yield "</svg>"


def _place(outer: _Box | None, tile: Tile) -> _Box | None:
    """Return where a rectangle is drawn in its folder's: left, top, width, height; None for one that is too small."""
    if outer is None:
        return None
    wide, high = outer[2] - 2 * MARGIN, outer[3] - HEADER - MARGIN
    left, top, right, bottom = (side / UNIT for side in tile.box)
    place = (
        outer[0] + MARGIN + left * wide,
        outer[1] + HEADER + top * high,
        (right - left) * wide,
        (bottom - top) * high,
    )
    return place if wide > 0 and high > 0 and min(place[2:]) >= _LEAST else None


def _svg_tile(tile: Tile, place: _Box, colour: str, title: str) -> Iterator[str]:
    left, top, wide, high = place
    yield (
        f'<g><title>{escape(title)}</title><rect x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{high:.1f}" '
        f'fill="{colour}" stroke="#ffffff"{_outline(tile)}/>{_label(tile, place)}</g>'
    )


def _outline(tile: Tile) -> str:
    return ' style="stroke:#a1a1aa"' if tile.kind is Kind.FOLDER else ""


def _label(tile: Tile, place: _Box) -> str:
    letters = int((place[2] - 6) / _LETTER)
    if letters < 4 or place[3] < HEADER - 2:
        return ""
    name = tile.name if len(tile.name) <= letters else tile.name[: letters - 1] + "…"
    return f'<text x="{place[0] + 3:.1f}" y="{place[1] + 11:.1f}" fill="{_INK}">{escape(name)}</text>'


def _svg_legend(names: Sequence[str], paint: Sequence[str]) -> Iterator[str]:
    left = 4.0
    for name, colour in zip(names, paint, strict=True):
        wide = 24 + _LETTER * len(name)
        if left + wide > WIDTH:
            return
        yield f'<rect x="{left:.1f}" y="{HEIGHT + 7:g}" width="12" height="12" fill="{colour}"/>'
        yield f'<text x="{left + 16:.1f}" y="{HEIGHT + 17:g}" fill="{_INK}">{escape(name)}</text>'
        left += wide


def page(drawn: Treemap) -> str:
    """Return a treemap as one page of HTML: no request leaves it, and no name of a file becomes a part of it."""
    from runtimeimg import templating

    data = {
        "title": drawn.title,
        "unit": UNIT,
        "header": HEADER,
        "margin": MARGIN,
        "least": _LEAST,
        "groups": {
            name: [[group, colour] for group, colour in zip(groups, colours(groups), strict=True)]
            for name, groups in zip(BY, (drawn.layers, drawn.packages), strict=True)
        },
        "tiles": [
            [item.parent, item.name, int(item.kind), item.size, item.files, item.layer, item.package, *item.box]
            for item in drawn.tiles
        ],
    }
    return templating.page("treemap", drawn.title, data)
