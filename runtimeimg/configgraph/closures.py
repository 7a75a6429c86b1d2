"""Artefacts that are paths of a store, with their closures (the way of Nix)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runtimeimg.configgraph.model import Artefact, Layer
from runtimeimg.configgraph.reading import Written


def artefact(
    document: Written, run: Callable[[Sequence[str]], str | None] | None
) -> tuple[Artefact, tuple[Layer, ...]]:
    """Return the node of a store path and those of its closure."""
    raise NotImplementedError
