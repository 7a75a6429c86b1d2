"""`runtimeimg graph place`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli.graph.given import graph_option, load_whole, show_json
from runtimeimg.cli.options import format_option

if TYPE_CHECKING:
    from runtimeimg.configgraph.model import Instance
    from runtimeimg.configgraph.placement import Placed

_ROWS = 200
"""Instances that the table lists."""


@click.command("place")
@graph_option
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; nothing is written by default.")
@click.option(
    "--keep", type=click.Path(path_type=Path), metavar="OLD", help="Earlier placement, of which little moves."
)
@click.option("--partial", is_flag=True, help="Place what can be placed where not everything can.")
@format_option
def command(graph_file: Path, output: Path | None, keep: Path | None, partial: bool, output_format: str) -> None:
    """Choose a host for each instance: one that does, by what its automaton asks for and the platforms there are.

    The same graph is always placed alike. With --keep whatever may stay where it was stays there.
    """
    from runtimeimg.configgraph.placement import place
    from runtimeimg.configgraph.unplaced import NotPlacedError

    placed = place(load_whole(graph_file), load_whole(keep) if keep is not None else None)
    error = NotPlacedError(placed.refused) if placed.refused else None
    if error is not None and not partial:
        raise error
    if output is not None:
        from runtimeimg.configgraph import saved

        saved.write(placed.graph, output)
    if output_format == "json":
        show_json(_described(placed))
    else:
        for line in _table(placed):
            click.echo(line)
    if error is not None:
        from runtimeimg.text import message

        click.echo(message(error.message), err=True)
    if output is not None:
        click.echo(f"wrote {output}", err=True)


def _described(placed: Placed) -> dict[str, Any]:
    return {
        "placed": sum(bool(item.host) for item in placed.instances),
        "stayed": placed.stayed,
        "moved": placed.moved,
        "instances": [
            {"instance": item.id, "host": item.host or None, "variant": item.variant or None, "why": item.why}
            for item in placed.instances
        ],
        "refused": [
            {
                "automaton": item.demand.automaton,
                "file": item.demand.origin.file,
                "line": item.demand.origin.line,
                "instances": list(item.instances),
                "reasons": [{"why": reason.text, "hosts": list(reason.hosts)} for reason in item.reasons],
            }
            for item in placed.refused
        ],
    }


def _table(placed: Placed) -> Iterator[str]:
    from runtimeimg.cli.tables import aligned

    shown = placed.instances[:_ROWS]
    yield from aligned([("INSTANCE", "HOST", "VARIANT", "WHY"), *map(_row, shown)])
    if len(placed.instances) > len(shown):
        yield f"and {len(placed.instances) - len(shown):,} more"
    count = sum(bool(item.host) for item in placed.instances)
    hosts = len({item.host for item in placed.instances if item.host})
    yield f"{count:,} of {len(placed.instances):,} instances on {hosts:,} hosts" + (
        f"; {placed.stayed:,} stayed, {placed.moved:,} moved" if placed.stayed or placed.moved else ""
    )


def _row(item: Instance) -> tuple[str, str, str, str]:
    from runtimeimg.configgraph.model import name_of

    variant = item.variant.partition(":")[2][:12] or "-"
    return name_of(item.id), name_of(item.host) or "-", variant, item.why
