"""`runtimeimg logs`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.options import store_options

if TYPE_CHECKING:
    from runtimeimg.stores import StoreOptions


@click.command("logs")
@click.argument("name", metavar="RUN")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.option("-n", "--tail", type=click.IntRange(0), metavar="LINES", help="Only the last lines of each container.")
@store_options
def command(name: str, follow: bool, tail: int | None, stores: Callable[[], StoreOptions]) -> None:
    """Show what a run has written, the lines of its daemons behind their names."""
    from runtimeimg.cli import runtimes
    from runtimeimg.cli.attached import Printer
    from runtimeimg.errors import NotFoundError, UnavailableError
    from runtimeimg.run.logs import show_logs
    from runtimeimg.run.runs import find_run
    from runtimeimg.stores.engine import Engine

    state = runtimes.swept()
    if (record := state.find(name)) is not None:
        runtimes.show_logs(state, record, follow=follow, tail=tail)
        return
    try:
        engine = Engine.connect(stores())
    except UnavailableError:
        if not state.is_used:
            raise
        raise NotFoundError(f"run '{name}' does not exist", hint="see 'runtimeimg ps'") from None
    with engine:
        run = find_run(engine, name)
        daemons = tuple(item.daemon for item in run.containers if item.daemon)
        printer = Printer(daemons, colour=sys.stdout.isatty())
        show_logs(engine, run, printer, follow=follow, tail=tail)
        printer.finish()
