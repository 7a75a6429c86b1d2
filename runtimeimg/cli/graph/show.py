"""`runtimeimg graph show [NODE]`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli.graph.given import graph_option, show_json

if TYPE_CHECKING:
    from runtimeimg.configgraph.model import Node, View

FORMATS = ("table", "json", "dot", "mermaid", "svg", "html")
_LISTED = 40
"""Nodes of a kind that the table lists, and edges of a node."""


@click.command("show")
@click.argument("node", required=False)
@graph_option
@click.option(
    "--format", "output_format", type=click.Choice(FORMATS), default="table", show_default=True, help="What to write."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write.")
@click.option(
    "--boxes", type=click.IntRange(1, 1000), default=24, show_default=True, help="Boxes of a kind in pictures."
)
def command(node: str | None, graph_file: Path, output_format: str, output: Path | None, boxes: int) -> None:
    """Show a graph, or NODE with what it is tied to: automatons, artefacts, hosts, instances by their names or ids.

    Pictures fold what is many into boxes with counts. The page of html needs nothing else: one searches in it, and
    opens nodes to see their parameters.
    """
    from runtimeimg.configgraph import saved
    from runtimeimg.configgraph.model import Kind
    from runtimeimg.configgraph.views import NAMED, named

    view = saved.open(graph_file)
    found = named(view, node, (*NAMED, Kind.LAYER)) if node is not None else None
    if output_format == "json":
        show_json(_json(view, found))
        return
    if output_format == "table":
        text = "\n".join(_of_node(view, found) if found is not None else _of_graph(view)) + "\n"
    else:
        text = _picture(view, found, output_format, boxes, str(graph_file))
    if output is None:
        click.echo(text, nl=False)
        return
    from runtimeimg.stores.files import write_atomically

    write_atomically(output, text.encode())
    click.echo(f"wrote {output}", err=True)


def _picture(view: View, node: Node | None, output_format: str, boxes: int, name: str) -> str:
    from runtimeimg.configgraph import drawing, graphtexts
    from runtimeimg.configgraph.folding import COLUMNS, fold
    from runtimeimg.configgraph.layout import lay_out

    folded = fold(view, node.id if node is not None else "", limit=boxes)
    title = f"{node.id} in {name}" if node is not None else name
    if output_format == "dot":
        return graphtexts.dot(folded, title)
    if output_format == "mermaid":
        return graphtexts.mermaid(folded)
    # What a host holds is told in its box's page: as arrows across all columns it hides everything else.
    picture = lay_out(folded.boxes, (item for item in folded.arrows if item.relation != "has"), COLUMNS)
    if output_format == "svg":
        return drawing.svg(picture, title)
    from runtimeimg.configgraph.paging import told

    return drawing.page(picture, title, told(view, folded))


def _json(view: View, node: Node | None) -> dict[str, Any]:
    """Return a node as the graph has it, or how many nodes of each kind there are and which they are."""
    from runtimeimg.configgraph import codec
    from runtimeimg.configgraph.model import Kind

    if node is None:
        return {"nodes": {str(kind): list(view.ids(kind)) for kind in Kind}}
    return codec.to_json(node, view.into(node.id))


def _of_graph(view: View) -> Iterator[str]:
    from itertools import islice

    from runtimeimg.cli.tables import aligned
    from runtimeimg.configgraph.folding import note
    from runtimeimg.configgraph.model import Kind, name_of
    from runtimeimg.configgraph.views import there

    for kind in (Kind.AUTOMATON, Kind.ARTEFACT, Kind.HOST, Kind.INSTANCE):
        ids = list(view.ids(kind))
        yield f"{len(ids):,} {kind}{'' if len(ids) == 1 else 's'}"
        rows = [(name_of(item), note(there(view, item, item))) for item in islice(ids, _LISTED)]
        yield from aligned(rows, "  ")
        if len(ids) > _LISTED:
            yield f"  and {len(ids) - _LISTED:,} more"
    yield f"{sum(1 for _ in view.ids(Kind.LAYER)):,} blobs"


def _of_node(view: View, node: Node) -> Iterator[str]:
    from runtimeimg.cli.tables import aligned
    from runtimeimg.configgraph.paging import edges_of, facts_of
    from runtimeimg.text import printable

    yield printable(node.id)
    yield from aligned(list(facts_of(node)), "  ")
    for name, ids in edges_of(view, node).items():
        yield f"{name} ({len(ids):,})"
        yield from (f"  {printable(item)}" for item in ids[:_LISTED])
        if len(ids) > _LISTED:
            yield f"  and {len(ids) - _LISTED:,} more"
