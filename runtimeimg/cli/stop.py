"""`runtimeimg stop`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.options import store_options
from runtimeimg.errors import UsageError

if TYPE_CHECKING:
    from runtimeimg.stores import StoreOptions


@click.command("stop")
@click.argument("names", nargs=-1, metavar="[RUN]...")
@click.option("-a", "--all", "every", is_flag=True, help="Stop all runs.")
@click.option("-t", "--timeout", type=click.FloatRange(0, 3600), default=10.0, show_default=True, metavar="SECONDS")
@store_options
def command(names: tuple[str, ...], every: bool, timeout: float, stores: Callable[[], StoreOptions]) -> None:
    """Stop runs by name or id: the main command first, then its daemons.

    After the timeout the main command is killed. A run that was started with --keep leaves its container.
    """
    from runtimeimg.run.owner import Owner
    from runtimeimg.run.runs import find_run, list_runs, stop_run, sweep
    from runtimeimg.stores.engine import Engine

    if every == bool(names):
        raise UsageError("runs to stop are named, or --all is given, not both")
    with Engine.connect(stores()) as engine:
        sweep(engine, Owner.current())
        for run in list_runs(engine) if every else [find_run(engine, name) for name in names]:
            stop_run(engine, run, timeout)
            click.echo(run.name)
