"""Loading a Build spec: bytes to a checked value that knows where everything stands in its file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from runtimeimg.errors import SpecError
from runtimeimg.spec import documents, specfile, yamlnodes
from runtimeimg.spec.guide import BUILD
from runtimeimg.spec.models import BuildSpec
from runtimeimg.spec.yamlnodes import Document, Node

_OTHER_NAMES = {"directories": "paths", "paths": "directories", "cmd": "args", "args": "cmd"}


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
        return documents.position(self.root, path, _OTHER_NAMES)

    def place(self, path: str) -> str:
        """Return `file:line:column: path`."""
        line, column = self.position(path)
        return f"{self.file}:{line}:{column}: {path}"

    def of_variant(self, name: str, path: str) -> str:
        """Return the path of what a variant has in place of `path`; that itself where it has nothing."""
        names = [item.name for item in self.spec.spec.variants]
        if name in names and path.startswith("spec."):
            own = f"spec.variants[{names.index(name)}].{path.removeprefix('spec.')}"
            if documents.holds(self.root, own, _OTHER_NAMES):
                return own
        return path


def load_spec(path: str | os.PathLike[str]) -> LoadedSpec:
    """Return the spec in a file.

    Raises NotFoundError for a file that does not exist, UsageError for one that cannot be read, and SpecError with
    all that is wrong in it.
    """
    return load_spec_text(*specfile.read(path))


def load_spec_text(data: bytes, file: str = "<stdin>") -> LoadedSpec:
    """Return the spec in `data`; `file` is the name for messages. Raises SpecError with all that is wrong."""
    loaded = documents.validate(_choose(yamlnodes.compose(data, file), file), BuildSpec, file, BUILD)
    return LoadedSpec(loaded.value, file, loaded.root)


def _choose(found: Sequence[Document], file: str) -> Document:
    """Return the one Build among the documents of a file."""
    if not found:
        raise SpecError([documents.problem(file, (0, 0), "is empty; a Build is wanted")])
    if len(found) == 1:
        document = found[0]
        if document.root.entries is None:
            place = (document.root.line, document.root.column)
            problem = documents.problem(file, place, "is not a map; a Build begins with 'apiVersion:'")
            raise SpecError([*document.problems, problem])
        return document
    builds = [document for document in found if _is_build(document.root)]
    if len(builds) == 1:
        return builds[0]
    lines = ", ".join(str(document.root.line) for document in builds or found)
    if builds:
        place = (builds[1].root.line, builds[1].root.column)
        message = f"holds {len(builds)} Builds, at lines {lines}; keep each in a file of its own"
    else:
        place = (found[0].root.line, found[0].root.column)
        message = f"holds {len(found)} documents, at lines {lines}, and none has 'kind: Build'"
    raise SpecError([documents.problem(file, place, message)])


def _is_build(root: Node) -> bool:
    kind = root.child("kind")
    return kind is not None and kind.node.value == "Build"
