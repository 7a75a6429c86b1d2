"""`runtimeimg index compat`: the group; each command is a module beside this."""

from __future__ import annotations

import click

from runtimeimg.cli.lazy import LazyGroup

# name: (module of this package, what `--help` says of it)
COMMANDS = {
    "attach": ("attach", "Attach a document to an image or index."),
    "check": ("check", "Hold what an image needs against hosts."),
    "show": ("show", "Show what an image needs of hosts."),
    "validate": ("validate", "Say what is wrong with documents."),
}


@click.group("compat", cls=LazyGroup, package=__name__, table=COMMANDS)
def command() -> None:
    """Say, and check, what an image needs of hosts: compatibility artifacts of Node Feature Discovery."""
