r"""Variables in environment values, as a Dockerfile's ENV expands them.

`$NAME`, `${NAME}`, `${NAME:-word}` and `${NAME:+word}` are references; words may hold references again. `\$` is a
dollar. A run of backslashes right before a `$` is read in pairs, each pair one backslash; anywhere else a backslash
is itself. A `$` that starts no name (`$5`, a last `$`) is a dollar.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BACKSLASHES = re.compile(r"\\+")
_MAX_DEPTH = 16
MAX_VALUE = (128 << 10) - 1
"""Bytes of an expanded value: Linux starts no program with a longer variable (MAX_ARG_STRLEN)."""
TOO_LONG = f"expands to more than {MAX_VALUE} bytes, and no program can be started with such a variable"


class ExpansionError(ValueError):
    """A value expands to more than a variable may hold."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A reference: `operator` is empty, `-` (word when unset or empty) or `+` (word when set and not empty)."""

    name: str
    operator: str = ""
    word: tuple[str | Variable, ...] = ()


Segment = str | Variable
"""A piece of a value: literal text or a reference."""


def parse(value: str) -> tuple[Segment, ...]:
    """Return the segments of `value`; raise ValueError saying what is wrong with a reference."""
    segments, end = _parse(value, 0, "", 0)
    assert end == len(value)
    return segments


def expand(segments: tuple[Segment, ...], env: Mapping[str, str]) -> str:
    """Return the text of `segments` with variables taken from `env`; an unset one is empty.

    Raises ExpansionError, before there is much of it, for a text of more than MAX_VALUE bytes.
    """
    made: list[str] = []
    _append(segments, env, made, 0)
    return "".join(made)


def longest(segments: tuple[Segment, ...], sizes: Mapping[str, int]) -> int:
    """Return about how many bytes `segments` may come to, at most MAX_VALUE + 1; a variable not in `sizes` has one."""
    total = 0
    for segment in segments:
        if isinstance(segment, str):
            total += len(segment.encode("utf-8", "surrogatepass"))
        else:
            own = 0 if segment.operator == "+" else sizes.get(segment.name, 1)
            total += max(own, longest(segment.word, sizes) if segment.operator else 0)
        if total > MAX_VALUE:
            return MAX_VALUE + 1
    return total


def references(segments: tuple[Segment, ...]) -> frozenset[str]:
    """Return the names that `segments` refer to, those within words too."""
    names: set[str] = set()
    for segment in segments:
        if isinstance(segment, Variable):
            names |= {segment.name} | references(segment.word)
    return frozenset(names)


def _append(segments: tuple[Segment, ...], env: Mapping[str, str], made: list[str], size: int) -> int:
    """Add the texts of `segments` to `made`, which holds `size` bytes; return how many it holds then."""
    for segment in segments:
        if isinstance(segment, Variable):
            value = env.get(segment.name, "")
            if segment.operator and bool(value) == (segment.operator == "+"):
                size = _append(segment.word, env, made, size)
                continue
            text = "" if segment.operator == "+" else value
        else:
            text = segment
        size += len(text.encode("utf-8", "surrogatepass"))
        if size > MAX_VALUE:
            raise ExpansionError(TOO_LONG)
        made.append(text)
    return size


def _parse(text: str, at: int, stop: str, depth: int) -> tuple[tuple[Segment, ...], int]:
    """Read segments from `at` up to the character `stop` (the end when empty)."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"references are nested more than {_MAX_DEPTH} deep")
    segments: list[Segment] = []
    literal: list[str] = []
    while at < len(text) and text[at] != stop:
        if text[at] == "\\":
            run = _BACKSLASHES.match(text, at).end() - at  # type: ignore[union-attr]  # there is one at `at`
            dollar = text[at + run : at + run + 1] == "$"
            literal.append("\\" * (run // 2 if dollar else run))
            at += run
            if dollar and run % 2:
                literal.append("$")
                at += 1
        elif text[at] == "$" and (found := _reference(text, at, depth)) is not None:
            variable, at = found
            if literal:
                segments.append("".join(literal))
                literal = []
            segments.append(variable)
        else:
            literal.append(text[at])
            at += 1
    if literal:
        segments.append("".join(literal))
    return tuple(segments), at


def _reference(text: str, at: int, depth: int) -> tuple[Variable, int] | None:
    """Read the reference whose `$` is at `at`; None when the dollar is only a dollar."""
    braced = text[at + 1 : at + 2] == "{"
    name = _NAME.match(text, at + 2 if braced else at + 1)
    if not braced:
        return (Variable(name[0]), name.end()) if name else None
    if name is None:
        raise ValueError(f"'${{' at character {at + 1} is not followed by a variable name; write '\\$' for a dollar")
    end = name.end()
    if text[end : end + 1] == "}":
        return Variable(name[0]), end + 1
    operator = text[end : end + 2]
    if not operator:
        raise ValueError(f"'${{{name[0]}' at character {at + 1} is never closed by '}}'")
    if operator not in {":-", ":+"}:
        raise ValueError(
            f"'${{{name[0]}' at character {at + 1} is followed by {operator[:1]!r}; known are '}}', ':-' and ':+'"
        )
    word, end = _parse(text, end + 2, "}", depth + 1)
    if end >= len(text):
        raise ValueError(f"'${{{name[0]}' at character {at + 1} is never closed by '}}'")
    return Variable(name[0], operator[1], word), end + 1
