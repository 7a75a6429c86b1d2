"""What pydantic found, said as a person would and placed where it stands in the file.

A `Guide` says what is known about a kind of document; the rest is read from its model.
"""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runtimeimg.errors import Problem
from runtimeimg.spec import modelpaths
from runtimeimg.spec.checks import shown
from runtimeimg.spec.yamlnodes import Entry, Key, Node, Path, format_path

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

_MAP_TYPES = frozenset({"model_type", "model_attributes_type", "dict_type", "mapping_type", "dataclass_type"})
_SCALARS = {
    "int": "a whole number without quotes",
    "float": "a number without quotes",
    "finite": "a number without quotes",
    "bool": "'true' or 'false' without quotes",
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_EXPECTED = re.compile(r"'((?:[^'\\]|\\.)*)'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """What helps to explain errors of one kind of document, beside its model; keys are the last of a path."""

    model: type[BaseModel]
    examples: Mapping[str, str] = field(default_factory=dict)
    """A value as it could be written."""
    wanted: Mapping[str, str] = field(default_factory=dict)
    """What is wanted where a map is, and short forms of it are."""
    meant: Mapping[str, str] = field(default_factory=dict)
    """Other words for keys, in lower case without `-` and `_`."""
    foreign: Mapping[str, str] = field(default_factory=dict)
    """Unknown keys that have a hint of their own."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """What is said of keys that nobody sets, by dotted paths."""
    tolerated: Mapping[Path, frozenset[str]] = field(default_factory=dict)
    """Keys that mean something at a place though the model does not name them."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Two names of one key, of which a map at `start` may have one."""
    commands: frozenset[str] = frozenset()
    """Lists that are commands: a text in their place is split as a shell does."""
    start: Path = ()
    """Nothing at or below this place may be empty (null)."""
    also: tuple[Path, ...] = ()
    """Further places of the kind; `*` stands for any item of a list."""
    as_written: bool = False
    """Whether all values are texts, of which `6.10`, `0300` and `true` are ones too."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where a path leads: how much of it is in the file, the place, and the node there."""

    path: tuple[Key, ...]
    place: tuple[int, int]
    node: Node


def find(root: Node, path: Sequence[Key]) -> Found:
    """Follow `path` as far as the file has it."""
    node, place = root, (root.line, root.column)
    for depth, key in enumerate(path):
        entry = node.child(key)
        if entry is None:
            return Found(tuple(path[:depth]), place, node)
        node, place = entry.node, entry.place
    return Found(tuple(path), place, node)


def collect(root: Node, errors: Iterable[ErrorDetails], file: str, guide: Guide) -> list[Problem]:
    """Return the problems of a document: those that only its nodes show, and pydantic's."""
    errors = list(errors)
    unknown = {error["loc"] for error in errors if error["type"] == "extra_forbidden"}
    problems = [*_nulls(root, file, unknown, guide), *_pairs(root, file, guide)]
    taken = {(problem.line, problem.column) for problem in problems}
    if any(error["loc"] == ("kind",) for error in errors):
        errors = [error for error in errors if error["loc"] in {("kind",), ("apiVersion",)}]
    suggested = {path for error in errors if (path := _suggested(root, error, guide))}
    for error in errors:
        if error["type"] == "missing" and error["loc"] in suggested:
            continue
        problem = _problem(root, error, file, guide)
        if (problem.line, problem.column) not in taken or error["type"] == "missing":
            problems.append(problem)
    return problems


def ordered(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems in the order of the file, each once."""
    return sorted(dict.fromkeys(problems), key=lambda problem: (problem.line, problem.column))


def _problem(root: Node, error: ErrorDetails, file: str, guide: Guide) -> Problem:
    loc = tuple(error["loc"])
    is_key = bool(loc) and loc[-1] == "[key]"
    context: Mapping[str, Any] = error.get("ctx", {})
    extra = tuple(context.get("path", ())) if error["type"] == "at" else ()
    found = find(root, (loc[:-1] if is_key else loc) + extra)
    path, place = found.path, found.place
    if error["type"] == "missing":
        path = loc if len(found.path) == len(loc) - 1 else found.path
    if is_key or error["type"] == "extra_forbidden":
        path, place = path[:-1], _key_place(root, path)
    line, column = place
    message = _message(root, error, loc, found, guide)
    return Problem(file=file, line=line, column=column, path=format_path(path), message=message)


def _key_place(root: Node, path: Sequence[Key]) -> tuple[int, int]:
    entry = find(root, path[:-1]).node.child(path[-1])
    return (entry.key_line, entry.key_column) if entry else (root.line, root.column)


def _message(root: Node, error: ErrorDetails, loc: tuple[Key, ...], found: Found, guide: Guide) -> str:
    match error["type"]:
        case "at" | "value_error":
            return str(error["ctx"].get("message") or error["ctx"]["error"])
        case "missing":
            return _missing(root, loc, guide)
        case "extra_forbidden":
            return _unknown(loc, guide)
        case "literal_error" | "enum":
            return _literal(str(error["ctx"]["expected"]), found.node)
        case "string_type":
            return _wanted_text(found.node)
    return f"{_what(found.node)}; {_wanted(error, loc, found.node, guide)} is wanted"


def _wanted(error: ErrorDetails, loc: tuple[Key, ...], node: Node, guide: Guide) -> str:
    """Return what an error of type or size should have found."""
    kind = error["type"]
    if kind in {"tuple_type", "list_type"}:
        return f"a list{_list_example(loc, node, guide)}"
    if kind in _BOUNDS:
        words, name = _BOUNDS[kind]
        return f"{words} {error['ctx'][name]}"
    if kind not in _MAP_TYPES:
        plain = f"something else ({error['msg'][:1].lower()}{error['msg'][1:200]})"
        return next((words for start, words in _SCALARS.items() if kind.startswith(start)), plain)
    names = [key for key in loc if isinstance(key, str)]
    key = names[-1] if names else ""
    if key in guide.wanted:
        return guide.wanted[key]
    return f"a map such as {guide.examples[key]}" if key in guide.examples else "a map"


def _what(node: Node) -> str:
    """Say what a value is: `is '8080', a text`."""
    if node.entries is not None:
        return "is a map"
    if node.items is not None:
        return "is a list"
    if node.value is None:
        return "is empty"
    kind = "a text" if isinstance(node.value, str) else "a boolean" if isinstance(node.value, bool) else "a number"
    return f"is {shown(node.text)}, {kind}"


def _wanted_text(node: Node) -> str:
    if node.entries is not None or node.items is not None:
        return f"{_what(node)}; a text is wanted"
    if node.value is None:
        return "is empty; write a text, or '' for an empty one"
    return f"{_what(node)}; put it in quotes: {shown(node.text)}"


def _list_example(loc: tuple[Key, ...], node: Node, guide: Guide) -> str:
    """Return the list that a text was probably meant to be: of words where that is a command."""
    if not isinstance(node.value, str) or not node.text.strip() or len(node.text) > 60:
        return ""
    words: list[str] | list[list[str]] = [node.text]
    if guide.commands.intersection(map(str, loc)):
        try:
            words = shlex.split(node.text)
        except ValueError:
            words = node.text.split()
    if loc[-1] == "daemons":
        words = [[str(word) for word in words]]
    return f" such as {json.dumps(words, ensure_ascii=False)}"


def _missing(root: Node, loc: tuple[Key, ...], guide: Guide) -> str:
    key, examples = str(loc[-1]), guide.examples
    parent = find(root, loc[:-1]).node
    known = {*modelpaths.keys(guide.model, loc[:-1]), *guide.tolerated.get(loc[:-1], ())}
    others = [other for other in parent.entries or {} if other not in known]
    near = difflib.get_close_matches(key.lower(), [other.lower() for other in others], 1, 0.7)
    for other in others:
        if near and other.lower() == near[0] and parent.entries:
            return f"is missing; did you misspell it as {shown(other)} at line {parent.entries[other].key_line}?"
    return f"is missing; write '{key}: {examples[key]}' or the like" if key in examples else "is missing"


def _suggestion(loc: Path, guide: Guide) -> str | None:
    """Return the key that an unknown one was probably meant to be."""
    key, known = str(loc[-1]), modelpaths.keys(guide.model, loc[:-1])
    folded = {name.lower(): name for name in known}
    if key.lower() in folded:
        return folded[key.lower()]
    meant = guide.meant.get(key.lower().replace("_", "").replace("-", ""))
    if meant in known:
        return meant
    near = difflib.get_close_matches(key.lower()[:40], list(folded), 1, 0.6)
    return folded[near[0]] if near else None


def _suggested(root: Node, error: ErrorDetails, guide: Guide) -> Path | None:
    """Return the path that an unknown key was meant to be, where that is missing."""
    if error["type"] != "extra_forbidden" or (key := _suggestion(error["loc"], guide)) is None:
        return None
    path = (*error["loc"][:-1], key)
    return None if find(root, path).path == path else path


def _unknown(loc: Path, guide: Guide) -> str:
    if (refused := guide.refused.get(format_path(loc))) is not None:
        return refused
    key, known = str(loc[-1]), modelpaths.keys(guide.model, loc[:-1])
    if key in guide.foreign:
        return f"unknown key '{key}'; {guide.foreign[key]}"
    near = _suggestion(loc, guide)
    hint = f"did you mean '{near}'?" if near else f"known are {', '.join(known)}" if known else "remove it"
    return f"unknown key {shown(key)}; {hint}"


def _literal(expected: str, node: Node) -> str:
    what = f"is {shown(node.text)}" if isinstance(node.value, str) else _what(node)
    known = [name for name in _EXPECTED.findall(expected) if name]
    if len(known) == 1:
        return f"{what}; only '{known[0]}' is known"
    near = difflib.get_close_matches(node.text[:60], known, 1, 0.8)
    return f"{what}; did you mean '{near[0]}'?" if near else f"{what}; known are {', '.join(known)}"


def _nulls(root: Node, file: str, unknown: Container[Path], guide: Guide) -> Iterator[Problem]:
    """Find keys and items that have no value, those at or below `unknown` keys aside."""
    if not root.nulls:
        return
    stack = [(found.path, found.node, found.place) for found in _starts(root, guide)]
    while stack:
        path, node, place = stack.pop()
        if path in unknown:
            continue
        if node.is_null:
            line, column = place
            yield Problem(file=file, line=line, column=column, path=format_path(path), message=_null(path, guide))
        children = node.entries.items() if node.entries is not None else enumerate(node.items or ())
        stack.extend(((*path, key), entry.node, entry.place) for key, entry in children)


def _null(path: Path, guide: Guide) -> str:
    if modelpaths.is_text_of_map(guide.model, path):
        return "is empty; write a text, or '' for an empty one"
    example = guide.examples.get(str(path[-1])) if path else None
    what = "the item" if path and isinstance(path[-1], int) else "the key"
    return f"is empty; write a value such as {example}" if example else f"is empty; give it a value or remove {what}"


def _pairs(root: Node, file: str, guide: Guide) -> Iterator[Problem]:
    """Find lists that were given under both of their names."""
    for found in _starts(root, guide):
        entries = found.node.entries
        for first, second in guide.pairs:
            if entries and first in entries and second in entries:
                yield _pair(file, found.path, (entries[first], first), (entries[second], second))


def _pair(file: str, path: Path, *given: tuple[Entry, str]) -> Problem:
    (one, earlier), (two, later) = sorted(given, key=lambda item: (item[0].key_line, item[0].key_column))
    message = f"'{later}' is another name of '{earlier}' at line {one.key_line}; keep one of the two"
    return Problem(file=file, line=two.key_line, column=two.key_column, path=format_path(path), message=message)


def _starts(root: Node, guide: Guide) -> Iterator[Found]:
    """Yield the places of the document below which nothing may be empty."""
    for pattern in (guide.start, *guide.also):
        yield from _matching(Found((), (root.line, root.column), root), pattern)


def _matching(found: Found, pattern: Path) -> Iterator[Found]:
    if not pattern:
        yield found
        return
    keys: Iterable[Key] = range(len(found.node.items or ())) if pattern[0] == "*" else (pattern[0],)
    for key in keys:
        entry = found.node.child(key)
        if entry is not None:
            yield from _matching(Found((*found.path, key), entry.place, entry.node), pattern[1:])
