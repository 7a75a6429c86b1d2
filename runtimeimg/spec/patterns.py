r"""Patterns of paths, as Go's filepath.Match reads them.

`*`, `?` and `[...]` are wildcards, and a `\` takes the meaning from the character behind it. A pattern without
wildcards names one path: `/a\[b` is the file `a[b`.
"""

from __future__ import annotations

import re
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
