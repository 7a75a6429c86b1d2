"""`runtimeimg run`."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli.choosing import choosing_stores
from runtimeimg.cli.locations import location_of
from runtimeimg.cli.options import store_options
from runtimeimg.cli.runoptions import run_options
from runtimeimg.errors import RuntimeimgError

if TYPE_CHECKING:
    from runtimeimg.cli.attached import Printer
    from runtimeimg.image import Image
    from runtimeimg.oci import Location
    from runtimeimg.run import Publish, RunOptions, RunPlan
    from runtimeimg.run.bodies import Manner
    from runtimeimg.run.session import Outcome, Session
    from runtimeimg.stores import StoreOptions
    from runtimeimg.stores.engine import Engine

OWN_FAULT = 125
"""Exit code of `docker run` for what is not the program's doing."""


class RunCommand(click.Command):
    """Ends with docker's exit code for its own faults where other commands end with 2."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the arguments."""
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise BadUsage(error.message, error.ctx) from None


class BadUsage(click.UsageError):
    """Arguments that make no sense, with docker's exit code."""

    exit_code = OWN_FAULT


@click.command("run", cls=RunCommand)
@run_options
@click.option("-d", "--detach", is_flag=True, help="Leave it running and print its name.")
@click.option("--rm/--keep", "remove", default=True, show_default=True, help="Remove the container when it ends.")
@click.option(
    "-t", "--tty/--no-tty", "tty", default=None, help="Give it a terminal; by default, when it serves no port."
)
@click.option("-i", "--interactive/--no-interactive", "interactive", default=None, help="Pass standard input on.")
@click.option("--stop-timeout", type=click.FloatRange(0, 3600), default=10.0, show_default=True, metavar="SECONDS")
@click.option("--runtime", type=click.Choice(["docker", "podman"]), default="docker", show_default=True)
@click.option("--dry-run", is_flag=True, help="Print the command lines that would do the same, and start nothing.")
@click.option("-q", "--quiet", is_flag=True, help="Print only what the program prints.")
@store_options
@choosing_stores
def command(
    image: str,
    run: Callable[[str | None], RunOptions],
    detach: bool,
    remove: bool,
    tty: bool | None,
    interactive: bool | None,
    stop_timeout: float,
    runtime: str,
    dry_run: bool,
    quiet: bool,
    stores: Callable[..., StoreOptions],
) -> None:
    """Run IMAGE from its labels alone: its ports, its daemons, and the current directory as running context.

    ARGS, after --, take the place of the image's own arguments. The exit code is the program's; 125 to 127 are this
    command's own faults, as with docker run.
    """
    from runtimeimg.run import RunPlan
    from runtimeimg.run.bodies import Manner
    from runtimeimg.run.owner import Owner

    with own_faults():
        options = run(str(Path.cwd()))
        location = location_of(image)
        found = _image(location, runtime, stores, load=not dry_run)
        plan = RunPlan.of(found, options)
        if dry_run:
            from runtimeimg.export.commandline import command_lines

            click.echo(_loading(location), nl=False)
            plan = replace(plan, image=_name_there(location))
            click.echo(command_lines(plan, runtime, detach=detach, keep=not remove), nl=False)
            return
        say = _silent if quiet else _say
        for note in plan.notes:
            say(note)
        serves = bool(plan.ports or plan.sidecars or plan.wrapped)
        with_tty = _with_tty(tty, detach=detach, serves=serves)
        manner = Manner(
            run_id=secrets.token_hex(6),
            owner=str(Owner.current()),
            detach=detach,
            remove=remove,
            tty=with_tty,
            stdin=_with_stdin(interactive, detach=detach, tty=with_tty),
            stop_timeout=stop_timeout,
        )
        code = _run(_options_of(runtime, stores()), plan, manner, say)
    sys.exit(code)


@contextlib.contextmanager
def own_faults() -> Iterator[None]:
    """Give errors docker's exit code: they must not be taken for the program's own."""
    from runtimeimg.run.containers import StartFailed

    try:
        yield
    except StartFailed:
        raise
    except RuntimeimgError as error:
        error.exit_code = OWN_FAULT
        raise


def _name_there(location: Location) -> str:
    """Return what the image is called in the Engine where it runs."""
    from runtimeimg.run.fetch import engine_reference

    return location.image_id or engine_reference(location).familiar


def _loading(location: Location) -> str:
    """Return the command line that brings a layout's or archive's image into the Engine, empty for a name."""
    import shlex

    if location.reference is not None or location.image_id is not None:
        return ""
    return f"runtimeimg copy {shlex.quote(str(location))} docker-daemon:{_name_there(location)}\n"


def _image(location: Location, runtime: str, stores: Callable[..., StoreOptions], *, load: bool) -> Image:
    from runtimeimg.cli.progress import display
    from runtimeimg.run.fetch import fetch, find

    if not load:
        return find(location, _options_of(runtime, stores()))
    with display("auto") as shown:
        return fetch(location, _options_of(runtime, stores(shown)))


def _options_of(runtime: str, options: StoreOptions) -> StoreOptions:
    """Return `options` with the address of podman's service where podman is asked for."""
    if runtime == "docker":
        return options
    environ = dict(options.environ)
    folder = environ.get("XDG_RUNTIME_DIR") if os.geteuid() else None
    socket = f"unix://{folder or '/run'}/podman/podman.sock"
    environ["DOCKER_HOST"] = environ.get("CONTAINER_HOST") or socket
    return replace(options, environ=environ)


def _with_tty(asked: bool | None, *, detach: bool, serves: bool) -> bool:
    """Tell whether the program gets a terminal: when asked for, else when there is one and the program serves nothing.

    The output of a server is lines, best with its two streams kept apart.
    """
    if asked is not None:
        return asked
    return not detach and not serves and sys.stdin.isatty() and sys.stdout.isatty()


def _with_stdin(asked: bool | None, *, detach: bool, tty: bool) -> bool:
    """Tell whether the program gets standard input: when asked for, else with a terminal or when it is none itself."""
    if asked is not None:
        return asked
    return not detach and (tty or not sys.stdin.isatty())


def _run(options: StoreOptions, plan: RunPlan, manner: Manner, say: Callable[[str], None]) -> int:
    from runtimeimg.cli.attached import Printer
    from runtimeimg.run.containers import has_init
    from runtimeimg.run.context import check_context
    from runtimeimg.run.owner import Owner
    from runtimeimg.run.runs import sweep
    from runtimeimg.run.session import Session
    from runtimeimg.stores.engine import Engine

    with Engine.connect(options) as engine:
        for name in sweep(engine, Owner.current()):
            say(f"removed container '{name}', which a killed run had left")
        if plan.sidecars:
            manner = replace(manner, init=has_init(engine))
        check_context(engine, plan, manner)
        printer = Printer(tuple(daemon.name for daemon in plan.sidecars), colour=_colour())
        with Session(engine, plan, manner, printer) as session:
            printer.session = session
            if not manner.detach:
                return _attend(session, manner, printer, plan, say)
            ports = session.start()
            _table(ports, say)
            click.echo(_name(engine, session.main))
            return 0


def _attend(session: Session, manner: Manner, printer: Printer, plan: RunPlan, say: Callable[[str], None]) -> int:
    from runtimeimg.cli import attached

    with contextlib.ExitStack() as stack:
        stack.enter_context(attached.signals_to(session))
        has_terminal = manner.tty and sys.stdin.isatty()
        if has_terminal:
            stack.enter_context(attached.raw_terminal())
        _table(session.start(), say, end="\r\n" if has_terminal else "\n")
        if manner.stdin:
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


def _table(ports: tuple[Publish, ...], say: Callable[[str], None], end: str = "\n") -> None:
    """Print the services with their URLs; a terminal in raw mode wants a carriage return in `end`."""
    rows = [(port.service or "-", port.container_port, url(port)) for port in ports]
    if rows and say is not _silent:
        from runtimeimg.text import printable

        widths = [max(len(row[column]) for row in [*rows, _HEAD]) for column in range(2)]
        for first, second, third in [_HEAD, *rows]:
            click.echo(printable(f"{first:<{widths[0]}}  {second:<{widths[1]}}  {third}") + end, err=True, nl=False)


_HEAD = ("SERVICE", "PORT", "URL")


def url(port: Publish) -> str:
    """Return where a published port is reached from this machine."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(port.address, port.address)  # noqa: S104 - shown, not bound
    place = replace(port, address=address).host + f":{port.host_port}"
    if port.protocol != "tcp":
        return f"{port.protocol}://{place}"
    return f"{'https' if port.service.lower() == 'https' else 'http'}://{place}"


def _name(engine: Engine, container: str) -> str:
    from runtimeimg.run.containers import inspect

    return str((inspect(engine, container) or {}).get("Name", container)).lstrip("/")


def _colour() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def _say(text: str) -> None:
    click.echo(f"runtimeimg: {text}", err=True)


def _silent(text: str) -> None:
    """Say nothing."""
