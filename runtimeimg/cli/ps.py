"""`runtimeimg ps`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli.options import format_option, store_options
from runtimeimg.cli.tables import aligned

if TYPE_CHECKING:
    from runtimeimg.run.runs import Run
    from runtimeimg.stores import StoreOptions


@click.command("ps")
@format_option
@store_options
def command(output_format: str, stores: Callable[[], StoreOptions]) -> None:
    """List runs, those of the Engine and those of runtimes, with their daemons and URLs.

    What killed runs left is removed first.
    """
    from runtimeimg.cli import runtimes
    from runtimeimg.errors import UnavailableError

    state = runtimes.swept()
    runs = [runtimes.described(record) for record in state.runs()]
    try:
        runs += _of_engine(stores())
    except UnavailableError as error:
        if not state.is_used:
            raise
        click.echo(f"runtimeimg: these are the runs of runtimes alone: {error}", err=True)
    if output_format == "json":
        click.echo(json.dumps(runs, indent=2))
    elif not runs:
        click.echo("no runs", err=True)
    else:
        _show(runs)


def _of_engine(options: StoreOptions) -> list[dict[str, Any]]:
    from runtimeimg.run.owner import Owner
    from runtimeimg.run.runs import list_runs, sweep
    from runtimeimg.stores.engine import Engine

    with Engine.connect(options) as engine:
        for name in sweep(engine, Owner.current()):
            click.echo(f"runtimeimg: removed container '{name}', which a killed run had left", err=True)
        return [_described(run) for run in list_runs(engine)]


def _described(run: Run) -> dict[str, Any]:
    from runtimeimg.cli.foreground import url

    first = run.containers[0]
    return {
        "run": run.id,
        "name": run.name,
        "image": run.image,
        "attached": first.attached,
        "status": first.status if run.main else "main command is gone",
        "urls": sorted({url(port) for port in first.ports}),
        "daemons": [
            {"name": item.daemon, "container": item.name, "status": item.status}
            for item in run.containers
            if item.role == "daemon"
        ],
    }


def _show(runs: list[dict[str, Any]]) -> None:
    rows = [("NAME", "IMAGE", "STATUS", "URLS")]
    for run in runs:
        rows.append((run["name"], run["image"], run["status"], " ".join(run["urls"]) or "-"))
        rows += [(f"  {item['name']}", "", item["status"], "") for item in run["daemons"]]
    for line in aligned(rows):
        click.echo(line)
