"""Where parts of a spec come from that was put together in a pod: what the user wrote, not the text that was made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from runtimeimg.errors import Problem, SpecError
from runtimeimg.spec import LoadedSpec, load_spec_text
from runtimeimg.strategy.parameters import Naming

_PARAMETERS = {
    "base": "base-image",
    "workDir": "work-dir",
    "directories": "directories",
    "entrypoint": "entrypoint",
    "env": "env",
    "labels": "labels",
}
"""The parameters by the keys of spec.runtime that they set."""
_KEY = re.compile(r"spec\.runtime\.(\w+)(?:\[(\d+)\])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """Which keys of spec.runtime parameters set, and to what."""

    naming: Naming
    changes: Mapping[str, Any]

    def label(self, path: str) -> str | None:
        """Return what to call the parameter that a dotted path leads to, None where it is none's."""
        found = _KEY.match(path)
        key = found[1] if found else ""
        if found is None or key not in self.changes:
            return None
        rest = path[found.end() :]
        if key in {"env", "labels"} and rest and not any(name in rest for name in self.changes[key]):
            return None
        item = f", item {int(found[2]) + 1}" if found[2] else ""
        return f"<parameter {self.naming.name(_PARAMETERS[key])}{item}>"


@dataclass(frozen=True, slots=True)
class MergedSpec(LoadedSpec):
    """A spec with parameters over it; `given` is what they were put over, None where they are all there is."""

    given: LoadedSpec | None
    owners: Owners

    def place(self, path: str) -> str:
        """Return the parameter that a path leads to, else where it is in what was given."""
        label = self.owners.label(path)
        if label is not None:
            return f"{label}: {path}"
        return f"<parameters>: {path}" if self.given is None else self.given.place(path)


def with_parameters(data: bytes, given: LoadedSpec | None, owners: Owners) -> LoadedSpec:
    """Return the spec in `data`, which parameters were put into; SpecError names them where they are wrong."""
    try:
        loaded = load_spec_text(data, "<parameters>")
    except SpecError as error:
        raise SpecError([_moved(problem, given, owners) for problem in error.problems], hint=error.hint) from None
    return MergedSpec(loaded.spec, loaded.file, loaded.root, given, owners)


def _moved(problem: Problem, given: LoadedSpec | None, owners: Owners) -> Problem:
    label = owners.label(problem.path)
    if label is None and given is not None:
        line, column = given.position(problem.path)
        return replace(problem, file=given.file, line=line, column=column)
    return replace(problem, file=label or "<parameters>", line=0, column=0)
