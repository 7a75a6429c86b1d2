"""`runtimeimg debug`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from runtimeimg.cli import foreground
from runtimeimg.cli.choosing import choosing_stores
from runtimeimg.cli.locations import location_of
from runtimeimg.cli.options import image_argument, pairs, store_options
from runtimeimg.cli.run import ALLOWED, RunCommand, own_faults
from runtimeimg.errors import UnavailableError

if TYPE_CHECKING:
    from runtimeimg.cli.foreground import Wish
    from runtimeimg.image import Image
    from runtimeimg.oci import Location
    from runtimeimg.run import RunPlan
    from runtimeimg.run.bodies import Manner
    from runtimeimg.stores import StoreOptions
    from runtimeimg.stores.engine import Engine

RUNTIMES = ("auto", "docker", "podman", "runc", "crun")


@click.command("debug", cls=RunCommand)
@image_argument
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.option("--image", "shell", metavar="REF", help="Image whose shell is brought in; busybox:musl by default.")
@click.option("--root", is_flag=True, help="Be root, not the image's user.")
@click.option("-e", "--env", multiple=True, metavar="K=V", help="Environment variable to set.")
@click.option("-t", "--tty/--no-tty", "tty", default=None, help="Give it a terminal; by default, where there is one.")
@click.option("-i", "--interactive/--no-interactive", "interactive", default=None, help="Pass standard input on.")
@click.option("--runtime", type=click.Choice(RUNTIMES), default="auto", show_default=True)
@click.option("--allow", multiple=True, type=click.Choice(ALLOWED), help="What a runtime's bundle is refused for.")
@store_options
@choosing_stores
def command(
    image: str,
    args: tuple[str, ...],
    shell: str | None,
    root: bool,
    env: tuple[str, ...],
    tty: bool | None,
    interactive: bool | None,
    runtime: str,
    allow: tuple[str, ...],
    stores: Callable[..., StoreOptions],
) -> None:
    """Open a shell in IMAGE, which need not have one: a small one is brought in beside it, read-only, in /.debug/bin.

    ARGS, after --, are a command to run in its place. The image is left as it is, and the container is removed.
    """
    from runtimeimg.oci import Location
    from runtimeimg.run.debugging import debug_plan
    from runtimeimg.runtime.program import NAMES
    from runtimeimg.runtime.shell import DEFAULT

    wish = foreground.Wish(tty=tty, interactive=interactive, say=foreground.say)
    variables = pairs(env, "--env")

    def plan_of(found: Image) -> RunPlan:
        return debug_plan(found, args, env=variables, root=root)

    with own_faults():
        location, bringing = location_of(image), Location.parse(shell or DEFAULT)
        chosen = _chosen(stores()) if runtime == "auto" else runtime
        if chosen in NAMES:
            from runtimeimg.cli import runtimes

            code = runtimes.debug(location, bringing, chosen, stores, plan_of, wish, allow=frozenset(allow))
        else:
            code = _on_engine(location, bringing, chosen, stores, plan_of, wish)
    sys.exit(code)


def _chosen(options: StoreOptions) -> str:
    """Return what runs the shell: the Engine where one answers, else the first runtime that is installed."""
    from runtimeimg import process
    from runtimeimg.runtime.program import NAMES
    from runtimeimg.stores.engine import Engine

    try:
        Engine.connect(options).close()
    except UnavailableError:
        found = next((name for name in NAMES if process.find(name, options.environ.get("PATH"))), None)
        if found is None:
            raise
        return found
    return "docker"


def _on_engine(
    location: Location,
    shell: Location,
    runtime: str,
    stores: Callable[..., StoreOptions],
    plan_of: Callable[[Image], RunPlan],
    wish: Wish,
) -> int:
    import secrets

    from runtimeimg.cli.attached import Printer
    from runtimeimg.cli.run import engine_image, options_of
    from runtimeimg.run.bodies import Manner
    from runtimeimg.run.owner import Owner
    from runtimeimg.run.runs import sweep
    from runtimeimg.run.session import Session
    from runtimeimg.stores.engine import Engine

    image = engine_image(location, runtime, stores, load=True)
    plan = plan_of(image)
    tty, stdin = wish.streams(plan)
    manner = Manner(run_id=secrets.token_hex(6), owner=str(Owner.current()), tty=tty, stdin=stdin)
    options = options_of(runtime, stores())
    with Engine.connect(options) as engine:
        for name in sweep(engine, Owner.current()):
            wish.say(f"removed container '{name}', which a killed run had left")
        with _with_shell(engine, image, plan, manner, shell, replace(options, choose=None)) as ready:
            printer = Printer((), colour=False)
            with Session(engine, ready, manner, printer) as session:
                printer.session = session
                return foreground.attend(session, ready, printer, wish.say, tty=tty, stdin=stdin)


@contextmanager
def _with_shell(
    engine: Engine, image: Image, plan: RunPlan, manner: Manner, shell: Location, options: StoreOptions
) -> Iterator[RunPlan]:
    """Yield the plan with the shell in a volume of a container that is there for that alone."""
    import tempfile

    from runtimeimg import remains
    from runtimeimg.plan import DEBUG_PATH
    from runtimeimg.run.bodies import shell_body
    from runtimeimg.run.containers import put, unstarted
    from runtimeimg.run.debugging import has_shell
    from runtimeimg.runtime.shell import archive, unpacked

    if has_shell(image):
        yield plan
        return
    with tempfile.TemporaryFile() as file:
        with remains.folder(options.environ.get("TMPDIR") or None) as folder:
            archive(unpacked(shell, image, options, folder / "shell"), file)
        with unstarted(engine, shell_body(plan, manner)) as holder:
            put(engine, holder, DEBUG_PATH, file)
            yield replace(plan, shell=holder)
