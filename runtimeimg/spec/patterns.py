r"""Patterns of paths, as Go's filepath.Match reads them.

`*`, `?` and `[...]` are wildcards, and a `\` takes the meaning from the character behind it. A pattern without
wildcards names one path: `/a\[b` is the file `a[b`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_PIECE = re.compile(r"\\(?P<escaped>.)|(?P<wild>[*?]|\[\^?(?:\\.|[^\\\]])+\])|(?P<plain>.)", re.DOTALL)


class Piece(NamedTuple):
    """A part of a pattern: one wildcard as it was written, or literal text."""

    text: str
    is_wildcard: bool


def parse(pattern: str) -> tuple[Piece, ...]:
    """Return the parts of `pattern`, its escapes resolved; a `[` that is never closed is taken for itself."""
    pieces: list[Piece] = []
    literal: list[str] = []
    for found in _PIECE.finditer(pattern):
        if found["wild"] is None:
            literal.append(found["escaped"] or found["plain"])
            continue
        if literal:
            pieces.append(Piece("".join(literal), is_wildcard=False))
            literal = []
        pieces.append(Piece(found["wild"], is_wildcard=True))
    if literal:
        pieces.append(Piece("".join(literal), is_wildcard=False))
    return tuple(pieces)


def literal_path(pattern: str) -> str | None:
    """Return the one path that `pattern` names, None when it holds a wildcard."""
    pieces = parse(pattern)
    return None if any(piece.is_wildcard for piece in pieces) else "".join(piece.text for piece in pieces)


def expression(pieces: Sequence[Piece]) -> re.Pattern[str]:
    """Return what matches the names that one part of a pattern, between two slashes, describes.

    What stands between two `*` is looked for from the left and never given back: that is enough, as everything but `*`
    stands for one character, and it keeps any pattern from taking exponential time.
    """
    parts: list[list[str]] = [[]]
    for piece in pieces:
        if piece.is_wildcard and piece.text == "*":
            parts.append([])
        else:
            parts[-1].append(_translated(piece))
    first, *others = ["".join(part) for part in parts]
    if not others:
        return re.compile(f"{first}\\Z", re.DOTALL)
    between = "".join(f"(?>[^/]*?{part})" for part in others[:-1] if part)
    return re.compile(f"{first}{between}[^/]*{others[-1]}\\Z", re.DOTALL)


def _translated(piece: Piece) -> str:
    if not piece.is_wildcard:
        return re.escape(piece.text)
    if piece.text == "?":
        return "[^/]"
    negated = piece.text.startswith("[^")
    ranges = [
        f"{re.escape(low)}-{re.escape(high)}"
        for low, high in _ranges(piece.text[2:-1] if negated else piece.text[1:-1])
        if low <= high
    ]
    if not ranges:
        return "[^/]" if negated else "(?!)"
    return f"[{'^/' if negated else ''}{''.join(ranges)}]"


_RANGE = re.compile(r"(\\.|[^\\])(?:-(\\.|[^\\]))?", re.DOTALL)


def _ranges(body: str) -> Iterator[tuple[str, str]]:
    """Yield first and last character of the ranges in a class of Go's; a single character is a range of one."""
    for found in _RANGE.finditer(body):
        low = found[1][-1]
        yield low, found[2][-1] if found[2] else low
