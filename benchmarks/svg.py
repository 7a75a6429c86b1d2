"""Line plots as SVG: both axes linear and from zero, each line named at its end, the spread as bars."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 56, 120, 44, 52  # margins
COLOURS = ("#0b62a8", "#c2410c", "#15803d", "#7e22ce", "#a16207", "#475569")
MARKERS = 7  # pixels between a line's end and its name; names are kept twice so far apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line: at each x the value, the lowest and the highest."""

    name: str
    middle: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Lines over the same xs."""

    title: str
    x_label: str
    y_label: str
    x: Sequence[float]
    lines: Sequence[Line]


def drawn(plot: Plot) -> str:
    """Return the plot as an SVG document."""
    x_top, y_top = max(plot.x), max(max(line.high) for line in plot.lines)
    x_step, y_step = step(x_top), step(y_top)
    x_end, y_end = ceiling(x_top, x_step), ceiling(y_top, y_step)

    def across(value: float) -> float:
        return LEFT + value / x_end * (WIDTH - LEFT - RIGHT)

    def down(value: float) -> float:
        return HEIGHT - BOTTOM - value / y_end * (HEIGHT - TOP - BOTTOM)

    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            'role="img" font-family="sans-serif" font-size="12">'
        ),
        f"<title>{escape(plot.title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        label(LEFT, 22, plot.title, size=14),
        label(LEFT - 8, TOP - 10, plot.y_label, anchor="end"),
        label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, plot.x_label, anchor="middle"),
    ]
    for tick in ticks(y_end, y_step):
        parts.append(stroke(LEFT, down(tick), WIDTH - RIGHT, down(tick), "#d4d4d8"))
        parts.append(label(LEFT - 8, down(tick) + 4, f"{tick:g}", anchor="end"))
    for tick in ticks(x_end, x_step):
        parts.append(stroke(across(tick), down(0), across(tick), down(0) + 5, "#52525b"))
        parts.append(label(across(tick), down(0) + 20, f"{tick:g}", anchor="middle"))
    names = apart([down(line.middle[-1]) for line in plot.lines])
    for number, (line, name_at) in enumerate(zip(plot.lines, names, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        points = [(across(x), down(y)) for x, y in zip(plot.x, line.middle, strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (x, y), low, high in zip(points, line.low, line.high, strict=True):
            parts.append(stroke(x, down(low), x, down(high), colour))
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
        parts.append(label(points[-1][0] + MARKERS, name_at + 4, line.name, colour=colour))
    return "\n".join([*parts, "</svg>"]) + "\n"


def apart(heights: Sequence[float]) -> list[float]:
    """Return where names go: by their lines, but none over another."""
    placed = list(heights)
    order = sorted(range(len(placed)), key=placed.__getitem__)
    for above, below in itertools.pairwise(order):
        placed[below] = max(placed[below], placed[above] + 2 * MARKERS)
    return placed


def step(top: float) -> float:
    """Return a round distance of ticks: 1, 2 or 5 times a power of ten, about five of them up to `top`."""
    size = 1.0
    while size * 10 < top:
        size *= 10
    while size > top:
        size /= 10
    return next(part * size for part in (0.1, 0.2, 0.5, 1, 2, 5) if top / (part * size) <= 6)


def ceiling(top: float, distance: float) -> float:
    """Return the first tick that is not below `top`."""
    return -(-top // distance) * distance


def ticks(end: float, distance: float) -> Iterator[float]:
    """Yield the ticks from zero."""
    for number in range(round(end / distance) + 1):
        yield number * distance


def label(x: float, y: float, text: str, *, anchor: str = "start", colour: str = "#27272a", size: int = 12) -> str:
    """Return a text."""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}"'
    return f"<text {place}>{escape(text)}</text>"


def stroke(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    """Return a straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'
