"""`runtimeimg stop`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.options import store_options
from runtimeimg.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from runtimeimg.stores import StoreOptions


@click.command("stop")
@click.argument("names", nargs=-1, metavar="[RUN]...")
@click.option("-a", "--all", "every", is_flag=True, help="Stop all runs.")
@click.option("-t", "--timeout", type=click.FloatRange(0, 3600), default=10.0, show_default=True, metavar="SECONDS")
@store_options
def command(names: tuple[str, ...], every: bool, timeout: float, stores: Callable[[], StoreOptions]) -> None:
    """Stop runs by name or id: the main command first, then its daemons.

    After the timeout the main command is killed. A run that was started with --keep leaves its container; one of a
    runtime that has ended and was kept is removed.
    """
    from runtimeimg.cli import runtimes
    from runtimeimg.errors import UnavailableError

    if every == bool(names):
        raise UsageError("runs to stop are named, or --all is given, not both")
    state = runtimes.swept()
    known = {name: state.find(name) for name in names}
    ours = state.runs() if every else [record for record in known.values() if record is not None]
    others = [name for name, record in known.items() if record is None]
    if every or others:
        try:
            _stop_on_engine(others, stores(), timeout, every=every)
        except UnavailableError:
            if not state.is_used:
                raise
            if others:
                raise NotFoundError(f"run '{others[0]}' does not exist", hint="see 'runtimeimg ps'") from None
    for record in ours:
        state.stop(record, timeout)
        click.echo(record.name)


def _stop_on_engine(names: Sequence[str], options: StoreOptions, timeout: float, *, every: bool) -> None:
    from runtimeimg.run.owner import Owner
    from runtimeimg.run.runs import find_run, list_runs, stop_run, sweep
    from runtimeimg.stores.engine import Engine

    with Engine.connect(options) as engine:
        sweep(engine, Owner.current())
        for run in list_runs(engine) if every else [find_run(engine, name) for name in names]:
            stop_run(engine, run, timeout)
            click.echo(run.name)
