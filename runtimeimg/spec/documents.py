"""Documents that people write, whatever they mean: YAML or JSON to a valid model that knows where everything stands.

    loaded = documents.read(path, Preferences, what="preferences")
    loaded.value            the model
    loaded.place("a.b[1]")  "file:3:7: a.b[1]"

All that is wrong with a document is raised at once, each with file, line, column and dotted path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from runtimeimg import hostfile
from runtimeimg.errors import Problem, SpecError
from runtimeimg.spec import problems, yamlnodes, yamltext
from runtimeimg.spec.problems import Guide
from runtimeimg.spec.yamlnodes import Document, Entry, Node

MAX_PROBLEMS = 100
"""Problems of one file that are shown."""

_INDEX = re.compile(r"\[(\d{1,9})\]")
_QUOTED = re.compile(r"\[(['\"])(.*?)\1\]", re.DOTALL)
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[_Model]):
    """A valid document, the file it came from, and the positions of its parts."""

    value: _Model
    file: str
    root: Node = field(repr=False, compare=False)

    def place(self, path: str) -> str:
        """Return `file:line:column: path` of a dotted path."""
        line, column = position(self.root, path)
        return f"{self.file}:{line}:{column}: {path}"


def read(path: Path, model: type[_Model], what: str, guide: Guide | None = None) -> Loaded[_Model]:
    """Return the document in a file; `what` is the word for its kind in messages, such as `preferences`.

    Raises NotFoundError for a file that does not exist, UsageError or InvalidDocumentError for one that cannot be
    read, and SpecError with all that is wrong in it.
    """
    data = hostfile.read_file(path, yamltext.MAX_BYTES, what)
    name = str(path)
    return load(data, model, what, name if name.isprintable() else repr(name)[1:-1], guide)


def load(
    data: bytes, model: type[_Model], what: str, file: str = "<stdin>", guide: Guide | None = None
) -> Loaded[_Model]:
    """Return the document in `data`; `file` is the name for messages. Raises SpecError with all that is wrong."""
    return validate(single(yamlnodes.compose(data, file), what, file), model, file, guide)


def single(found: tuple[Document, ...], what: str, file: str) -> Document:
    """Return the one document of a file, a map; raise SpecError where there is none or another."""
    if not found:
        raise SpecError([problem(file, (0, 0), f"is empty; {what} wanted")])
    if len(found) > 1:
        second = found[1].root
        message = f"holds {len(found)} documents; keep each in a file of its own"
        raise SpecError([problem(file, (second.line, second.column), message)])
    root = found[0].root
    if root.entries is None:
        raise SpecError([*found[0].problems, problem(file, (root.line, root.column), f"is not a map; {what} wanted")])
    return found[0]


def validate(document: Document, model: type[_Model], file: str, guide: Guide | None = None) -> Loaded[_Model]:
    """Return a document as a value of `model`; raise SpecError with all that is wrong with it, in document order."""
    root, guide = document.root, guide or Guide(model=model)
    try:
        value = model.model_validate(root.plain(as_written=guide.as_written))
    except ValidationError as error:
        found = problems.collect(root, error.errors(include_url=False, include_input=False), file, guide)
    else:
        found = problems.collect(root, [], file, guide)
        if not found and not document.problems:
            return Loaded(value, file, root)
    raise SpecError(_bounded(problems.ordered([*document.problems, *found]), file)) from None


def position(root: Node, path: str, other_names: Mapping[str, str] | None = None) -> tuple[int, int]:
    """Return line and column, from 1, of a dotted path such as `spec.runtime.directories[1]`.

    A path that the file does not have (a default) gets the place of its nearest ancestor; `other_names` says which
    keys stand for each other.
    """
    return _followed(root, path, other_names)[0]


def holds(root: Node, path: str, other_names: Mapping[str, str] | None = None) -> bool:
    """Tell whether a document has what a dotted path leads to."""
    return not _followed(root, path, other_names)[1]


def _followed(root: Node, path: str, other_names: Mapping[str, str] | None) -> tuple[tuple[int, int], str]:
    """Return the place that a dotted path leads to, and what of the path the document does not have."""
    node, place, rest = root, (root.line, root.column), path
    while rest and (step := _step(node, rest, other_names or {})) is not None:
        entry, rest = step
        node, place = entry.node, entry.place
    return place, rest


def problem(file: str, place: tuple[int, int], message: str) -> Problem:
    """Return a problem of the document as a whole."""
    return Problem(file=file, line=place[0], column=place[1], path="", message=message)


def _bounded(found: list[Problem], file: str) -> list[Problem]:
    """Return the first problems, and how many more there are."""
    more = len(found) - MAX_PROBLEMS
    return found if more <= 0 else [*found[:MAX_PROBLEMS], problem(file, (0, 0), f"has {more} more problems")]


def _step(node: Node, rest: str, other_names: Mapping[str, str]) -> tuple[Entry, str] | None:
    """Take the first key off a dotted path: the entry it leads to and what is left of the path."""
    if node.items is not None:
        index = _INDEX.match(rest)
        entry = node.child(int(index[1])) if index else None
        return (entry, rest[index.end() :].removeprefix(".")) if entry and index else None
    if node.entries is None:
        return None
    quoted = _QUOTED.match(rest)
    if quoted and (entry := node.child(quoted[2])):
        return entry, rest[quoted.end() :].removeprefix(".")
    names = [name for name in node.entries if rest == name or rest.startswith((name + ".", name + "["))]
    if names:
        name = max(names, key=len)  # keys may hold dots themselves
        return node.entries[name], rest[len(name) :].removeprefix(".")
    head = re.split(r"[.\[]", rest, maxsplit=1)[0]
    other = node.child(other_names.get(head, head))
    return (other, rest[len(head) :].removeprefix(".")) if other else None
