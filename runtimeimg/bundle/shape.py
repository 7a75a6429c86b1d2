"""Shapes of JSON values: what a document may hold, and what is wrong with one that holds something else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

Kind = Literal["text", "integer", "flag", "list", "object", "map", "any"]
_NAMES = {
    "text": "a text",
    "integer": "a whole number",
    "flag": "true or false",
    "list": "a list",
    "object": "an object",
    "map": "an object",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a value may be. `item` is what lists and maps hold; `fields` of an object may be missing but `required`."""

    kind: Kind
    item: Shape | None = None
    fields: Mapping[str, Shape] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None
    fewest: int = 0
    choices: tuple[str, ...] = ()
    pattern: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """Something that does not fit; `unknown` when it is a field that nothing knows."""

    path: str
    message: str
    unknown: bool = False


def text(*, choices: tuple[str, ...] = (), pattern: str = "") -> Shape:
    """Return the shape of a text."""
    return Shape(kind="text", choices=choices, pattern=pattern)


def integer(least: int | None = None, most: int | None = None) -> Shape:
    """Return the shape of a whole number."""
    return Shape(kind="integer", least=least, most=most)


def listed(item: Shape, *, fewest: int = 0) -> Shape:
    """Return the shape of a list."""
    return Shape(kind="list", item=item, fewest=fewest)


def mapped(item: Shape) -> Shape:
    """Return the shape of an object with any keys but the empty one."""
    return Shape(kind="map", item=item)


def record(fields: Mapping[str, Shape], *required: str) -> Shape:
    """Return the shape of an object."""
    return Shape(kind="object", fields=fields, required=required)


FLAG, ANY = Shape(kind="flag"), Shape(kind="any")
TEXT, TEXTS = text(), listed(text())


def wrong(value: Any, shape: Shape, path: str = "") -> Iterator[Wrong]:
    """Yield what of a value does not fit a shape, in its order."""
    if shape.kind == "any":
        return
    if not _is(value, shape.kind):
        yield Wrong(path=path, message=f"{_shown(value)} is not {_NAMES[shape.kind]}")
    elif shape.kind == "object":
        yield from _fields(value, shape, path)
    elif shape.kind == "map":
        for key, inner in value.items():
            if not key:
                yield Wrong(path=path, message="a key is empty")
            yield from wrong(inner, shape.item or ANY, f"{path}.{key}")
    elif shape.kind == "list":
        if len(value) < shape.fewest:
            yield Wrong(path=path, message=f"it holds {len(value)} items; {shape.fewest} are needed")
        for number, inner in enumerate(value):
            yield from wrong(inner, shape.item or ANY, f"{path}[{number}]")
    elif (message := _bounds(value, shape)) is not None:
        yield Wrong(path=path, message=message)


def near(name: str, known: tuple[str, ...]) -> str:
    """Return a hint at the nearest of some names, empty where none is near."""
    found = get_close_matches(name[:60], known, 1) or get_close_matches(name[:60].upper(), known, 1)
    return f"did you mean '{found[0]}'?" if found else ""


def _fields(value: Mapping[str, Any], shape: Shape, path: str) -> Iterator[Wrong]:
    for key in shape.required:
        if key not in value:
            yield Wrong(path=_join(path, key), message="it is missing")
    for key, inner in value.items():
        if key in shape.fields:
            yield from wrong(inner, shape.fields[key], _join(path, key))
        else:
            hint = near(key, tuple(shape.fields))
            message = "no version of the specification knows this field" + (f"; {hint}" if hint else "")
            yield Wrong(path=_join(path, key), message=message, unknown=True)


def _bounds(value: Any, shape: Shape) -> str | None:
    """Return what is wrong with a text or number of the right type."""
    if shape.kind == "integer":
        if shape.least is not None and value < shape.least:
            return f"{value} is less than {shape.least}"
        if shape.most is not None and value > shape.most:
            return f"{_shown(value)} is more than {shape.most}"
    if shape.choices and value not in shape.choices:
        hint = near(value, shape.choices)
        return f"{_shown(value)} is none of {', '.join(shape.choices)}" + (f"; {hint}" if hint else "")
    if shape.pattern and re.search(shape.pattern, value) is None:
        return f"{_shown(value)} is not of the form {shape.pattern}"
    return None


def _is(value: Any, kind: Kind) -> bool:
    types: Mapping[str, type | tuple[type, ...]] = {
        "text": str,
        "integer": int,
        "flag": bool,
        "list": list,
        "object": Mapping,
        "map": Mapping,
    }
    return isinstance(value, types[kind]) and not (kind == "integer" and isinstance(value, bool))


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _shown(value: Any) -> str:
    if isinstance(value, (list, Mapping)):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    found = repr(value)
    return found if len(found) <= 80 else f"{found[:77]}..."
