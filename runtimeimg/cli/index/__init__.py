"""`runtimeimg index`: the group; each command is a module beside this."""

from __future__ import annotations

import click

from runtimeimg.cli.lazy import LazyGroup

# name: (module of this package, what `--help` says of it)
COMMANDS = {
    "add": ("add", "Add images to an index."),
    "annotate": ("annotate", "Annotate an index or its entries."),
    "check": ("check", "Check which entries of images hosts would run, or that none fits."),
    "compat": ("compat", "Say, and check, what an image needs of hosts."),
    "create": ("create", "Make an index of images."),
    "lint": ("lint", "Say what is wrong with an index."),
    "matrix": ("matrix", "Show which entry each engine would run on which platform."),
    "remove": ("remove", "Take entries out of an index."),
    "select": ("select", "Choose the entry of an index that is for a host."),
    "show": ("show", "Show what an index lists."),
}


@click.group("index", cls=LazyGroup, package=__name__, table=COMMANDS)
def command() -> None:
    """Make indexes of images, and choose from and check them."""
