"""What is said of encapsulated parameters that a document sets: who sets them."""

from __future__ import annotations

from collections.abc import Iterator

from runtimeimg.configgraph.parameter import Category, Parameter
from runtimeimg.configgraph.parameters import OF_AUTOMATON

DISCUSSION_ALIASES = {"namespaces": "linux.namespaces"}
"""Other places of encapsulated parameters: where the discussion has them."""


def refusal(item: Parameter) -> str:
    """Return what is said of an encapsulated parameter that a document sets."""
    return f"'{item.path}' is encapsulated: {item.setter} sets it; remove it here"


def refusals() -> dict[str, str]:
    """Return what is said of each key that nobody sets, by its dotted path in an Automaton."""
    return dict(_refusals())


def _refusals() -> Iterator[tuple[str, str]]:
    for item in OF_AUTOMATON.values():
        if item.category is Category.ENCAPSULATED:
            yield item.path, refusal(item)
    for name, path in DISCUSSION_ALIASES.items():
        yield name, f"'{name}' is encapsulated: {OF_AUTOMATON[path].setter} sets it, as '{path}'; remove it here"
