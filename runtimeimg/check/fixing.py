"""Copies that findings ask for, added to the text of a spec: nothing else of it changes, comments included."""

from __future__ import annotations

from collections.abc import Iterable

from runtimeimg.check.facts import to_copy
from runtimeimg.errors import UsageError
from runtimeimg.findings import Finding
from runtimeimg.strategy import data, editing, layout
from runtimeimg.strategy.layout import Place

MAX_ROUNDS = 10
"""How often is looked again: a library that is added may need others."""


def wanted(findings: Iterable[Finding]) -> list[str]:
    """Return the paths of the builder image that would mend findings, each once."""
    return list(dict.fromkeys(path for item in findings if (path := to_copy(item.fix)) is not None))


def with_copies(text: str, file: str, paths: Iterable[str], variant: str | None = None) -> str:
    """Return the text of a spec with paths added to its directories; those of a variant that has its own to these.

    Raises UsageError where there is no list of them to add to, and SpecError for what is no YAML.
    """
    added = [entry(path) for path in paths]
    place = _directories(text, file, variant)
    if place.flow:
        return editing.apply(text, [editing.flow_items(place, added)])
    lines = layout.split_lines(text)
    column = layout.dash_column(lines, place)
    more = "".join(f"{' ' * column}- {data.flow(item)}\n" for item in added)
    return editing.apply(text, [editing.lines_at(layout.line_after(lines, place, column), more)])


def entry(path: str) -> str | dict[str, str]:
    """Return a path as an item of `directories`; one with a colon needs the long form."""
    return {"source": path, "destination": path} if ":" in path else path


def _directories(text: str, file: str, variant: str | None) -> Place:
    for document in layout.read(text, file):
        spec = document.place.entries.get("spec") if document.place.kind == "map" else None
        if spec is None or not isinstance(document.data, dict) or document.data.get("kind") != "Build":
            continue
        places = []
        if variant is not None and (variants := spec.entries.get("variants")) is not None:
            told = document.data["spec"]["variants"]
            places += [item for item, said in zip(variants.items, told, strict=False) if said.get("name") == variant]
        for place in (*places, spec):
            runtime = place.entries.get("runtime")
            for key in ("directories", "paths"):
                if runtime is not None and key in runtime.entries:
                    return editing.block(runtime.entries[key], key, "list", flow=True)
    raise UsageError(f"'{file}' has no list of directories to add to", hint="write spec.runtime.directories")
