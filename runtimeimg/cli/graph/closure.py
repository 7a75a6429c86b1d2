"""`runtimeimg graph closure NODE`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli.graph.given import amount_json, graph_option, show_json, told
from runtimeimg.cli.options import format_option, store_options
from runtimeimg.errors import NotFoundError

if TYPE_CHECKING:
    from runtimeimg.configgraph.closure import Closure
    from runtimeimg.configgraph.model import View
    from runtimeimg.stores import StoreOptions


@click.command("closure")
@click.argument("node")
@click.option(
    "--have", multiple=True, metavar="HOST|IMAGE", help="Who has blobs already: a host, artefact or image; repeatable."
)
@click.option("--platform", metavar="P", help="Platform that is needed; by default all that there are.")
@graph_option
@format_option
@store_options
def command(
    node: str,
    have: tuple[str, ...],
    platform: str | None,
    graph_file: Path,
    output_format: str,
    stores: Callable[[], StoreOptions],
) -> None:
    """List the blobs, or store paths, that NODE needs: an artefact, automaton, instance, host or layer.

    With --have each is said to be there or to be moved. What --have names is looked for in the graph, then as an image.
    """
    from runtimeimg.cli.locations import platform_of
    from runtimeimg.configgraph import saved
    from runtimeimg.configgraph.closure import closure
    from runtimeimg.configgraph.model import Kind
    from runtimeimg.configgraph.views import NAMED, named

    wanted = platform_of(platform)
    view = saved.open(graph_file)
    found = closure(
        view,
        named(view, node, (*NAMED, Kind.LAYER)),
        [blob for text in have for blob in _had(view, text, stores)],
        wanted,
    )
    if output_format == "json":
        show_json(_described(found, have))
        return
    for line in _table(found, have):
        click.echo(line)


def _had(view: View, text: str, stores: Callable[[], StoreOptions]) -> Iterator[str]:
    """Yield the blobs that a host, a node of the graph, or else an image has."""
    from runtimeimg.configgraph.closure import HAVING, had, is_known
    from runtimeimg.configgraph.model import Artefact
    from runtimeimg.configgraph.views import named

    try:
        node = named(view, text, HAVING)
    except NotFoundError as error:
        if ":" not in text and "/" not in text:
            raise
        yield from _of_image(text, stores, error)
        return
    if isinstance(node, Artefact) and not is_known(node):
        yield from _of_image(node.reference, stores)
    else:
        yield from had(view, node)


def _of_image(text: str, stores: Callable[[], StoreOptions], in_graph: NotFoundError | None = None) -> Iterator[str]:
    """Yield the blobs of an image that is looked up; `in_graph` says that the graph has nothing of that name."""
    from runtimeimg.cli.locations import location_of
    from runtimeimg.configgraph import facts
    from runtimeimg.stores import open_image

    try:
        found = facts.of(open_image(location_of(text), stores()), text)
    except NotFoundError as error:
        if in_graph is None:
            raise
        raise NotFoundError(f"{in_graph.message}, and {error.message}", hint=in_graph.hint or error.hint) from None
    yield from (item.id.partition("/")[2] for item in found.layers)


def _described(found: Closure, have: tuple[str, ...]) -> dict[str, Any]:
    return {
        "node": found.node,
        "have": list(have),
        "needed": amount_json(found.needed),
        "missing": amount_json(found.missing),
        "blobs": [
            {
                "name": item.name,
                "role": str(item.layer.role),
                "size": item.layer.size,
                "mediaType": item.layer.media_type,
                "missing": item.missing,
            }
            for item in found.blobs
        ],
    }


def _table(found: Closure, have: tuple[str, ...]) -> Iterator[str]:
    from runtimeimg.cli.tables import aligned
    from runtimeimg.text import human_size

    last = ("STATE",) if have else ()
    rows = [("BLOB", "ROLE", "SIZE", *last)]
    for item in found.blobs:
        size = "?" if item.layer.size is None else human_size(item.layer.size)
        state = ("move" if item.missing else "there",) if have else ()
        rows.append((item.name, str(item.layer.role), size, *state))
    yield from aligned(rows)
    yield f"needed: {told(found.needed)}"
    if have:
        yield f"to move: {told(found.missing)}"
