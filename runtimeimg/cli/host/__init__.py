"""`runtimeimg host`: the group; each command is a module beside this."""

from __future__ import annotations

import click

from runtimeimg.cli.lazy import LazyGroup

# name: (module of this package, what `--help` says of it)
COMMANDS = {
    "detect": ("detect", "Write a profile of this machine, or of a Kubernetes node."),
}


@click.group("host", cls=LazyGroup, package=__name__, table=COMMANDS)
def command() -> None:
    """Make profiles of the machines that images are chosen for."""
