"""Options that `run` and `export` share: what the caller decides about a run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli.options import F, image_argument, in_place_of
from runtimeimg.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from runtimeimg.run import ContextChoice, RunOptions

_OPTIONS = (
    image_argument,
    click.argument("args", nargs=-1, type=click.UNPROCESSED),
    click.option(
        "-p", "--publish", multiple=True, metavar="HOST:PORT", help="Publish a port; wins over what is stamped."
    ),
    click.option("-P", "--publish-all", is_flag=True, help="Publish all ports on free ones of 127.0.0.1."),
    click.option("-e", "--env", multiple=True, metavar="K=V", help="Environment variable; K alone takes yours."),
    click.option("--env-file", "env_files", multiple=True, type=click.Path(path_type=Path), help="File of K=V lines."),
    click.option("--name", help="Name of the container."),
    click.option("--context", metavar="DIR[:TARGET[:ro]]", help="Folder to mount as running context."),
    click.option("--no-context", is_flag=True, help="Mount no running context."),
    click.option(
        "--daemons",
        type=click.Choice(["auto", "wrapper", "sidecars", "none"]),
        default="auto",
        show_default=True,
        help="Who starts the daemons: the image's entrypoint, or containers of their own.",
    ),
    click.option(
        "--restart-daemons", type=click.IntRange(0, 1000), default=0, metavar="N", help="Restarts of a dead sidecar."
    ),
)


def run_options(command: F) -> F:
    """Add the options of a run; they arrive as `image` and `run`, a function that gives the RunOptions.

    That function takes where the context comes from when nothing is said, None for no context.
    """

    def with_run(*args: Any, image: str, **kwargs: Any) -> Any:
        own = {
            key: kwargs.pop(key)
            for key in ("args", "publish", "publish_all", "env", "env_files", "name", "context", "no_context")
        }
        own |= {key: kwargs.pop(key) for key in ("daemons", "restart_daemons")}

        def make(default_context: str | None) -> RunOptions:
            return _options(default_context=default_context, **own)

        return command(*args, image=image, run=make, **kwargs)

    return in_place_of(command, with_run, _OPTIONS)


def _options(
    *,
    default_context: str | None,
    args: tuple[str, ...],
    publish: tuple[str, ...],
    publish_all: bool,
    env: tuple[str, ...],
    env_files: tuple[Path, ...],
    name: str | None,
    context: str | None,
    no_context: bool,
    daemons: str,
    restart_daemons: int,
) -> RunOptions:
    from runtimeimg.run import Publish, RunOptions

    if context is not None and no_context:
        raise UsageError("--context and --no-context are both given")
    variables: dict[str, str] = {}
    for path in env_files:
        variables |= _variables(_env_lines(path), f"--env-file '{path}'")
    variables |= _variables(env, "-e")
    return RunOptions(
        args=args,
        env=variables,
        publish=tuple(Publish.parse(text) for text in publish),
        publish_free=publish_all,
        name=name,
        context=None if no_context else _context(context, default_context),
        daemons=daemons,
        restart_daemons=restart_daemons,
    )


def _context(text: str | None, default: str | None) -> ContextChoice | None:
    from dataclasses import replace

    from runtimeimg.run import ContextChoice

    if text is None:
        if default == "/":
            raise UsageError(
                "the current directory is '/': mounting it would give the image this whole machine",
                hint="go to another directory, or pass --context DIR or --no-context",
            )
        return None if default is None else ContextChoice(source=default)
    choice = ContextChoice.parse(text)
    # As it is written, but absolute: the Engine resolves symbolic links by itself.
    folder = Path(choice.source).absolute()
    if not folder.is_dir():
        raise NotFoundError(f"--context '{choice.source}' is not a folder here")
    return replace(choice, source=str(folder))


def _env_lines(path: Path) -> Iterable[str]:
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise NotFoundError(f"--env-file '{path}' does not exist") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"--env-file '{path}' cannot be read: {error}") from None
    return [line.lstrip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _variables(items: Iterable[str], where: str) -> dict[str, str]:
    """Return variables by name; one without a value gets the caller's, and is left out where the caller has none."""
    found = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not name or name != name.strip():
            raise UsageError(f"{where}: {item!r} is not of the form NAME=value")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return found
