"""`runtimeimg graph`: the group; each command is a module beside this."""

from __future__ import annotations

import click

from runtimeimg.cli.lazy import LazyGroup

# name: (module of this package, what `--help` says of it)
COMMANDS: dict[str, tuple[str, str]] = {}


@click.group("graph", cls=LazyGroup, package=__name__, table=COMMANDS)
def command() -> None:
    """Tie artefacts, automatons and hosts together, and ask what follows."""
