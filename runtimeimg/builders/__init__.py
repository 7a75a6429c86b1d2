"""Builders, found by the entry-point group `runtimeimg.builders`."""

from __future__ import annotations

from runtimeimg.builders.base import Builder, BuildRequest

__all__ = ["BuildRequest", "Builder", "builder_names", "load_builder"]

GROUP = "runtimeimg.builders"


def builder_names() -> tuple[str, ...]:
    """Return the names of all installed builders, sorted."""
    from importlib.metadata import entry_points

    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)}))


def load_builder(name: str) -> Builder:
    """Return the builder called `name`; UnavailableError names those that are installed."""
    from importlib.metadata import entry_points

    from runtimeimg.errors import UnavailableError

    found = entry_points(group=GROUP, name=name)
    if not found:
        raise UnavailableError(f"builder '{name}' is not installed", hint="installed are " + ", ".join(builder_names()))
    builder: Builder = next(iter(found)).load()()
    return builder
