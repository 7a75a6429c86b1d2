"""The `runtimeimg` command: its subcommands, imported when they are asked for, and the one error exit."""

from __future__ import annotations

import contextlib
import os
import sys
from itertools import takewhile
from typing import NoReturn

import click

from runtimeimg import __version__
from runtimeimg.cli import interrupts, streams
from runtimeimg.cli.lazy import LazyGroup
from runtimeimg.errors import BuildFailed, RuntimeimgError
from runtimeimg.hostfile import system_error
from runtimeimg.text import message as shown

# name: (module under runtimeimg.cli, what `--help` says of it)
COMMANDS = {
    "build": ("build", "Build the runtime image of a spec and stamp it."),
    "bundle": ("bundle", "Make an image a runtime bundle, which runc and crun start."),
    "cache": ("cache", "Show or clear what the native builder keeps."),
    "check": ("check", "Say whether an image will start, and what it lacks."),
    "completion": ("completion", "Print what completes this command in bash, zsh or fish."),
    "copy": ("copy", "Copy an image from one place to another."),
    "debug": ("debug", "Open a shell in an image, which need not have one."),
    "explain": ("explain", "Say why a file is in an image."),
    "export": ("export", "Write documents or commands of other tools that run an image."),
    "graph": ("graph", "Tie artefacts, automatons and hosts together."),
    "host": ("host", "Make profiles of machines that images are chosen for."),
    "index": ("index", "Make indexes of images, and choose from and check them."),
    "inspect": ("inspect", "Show an image's config, runtime graph and layers."),
    "logs": ("logs", "Show what a run has written."),
    "ps": ("ps", "List runs."),
    "render": ("render", "Write the Dockerfile.runtime of a spec."),
    "run": ("run", "Run an image from what is stamped into it."),
    "sbom": ("sbom", "List the packages that an image's files came with."),
    "schema": ("schema", "Print the JSON Schema of the spec."),
    "size": ("size", "Say what the bytes of an image are, and what has changed."),
    "stamp": ("stamp", "Stamp an image that something else built."),
    "step": ("step", "Do what a step of a build strategy does, in a pod."),
    "strategy": ("strategy", "Make or amend Tekton and Shipwright documents."),
    "stop": ("stop", "Stop runs."),
    "version": ("version", "Show versions, and which builders answer."),
}


@click.group(
    cls=LazyGroup,
    package="runtimeimg.cli",
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="runtimeimg", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
def cli(debug: bool) -> None:
    """Make lean runtime images that say themselves how they are run."""


def main() -> NoReturn:
    """Run the command line and end the process with the right exit code."""
    # pydantic looks through all installed packages for plugins of its own when it is imported; we use none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    streams.prepare()
    try:
        interrupts.tidy_up_first()
        _sweep()
        code = _finished(_run(debug=_wants_traceback(sys.argv[1:])))
        interrupts.end_at_once()
    except KeyboardInterrupt:
        # Everything was tidied up on the way here; threads that still wait for somebody are not waited for.
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        interrupts.end()
    sys.exit(code)


def _wants_traceback(arguments: list[str]) -> bool:
    """Tell whether `--debug` is given before the command; behind it, it is the command's own."""
    return "--debug" in takewhile(lambda text: text.startswith("-"), arguments)


def _sweep() -> None:
    """Remove what killed commands have left; almost always there is nothing, and nothing to be loaded for it."""
    tmp = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - only looked at
    if os.path.lexists(f"{tmp}/runtimeimg-{os.geteuid()}"):
        from runtimeimg import remains

        with contextlib.suppress(OSError):
            remains.sweep(tmp)


def _run(*, debug: bool) -> int:
    """Run the command line and return the exit code; what went wrong is said."""
    try:
        # Without its standalone mode click returns the code of an early exit instead of raising it.
        returned = cli.main(prog_name="runtimeimg", standalone_mode=False)
    except click.ClickException as error:
        _show_usage(error)
        return error.exit_code
    except click.Abort:
        raise KeyboardInterrupt from None
    except streams.OutputError as error:
        return _unwritten(error)
    except RuntimeimgError as error:
        if debug:
            raise
        show_error(error)
        return error.exit_code
    except OSError as error:
        if debug:
            raise
        refused = system_error(error)
        show_error(refused)
        return refused.exit_code
    except Exception as error:
        if debug:
            raise
        _say(f"runtimeimg: internal error: {type(error).__name__}: {error}")
        click.echo("  this is a fault of runtimeimg; run again with --debug for the traceback", err=True)
        return 1
    return returned if isinstance(returned, int) else 0


def _finished(code: int) -> int:
    """Write what is left of the output and return the exit code."""
    failed = streams.finish()
    return _unwritten(failed) if failed is not None and not code else code


def _unwritten(error: streams.OutputError) -> int:
    """Say why the output could not be written and return the exit code; a reader may go away (`| head`)."""
    if error.gone:
        return 141
    _say(f"runtimeimg: standard output cannot be written: {error}")
    return 1


def _show_usage(error: click.ClickException) -> None:
    """Print what is wrong with the command line, as click does."""
    context = getattr(error, "ctx", None)
    if context is not None:
        click.echo(context.get_usage(), err=True)
        if context.command.get_help_option(context) is not None:
            click.echo(f"Try '{context.command_path} {context.help_option_names[0]}' for help.\n", err=True)
    _say(f"Error: {error.format_message()}")


def show_error(error: RuntimeimgError) -> None:
    """Print an error for people: what is wrong, the failing step with its last lines, and what to do."""
    _say(f"runtimeimg: {error}" if "\n" not in str(error) else str(error))
    if isinstance(error, BuildFailed):
        if error.origin:
            _say(f"  from {error.origin}")
        if error.step:
            _say(f"  step: {error.step}")
        for line in error.output:
            _say(f"  | {line}")
        if error.log:
            _say(f"  the whole log is in {error.log}")
    if error.hint:
        _say(f"  {error.hint}")


def _say(text: str) -> None:
    """Print a message; what it quotes of images, registries and documents may hold anything."""
    click.echo(shown(text), err=True)
