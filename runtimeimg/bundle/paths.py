"""Fields of a config.json by dotted paths: `process.rlimits[0].soft`, and `process.rlimits[].soft` for any of them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_NUMBERS = re.compile(r"\[[0-9]+\]")


@dataclass(frozen=True, slots=True)
class Field:
    """A field that is there: its path, the path with its numbers taken out, and its value."""

    path: str
    pattern: str
    value: Any


def fields(config: Mapping[str, Any]) -> Iterator[Field]:
    """Yield all fields of a document, each before what is in it."""
    pending: list[tuple[str, Any]] = [(key, value) for key, value in reversed([*config.items()])]
    while pending:
        path, value = pending.pop()
        yield Field(path, pattern(path), value)
        if isinstance(value, Mapping):
            pending += [(f"{path}.{key}", inner) for key, inner in reversed([*value.items()])]
        elif isinstance(value, list):
            pending += [(f"{path}[{number}]", inner) for number, inner in reversed([*enumerate(value)])]


def pattern(path: str) -> str:
    """Return a path with the numbers of its items taken out."""
    return _NUMBERS.sub("[]", path)


def normal(path: str) -> str:
    """Return an absolute path without `.`, `..` and needless slashes, two at its beginning among them."""
    return "/" + posixpath.normpath(path).lstrip("/")


def at(config: Any, path: str) -> Any:
    """Return the value at a path without numbers, None where there is none."""
    for key in path.split("."):
        config = config.get(key) if isinstance(config, Mapping) else None
    return config
