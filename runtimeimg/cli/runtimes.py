"""Runs through runc and crun: what `run`, `ps`, `logs`, `stop` and `debug` do without an Engine."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli import foreground
from runtimeimg.cli.options import state_dir

if TYPE_CHECKING:
    from runtimeimg.bundle import Rootless
    from runtimeimg.bundle.features import Runtime as Features
    from runtimeimg.cli.foreground import Wish
    from runtimeimg.image import Image
    from runtimeimg.oci import Location
    from runtimeimg.progress import Progress
    from runtimeimg.run import RunOptions, RunPlan
    from runtimeimg.runtime.records import Record
    from runtimeimg.runtime.state import RunFolder, State
    from runtimeimg.stores import StoreOptions


def state() -> State:
    """Return the folder of this user's runs."""
    from runtimeimg.runtime.state import State

    return State(state_dir() / "runs", dict(os.environ))


def swept() -> State:
    """Return the folder of this user's runs, without what killed ones have left, which is said."""
    found = state()
    removed, errors = found.sweep()
    for name in removed:
        foreground.say(f"removed run '{name}', which a killed process had left")
    for error in errors:
        foreground.say(f"a killed process's run is left: {error}" + (f" ({error.hint})" if error.hint else ""))
    return found


def run(
    location: Location,
    name: str,
    stores: Callable[..., StoreOptions],
    options: RunOptions,
    wish: Wish,
    *,
    allow: frozenset[str],
) -> int:
    """Run the image at `location` through the runtime of this name and return the exit code."""
    from runtimeimg.cli.bundle.runtimes import runtime_of
    from runtimeimg.cli.progress import display
    from runtimeimg.runtime.bundles import run_plan
    from runtimeimg.stores import open_one

    features = runtime_of(name)
    with display("quiet" if wish.dry_run or wish.say is foreground.silent else "auto") as shown:
        image = open_one(location, None, stores(shown), exact=not wish.dry_run)
        plan = run_plan(image, options)
        if wish.dry_run:
            click.echo("".join(f"{line}\n" for line in dry_run(image, plan, location, name)), nl=False)
            return 0
        for note in plan.notes:
            wish.say(note)
        with _new_folder(plan) as folder:
            record, stdin = _prepared(folder, image, plan, features, shown, wish, allow)
    if wish.detach:
        return _left_running(folder, record, plan, wish)
    return _attended(folder, record, plan, wish, stdin=stdin)


def debug(
    location: Location,
    shell: Location,
    name: str,
    stores: Callable[..., StoreOptions],
    plan_of: Callable[[Image], RunPlan],
    wish: Wish,
    *,
    allow: frozenset[str],
) -> int:
    """Run the shell of the debug image `shell` in the image at `location`, through the runtime of this name."""
    from runtimeimg.cli.bundle.runtimes import runtime_of
    from runtimeimg.cli.progress import display
    from runtimeimg.run.debugging import has_shell
    from runtimeimg.runtime.shell import unpacked
    from runtimeimg.stores import open_one

    features = runtime_of(name)
    with display("auto") as shown:
        reached = stores(shown)
        image = open_one(location, None, reached)
        plan = plan_of(image)
        with _new_folder(plan) as folder:
            if not has_shell(image):
                files = unpacked(shell, image, replace(reached, choose=None), folder.path / "shell")
                plan = replace(plan, shell=str(files))
            record, stdin = _prepared(folder, image, plan, features, shown, wish, allow)
    return _attended(folder, record, plan, wish, stdin=stdin)


@contextlib.contextmanager
def _new_folder(plan: RunPlan) -> Iterator[RunFolder]:
    """Yield the folder of a new run, which is removed when it is not made ready."""
    folder = swept().new(f"run of '{plan.image}'")
    try:
        yield folder
    except BaseException:
        folder.remove()
        raise


def _prepared(
    folder: RunFolder,
    image: Image,
    plan: RunPlan,
    features: Features,
    progress: Progress,
    wish: Wish,
    allow: frozenset[str],
) -> tuple[Record, bool]:
    """Write the bundle and the record of a run, and return the record, and whether it gets standard input."""
    from runtimeimg import bundle
    from runtimeimg.cli import attached
    from runtimeimg.runtime import bundles
    from runtimeimg.runtime.records import Record

    tty, stdin = wish.streams(plan)
    options = bundles.bundle_options(
        plan,
        folder.id,
        runtime=features,
        rootless=_rootless(),
        terminal=tty,
        console=attached.terminal_size() if tty and sys.stdin.isatty() else None,
        allow=allow,
    )
    made = bundle.write(image, folder.bundle, options, progress=progress)
    for note in made.notes:
        wish.say(note)
    bundles.check(plan, made)
    bundles.with_names(made)
    runtime = folder.runtime(features.name)
    record = Record(
        id=folder.id,
        name=plan.name or f"{bundles.base_name(plan)}-{folder.id[:6]}",
        image=plan.image,
        runtime=runtime.name,
        program=runtime.program,
        created=time.time(),
        attached=not wish.detach,
        kept=not wish.remove,
        terminal=tty,
        stop_signal=str(image.config.config.get("StopSignal") or "TERM"),
        stop_timeout=wish.stop_timeout,
        ports=plan.ports,
        daemons=tuple(daemon.name for daemon in plan.wrapped),
    )
    with state().naming(record.name):
        record.save(folder.path)
    return record, stdin


def _rootless() -> Rootless | None:
    from runtimeimg.cli.bundle.runtimes import this_user

    return None if os.geteuid() == 0 else this_user()


def _attended(folder: RunFolder, record: Record, plan: RunPlan, wish: Wish, *, stdin: bool) -> int:
    from runtimeimg.cli.attached import Printer
    from runtimeimg.runtime.session import RuntimeSession

    printer = Printer((), colour=False)
    with RuntimeSession(folder, record, folder.runtime(record.runtime), printer, stdin=stdin) as session:
        printer.session = session
        return foreground.attend(session, plan, printer, wish.say, tty=record.terminal, stdin=stdin)


def _left_running(folder: RunFolder, record: Record, plan: RunPlan, wish: Wish) -> int:
    """Start a process that attends to the run in our place, and return when it has started the program."""
    from runtimeimg import process
    from runtimeimg.run.attended import StartFailed

    reader, writer = os.pipe2(os.O_CLOEXEC)
    with os.fdopen(reader, "rb") as answer:
        try:
            lock = folder.descriptor
            argv = [sys.executable, "-P", "-m", "runtimeimg.cli.attend", str(folder.path), str(lock), str(writer)]
            here = str(Path(__file__).parents[2])
            process.leave(argv, env={**os.environ, "PYTHONPATH": here}, keep=(lock, writer))
        except BaseException:
            os.close(writer)
            folder.remove()
            raise
        os.close(writer)
        try:
            said = json.loads(answer.read() or b'{"message": "the process that attends to the run ended"}')
        except BaseException:
            folder.remove()
            raise
    if "message" in said:
        folder.remove()
        raise StartFailed(said["message"], code=said.get("code", 125), hint=said.get("hint"))
    folder.let_go()
    foreground.table(plan.ports, wish.say)
    click.echo(record.name)
    return 0


def dry_run(image: Image, plan: RunPlan, location: Location, name: str) -> Iterable[str]:
    """Yield command lines that do the same, but for cleaning up after a run that was killed."""
    from runtimeimg.runtime.bundles import base_name, settings

    called = plan.name or base_name(plan)
    folder = f"./{called}.bundle"
    words = ["runtimeimg", "bundle", str(location), folder, "--runtime", name, "--network", "host", "--writable"]
    words += [word for key, value in plan.env.items() for word in ("-e", f"{key}={value}")]
    if plan.context is not None:
        mount = f"type=bind,source={plan.context.source},destination={plan.context.target}"
        words += ["--mount", mount + (",ro" if plan.context.read_only else "")]
    argv = plan.argv
    if argv is None and plan.args is not None:
        argv = (*image.config.strings("Entrypoint"), *plan.args)
    if argv is not None:
        words += ["--set", f"process.args={json.dumps(list(argv), ensure_ascii=False)}"]
    words += [word for text in settings(plan) for word in ("--set", text)]
    yield shlex.join(words)
    yield shlex.join([name, "run", "--bundle", folder, called])
    yield shlex.join(["rm", "-rf", folder])


def described(record: Record) -> dict[str, Any]:
    """Return what `ps` tells of a run, in the form that those of an Engine have."""
    return {
        "run": record.id,
        "name": record.name,
        "image": record.image,
        "attached": record.attached,
        "status": f"{record.status}, {record.runtime}",
        "urls": sorted({foreground.url(port) for port in record.ports}),
        "daemons": [{"name": name, "container": record.name, "status": record.status} for name in record.daemons],
    }


def show_logs(found: State, record: Record, *, follow: bool, tail: int | None) -> None:
    """Print what a run has written."""
    from runtimeimg.cli.attached import Printer
    from runtimeimg.runtime import logs
    from runtimeimg.runtime.records import EXITED

    def runs() -> bool:
        return record.state != EXITED and found.is_held(record)

    logs.show(found.folder(record) / "log", Printer((), colour=False), tail=tail, runs=runs if follow else None)
