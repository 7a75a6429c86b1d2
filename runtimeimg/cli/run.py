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

from runtimeimg.cli import foreground
from runtimeimg.cli.choosing import choosing_stores
from runtimeimg.cli.foreground import Wish
from runtimeimg.cli.locations import location_of
from runtimeimg.cli.options import store_options
from runtimeimg.cli.runoptions import run_options
from runtimeimg.errors import RuntimeimgError, UsageError

if TYPE_CHECKING:
    from runtimeimg.image import Image
    from runtimeimg.oci import Location
    from runtimeimg.run import RunOptions, RunPlan
    from runtimeimg.run.bodies import Manner
    from runtimeimg.stores import StoreOptions
    from runtimeimg.stores.engine import Engine

ALLOWED = ("links", "workdir", "volumes", "annotations", "setuid", "root-user")
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
@click.option(
    "--runtime",
    type=click.Choice(["docker", "podman", "runc", "crun"]),
    default="docker",
    show_default=True,
    help="An Engine; or a runtime, which needs none.",
)
@click.option("--allow", multiple=True, type=click.Choice(ALLOWED), help="What a runtime's bundle is refused for.")
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
    allow: tuple[str, ...],
    dry_run: bool,
    quiet: bool,
    stores: Callable[..., StoreOptions],
) -> None:
    """Run IMAGE from its labels alone: its ports, its daemons, and the current directory as running context.

    ARGS, after --, take the place of the image's own arguments. The exit code is the program's; 125 to 127 are this
    command's own faults, as with docker run.
    """
    from runtimeimg.runtime.program import NAMES

    wish = Wish(
        detach=detach,
        remove=remove,
        tty=tty,
        interactive=interactive,
        stop_timeout=stop_timeout,
        dry_run=dry_run,
        say=foreground.silent if quiet else foreground.say,
    )
    with own_faults():
        options, location = run(str(Path.cwd())), location_of(image)
        if runtime in NAMES:
            from runtimeimg.cli import runtimes

            code = runtimes.run(location, runtime, stores, options, wish, allow=frozenset(allow))
        elif allow:
            raise UsageError("--allow is for runtimes, not for an Engine", hint="leave it out, or add --runtime runc")
        else:
            code = _on_engine(location, runtime, stores, options, wish)
    sys.exit(code)


def _on_engine(
    location: Location, runtime: str, stores: Callable[..., StoreOptions], options: RunOptions, wish: Wish
) -> int:
    from runtimeimg.run import RunPlan
    from runtimeimg.run.bodies import Manner
    from runtimeimg.run.owner import Owner

    found = engine_image(location, runtime, stores, load=not wish.dry_run)
    plan = RunPlan.of(found, options)
    if wish.dry_run:
        from runtimeimg.export.commandline import command_lines

        click.echo(_loading(location), nl=False)
        plan = replace(plan, image=_name_there(location))
        click.echo(command_lines(plan, runtime, detach=wish.detach, keep=not wish.remove), nl=False)
        return 0
    for note in plan.notes:
        wish.say(note)
    tty, stdin = wish.streams(plan)
    manner = Manner(
        run_id=secrets.token_hex(6),
        owner=str(Owner.current()),
        detach=wish.detach,
        remove=wish.remove,
        tty=tty,
        stdin=stdin,
        stop_timeout=wish.stop_timeout,
    )
    return _run(options_of(runtime, stores()), plan, manner, wish.say)


@contextlib.contextmanager
def own_faults() -> Iterator[None]:
    """Give errors docker's exit code: they must not be taken for the program's own."""
    from runtimeimg.run.attended import StartFailed

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


def engine_image(location: Location, runtime: str, stores: Callable[..., StoreOptions], *, load: bool) -> Image:
    """Return the image that is run, by `load` as the Engine has it, which gets it where it has not."""
    from runtimeimg.cli.progress import display
    from runtimeimg.run.fetch import fetch, find

    if not load:
        return find(location, options_of(runtime, stores()))
    with display("auto") as shown:
        return fetch(location, options_of(runtime, stores(shown)))


def options_of(runtime: str, options: StoreOptions) -> StoreOptions:
    """Return `options` with the address of podman's service where podman is asked for."""
    if runtime == "docker":
        return options
    environ = dict(options.environ)
    folder = environ.get("XDG_RUNTIME_DIR") if os.geteuid() else None
    socket = f"unix://{folder or '/run'}/podman/podman.sock"
    environ["DOCKER_HOST"] = environ.get("CONTAINER_HOST") or socket
    return replace(options, environ=environ)


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
        printer = Printer(tuple(daemon.name for daemon in plan.sidecars), colour=foreground.colour())
        with Session(engine, plan, manner, printer) as session:
            printer.session = session
            if not manner.detach:
                return foreground.attend(session, plan, printer, say, tty=manner.tty, stdin=manner.stdin)
            foreground.table(session.start(), say)
            click.echo(_name(engine, session.main))
            return 0


def _name(engine: Engine, container: str) -> str:
    from runtimeimg.run.containers import inspect

    return str((inspect(engine, container) or {}).get("Name", container)).lstrip("/")
