"""What pydantic found, said as a person would and placed where it stands in the file."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runtimeimg.errors import Problem
from runtimeimg.spec.checks import shown
from runtimeimg.spec.models import API_VERSIONS, DebugImage, Directory, Expose, Runtime, User
from runtimeimg.spec.yamlnodes import Key, Node, Path, format_path

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

_CLOSED: Mapping[str, type[BaseModel]] = {
    "runtime": Runtime,
    "base": DebugImage,
    "debug": DebugImage,
    "directories": Directory,
    "paths": Directory,
    "user": User,
    "expose": Expose,
}
_COMMANDS = frozenset({"entrypoint", "cmd", "args", "daemons"})
_PAIRS = (("directories", "paths"), ("cmd", "args"))
_MEANT = {
    "command": "entrypoint",
    "copy": "directories",
    "dest": "destination",
    "environment": "env",
    "exposedports": "expose",
    "files": "directories",
    "from": "base",
    "image": "base",
    "owner": "chown",
    "ports": "expose",
    "services": "daemons",
    "src": "source",
    "to": "destination",
    "workingdir": "workDir",
}
_MAPS = {
    "directories": "a path such as '/workspace/source/dist' or a map with a source",
    "paths": "a path such as '/workspace/source/dist' or a map with a source",
    "expose": "a port number such as 8080 or a map with a port",
    "user": "a user such as 'app' or a map with a name",
}
_EXAMPLES = {
    "base": "{image: debian:bookworm-slim}",
    "debug": "{image: busybox:stable}",
    "env": "{NAME: value}",
    "labels": "{org.example.team: web}",
    "annotations": "{org.example.team: web}",
    "image": "debian:bookworm-slim",
    "port": "8080",
    "source": "/workspace/source/dist",
    "apiVersion": API_VERSIONS[0],
    "kind": "Build",
    "runtime": "{base: {image: debian:bookworm-slim}}",
    "spec": "{runtime: {base: {image: debian:bookworm-slim}}}",
}


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


def collect(root: Node, errors: Iterable[ErrorDetails], file: str) -> list[Problem]:
    """Return the problems of a document: those that only its nodes show, and pydantic's."""
    errors = list(errors)
    unknown = {error["loc"] for error in errors if error["type"] == "extra_forbidden"}
    problems = [*_nulls(root, file, unknown), *_pairs(root, file)]
    taken = {(problem.line, problem.column) for problem in problems}
    if any(error["loc"] == ("kind",) for error in errors):
        errors = [error for error in errors if error["loc"] in {("kind",), ("apiVersion",)}]
    suggested = {path for error in errors if (path := _suggested(root, error))}
    for error in errors:
        if error["type"] == "missing" and error["loc"] in suggested:
            continue
        problem = _problem(root, error, file)
        if (problem.line, problem.column) not in taken or error["type"] == "missing":
            problems.append(problem)
    return problems


def ordered(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems in the order of the file, each once."""
    return sorted(dict.fromkeys(problems), key=lambda problem: (problem.line, problem.column))


def _problem(root: Node, error: ErrorDetails, file: str) -> Problem:
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
    message = _message(root, error, loc, found)
    return Problem(file=file, line=line, column=column, path=format_path(path), message=message)


def _key_place(root: Node, path: Sequence[Key]) -> tuple[int, int]:
    entry = find(root, path[:-1]).node.child(path[-1])
    return (entry.key_line, entry.key_column) if entry else (root.line, root.column)


def _message(root: Node, error: ErrorDetails, loc: tuple[Key, ...], found: Found) -> str:
    match error["type"]:
        case "at" | "value_error":
            return str(error["ctx"].get("message") or error["ctx"]["error"])
        case "missing":
            return _missing(root, loc)
        case "extra_forbidden":
            return _unknown(loc)
        case "literal_error":
            return _literal(loc, found.node)
        case "string_type":
            return _wanted_text(found.node)
    return f"{_what(found.node)}; {_wanted(error['type'], loc, found.node)} is wanted"


def _wanted(kind: str, loc: tuple[Key, ...], node: Node) -> str:
    """Return what a type error should have found."""
    if kind in {"tuple_type", "list_type"}:
        return f"a list{_list_example(loc, node)}"
    if kind.startswith("int"):
        return "a whole number without quotes"
    names = [key for key in loc if isinstance(key, str)]
    key = names[-1] if names else ""
    if key in _MAPS:
        return _MAPS[key]
    return f"a map such as {_EXAMPLES[key]}" if key in _EXAMPLES else "a map"


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


def _list_example(loc: tuple[Key, ...], node: Node) -> str:
    """Return the list that a text was probably meant to be: of words where that is a command."""
    if not isinstance(node.value, str) or not node.text.strip() or len(node.text) > 60:
        return ""
    words: list[str] | list[list[str]] = [node.text]
    if _COMMANDS.intersection(map(str, loc)):
        try:
            words = shlex.split(node.text)
        except ValueError:
            words = node.text.split()
    if loc[-1] == "daemons":
        words = [[str(word) for word in words]]
    return f" such as {json.dumps(words, ensure_ascii=False)}"


def _missing(root: Node, loc: tuple[Key, ...]) -> str:
    key = str(loc[-1])
    parent = find(root, loc[:-1]).node
    others = [other for other in parent.entries or {} if other not in _known(loc[:-1])]
    near = difflib.get_close_matches(key.lower(), [other.lower() for other in others], 1, 0.7)
    for other in others:
        if near and other.lower() == near[0] and parent.entries:
            return f"is missing; did you misspell it as {shown(other)} at line {parent.entries[other].key_line}?"
    return f"is missing; write '{key}: {_EXAMPLES[key]}' or the like" if key in _EXAMPLES else "is missing"


def _known(path: Sequence[Key]) -> frozenset[str]:
    """Return the keys that mean something at a place."""
    if not path:
        return frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
    if len(path) == 1:
        return frozenset({"builder", "output", "source", "sources", "strategy", "runtimeClassName"})
    return frozenset(_keys_of(path))


def _keys_of(path: Sequence[Key]) -> list[str]:
    names = [key for key in path if isinstance(key, str)]
    model = _CLOSED.get(names[-1]) if names else None
    return [info.alias or name for name, info in model.model_fields.items()] if model else []


def _suggestion(loc: Sequence[Key]) -> str | None:
    """Return the key that an unknown one was probably meant to be."""
    key, known = str(loc[-1]), _keys_of(loc[:-1])
    folded = {name.lower(): name for name in known}
    if key.lower() in folded:
        return folded[key.lower()]
    meant = _MEANT.get(key.lower().replace("_", "").replace("-", ""))
    if meant in known:
        return meant
    near = difflib.get_close_matches(key.lower()[:40], list(folded), 1, 0.6)
    return folded[near[0]] if near else None


def _suggested(root: Node, error: ErrorDetails) -> tuple[Key, ...] | None:
    """Return the path that an unknown key was meant to be, where that is missing."""
    if error["type"] != "extra_forbidden" or (key := _suggestion(error["loc"])) is None:
        return None
    path = (*error["loc"][:-1], key)
    return None if find(root, path).path == path else path


def _unknown(loc: tuple[Key, ...]) -> str:
    key, known = str(loc[-1]), _keys_of(loc[:-1])
    if key == "credentials":
        return "unknown key 'credentials'; logins come from --authfile or from docker's own config"
    near = _suggestion(loc)
    hint = f"did you mean '{near}'?" if near else f"known are {', '.join(known)}"
    return f"unknown key {shown(key)}; {hint}"


def _literal(loc: tuple[Key, ...], node: Node) -> str:
    what = f"is {shown(node.text)}" if isinstance(node.value, str) else _what(node)
    if loc == ("kind",):
        return f"{what}; only 'Build' is known"
    near = difflib.get_close_matches(node.text[:60], API_VERSIONS, 1, 0.8)
    return f"{what}; did you mean '{near[0]}'?" if near else f"{what}; known are {', '.join(API_VERSIONS)}"


def _nulls(root: Node, file: str, unknown: Container[Path]) -> Iterator[Problem]:
    """Find keys and items of spec.runtime that have no value, those at or below `unknown` keys aside."""
    start = ("spec", "runtime")
    found = find(root, start)
    stack: list[tuple[tuple[Key, ...], Node, tuple[int, int]]] = []
    if found.path == start:
        stack.append((start, found.node, found.place))
    while stack:
        path, node, place = stack.pop()
        if path in unknown:
            continue
        if node.is_null:
            line, column = place
            yield Problem(file=file, line=line, column=column, path=format_path(path), message=_null(path))
        children = node.entries.items() if node.entries is not None else enumerate(node.items or ())
        stack.extend(((*path, key), entry.node, entry.place) for key, entry in children)


def _null(path: Sequence[Key]) -> str:
    if len(path) > 2 and path[2] in {"env", "labels", "annotations"} and len(path) > 3:
        return "is empty; write a text, or '' for an empty one"
    example = _EXAMPLES.get(str(path[-1]))
    what = "the item" if isinstance(path[-1], int) else "the key"
    return f"is empty; write a value such as {example}" if example else f"is empty; give it a value or remove {what}"


def _pairs(root: Node, file: str) -> Iterator[Problem]:
    """Find lists that were given under both of their names."""
    found = find(root, ("spec", "runtime"))
    entries = found.node.entries if len(found.path) == 2 else None
    for first, second in _PAIRS:
        if entries and first in entries and second in entries:
            one, two = sorted((entries[first], entries[second]), key=lambda entry: (entry.key_line, entry.key_column))
            earlier, later = (first, second) if one is entries[first] else (second, first)
            message = f"'{later}' is another name of '{earlier}' at line {one.key_line}; keep one of the two"
            yield Problem(file=file, line=two.key_line, column=two.key_column, path="spec.runtime", message=message)
