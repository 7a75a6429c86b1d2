"""What all runs of the command line share: the foreground, the table of ports, who gets a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from runtimeimg.cli.attached import Printer
    from runtimeimg.run import Publish, RunPlan
    from runtimeimg.run.attended import Foreground, Outcome

_HEAD = ("SERVICE", "PORT", "URL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How a run is to be carried out, as the command line says it."""

    detach: bool = False
    remove: bool = True
    tty: bool | None = None
    interactive: bool | None = None
    stop_timeout: float = 10.0
    dry_run: bool = False
    say: Callable[[str], None]

    def streams(self, plan: RunPlan) -> tuple[bool, bool]:
        """Tell whether the program gets a terminal, and whether it gets standard input."""
        tty = self._tty(serves=bool(plan.ports or plan.sidecars or plan.wrapped))
        return tty, self._stdin(tty=tty)

    def _tty(self, *, serves: bool) -> bool:
        """Tell whether it gets a terminal: when asked for, else when there is one and the program serves nothing.

        The output of a server is lines, best with its two streams kept apart.
        """
        if self.tty is not None:
            return self.tty
        return not self.detach and not serves and sys.stdin.isatty() and sys.stdout.isatty()

    def _stdin(self, *, tty: bool) -> bool:
        """Tell whether it gets standard input: when asked for, else with a terminal or when it is none itself."""
        if self.interactive is not None:
            return self.interactive
        return not self.detach and (tty or not sys.stdin.isatty())


def attend(
    session: Foreground, plan: RunPlan, printer: Printer, say: Callable[[str], None], *, tty: bool, stdin: bool
) -> int:
    """Start a run and attend to it until it ends; the exit code is the program's."""
    from runtimeimg.cli import attached

    with contextlib.ExitStack() as stack:
        stack.enter_context(attached.signals_to(session))
        has_terminal = tty and sys.stdin.isatty()
        if has_terminal:
            stack.enter_context(attached.raw_terminal())
        table(session.start(), say, end="\r\n" if has_terminal else "\n")
        if stdin:
            attached.send_input(session.input)
        outcome = session.attend(attached.terminal_size if has_terminal else None)
    printer.finish()
    _report(outcome, printer, plan, say)
    return outcome.code


def _report(outcome: Outcome, printer: Printer, plan: RunPlan, say: Callable[[str], None]) -> None:
    """Say which daemon ended the run, with its last lines where they were kept apart."""
    from runtimeimg.text import printable

    for dead in outcome.dead:
        say(f"daemon '{dead.daemon.name}' ended with exit code {dead.code}, and so did the rest; its last lines:")
        for line in dead.last:
            click.echo(f"  | {printable(line)}", err=True)
    if plan.wrapped and outcome.code and printer.wrapped_end:
        name, code = printer.wrapped_end
        say(f"daemon '{printable(name)}' ended with exit code {code}, and so did the rest")


def table(ports: tuple[Publish, ...], say: Callable[[str], None], end: str = "\n") -> None:
    """Print the services with their URLs; a terminal in raw mode wants a carriage return in `end`."""
    rows = [(port.service or "-", port.container_port, url(port)) for port in ports]
    if rows and say is not silent:
        from runtimeimg.text import printable

        widths = [max(len(row[column]) for row in [*rows, _HEAD]) for column in range(2)]
        for first, second, third in [_HEAD, *rows]:
            click.echo(printable(f"{first:<{widths[0]}}  {second:<{widths[1]}}  {third}") + end, err=True, nl=False)


def url(port: Publish) -> str:
    """Return where a published port is reached from this machine."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(port.address, port.address)  # noqa: S104 - shown, not bound
    place = replace(port, address=address).host + f":{port.host_port}"
    if port.protocol != "tcp":
        return f"{port.protocol}://{place}"
    return f"{'https' if port.service.lower() == 'https' else 'http'}://{place}"


def colour() -> bool:
    """Tell whether the output is to have colours."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def say(text: str) -> None:
    """Say something to whoever started the command."""
    click.echo(f"runtimeimg: {text}", err=True)


def silent(text: str) -> None:
    """Say nothing."""
