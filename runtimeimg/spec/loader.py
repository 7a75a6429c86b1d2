"""Loading a Build spec: bytes to a checked value that knows where everything stands in its file."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from runtimeimg.errors import Problem, SpecError
from runtimeimg.spec import problems, specfile, yamlnodes
from runtimeimg.spec.models import BuildSpec
from runtimeimg.spec.yamlnodes import Document, Entry, Node

MAX_PROBLEMS = 100
"""Problems of one file that are shown."""

_OTHER_NAMES = {"directories": "paths", "paths": "directories", "cmd": "args", "args": "cmd"}
_INDEX = re.compile(r"\[(\d{1,9})\]")
_QUOTED = re.compile(r"\[(['\"])(.*?)\1\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class LoadedSpec:
    """A valid spec, the file it came from, and the positions of its parts."""

    spec: BuildSpec
    file: str
    root: Node = field(repr=False, compare=False)

    def position(self, path: str) -> tuple[int, int]:
        """Return line and column, from 1, of a dotted path such as `spec.runtime.directories[1]`.

        A path that the file does not have (a default) gets the place of its nearest ancestor; `directories` and
        `paths`, `cmd` and `args` stand for each other.
        """
        node, place, rest = self.root, (self.root.line, self.root.column), path
        while rest and (step := _step(node, rest)) is not None:
            entry, rest = step
            node, place = entry.node, entry.place
        return place

    def place(self, path: str) -> str:
        """Return `file:line:column: path`."""
        line, column = self.position(path)
        return f"{self.file}:{line}:{column}: {path}"


def load_spec(path: str | os.PathLike[str]) -> LoadedSpec:
    """Return the spec in a file.

    Raises NotFoundError for a file that does not exist, UsageError for one that cannot be read, and SpecError with
    all that is wrong in it.
    """
    return load_spec_text(*specfile.read(path))


def load_spec_text(data: bytes, file: str = "<stdin>") -> LoadedSpec:
    """Return the spec in `data`; `file` is the name for messages. Raises SpecError with all that is wrong."""
    document = _choose(yamlnodes.compose(data, file), file)
    root = document.root
    try:
        spec = BuildSpec.model_validate(root.plain())
    except ValidationError as error:
        found = problems.collect(root, error.errors(include_url=False, include_input=False), file)
    else:
        found = problems.collect(root, [], file)
        if not found and not document.problems:
            return LoadedSpec(spec, file, root)
    raise SpecError(_bounded(problems.ordered([*document.problems, *found]), file)) from None


def _choose(documents: Sequence[Document], file: str) -> Document:
    """Return the one Build among the documents of a file."""
    if not documents:
        raise SpecError([_problem(file, (0, 0), "is empty; a Build is wanted")])
    if len(documents) == 1:
        document = documents[0]
        if document.root.entries is None:
            place = (document.root.line, document.root.column)
            problem = _problem(file, place, "is not a map; a Build begins with 'apiVersion:'")
            raise SpecError([*document.problems, problem])
        return document
    builds = [document for document in documents if _is_build(document.root)]
    if len(builds) == 1:
        return builds[0]
    lines = ", ".join(str(document.root.line) for document in builds or documents)
    if builds:
        place = (builds[1].root.line, builds[1].root.column)
        message = f"holds {len(builds)} Builds, at lines {lines}; keep each in a file of its own"
    else:
        place = (documents[0].root.line, documents[0].root.column)
        message = f"holds {len(documents)} documents, at lines {lines}, and none has 'kind: Build'"
    raise SpecError([_problem(file, place, message)])


def _bounded(found: list[Problem], file: str) -> list[Problem]:
    """Return the first problems, and how many more there are."""
    more = len(found) - MAX_PROBLEMS
    return found if more <= 0 else [*found[:MAX_PROBLEMS], _problem(file, (0, 0), f"has {more} more problems")]


def _is_build(root: Node) -> bool:
    kind = root.child("kind")
    return kind is not None and kind.node.value == "Build"


def _problem(file: str, place: tuple[int, int], message: str) -> Problem:
    return Problem(file=file, line=place[0], column=place[1], path="", message=message)


def _step(node: Node, rest: str) -> tuple[Entry, str] | None:
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
    other = node.child(_OTHER_NAMES.get(head, head))
    return (other, rest[len(head) :].removeprefix(".")) if other else None
