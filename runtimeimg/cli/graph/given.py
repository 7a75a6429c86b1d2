"""What commands that ask a saved graph share: the graph, and nodes by their names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.text import json_escaped

if TYPE_CHECKING:
    from runtimeimg.configgraph.closure import Amount
    from runtimeimg.configgraph.model import Graph

graph_option = click.option(
    "-g",
    "--graph",
    "graph_file",
    type=click.Path(path_type=Path),
    default="graph.json",
    show_default=True,
    help="Graph that 'graph build' wrote.",
)


def load_whole(path: Path) -> Graph:
    """Return a saved graph, read whole; as all of it stays, nothing is looked through for garbage meanwhile."""
    import gc

    from runtimeimg.configgraph import saved

    gc.disable()
    try:
        return saved.load(path)
    finally:
        gc.enable()
        gc.freeze()


def show_json(data: Mapping[str, Any]) -> None:
    """Print a JSON document."""
    click.echo(json_escaped(json.dumps(data, indent=2, ensure_ascii=False)))


def amount_json(found: Amount) -> dict[str, int]:
    """Return how much some blobs are, as documents have it."""
    return {"count": found.count, "size": found.size, "unknownSizes": found.unknown}


def told(found: Amount) -> str:
    """Return how much some blobs are, for people."""
    from runtimeimg.text import human_size

    blobs = f"{found.count:,} blob{'' if found.count == 1 else 's'}, {human_size(found.size)}"
    return f"{blobs} and {found.unknown:,} of unknown size" if found.unknown else blobs
