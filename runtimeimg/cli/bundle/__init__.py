"""`runtimeimg bundle`: the group; each command is a module beside this."""

from __future__ import annotations

import click

from runtimeimg.cli.lazy import LazyGroup

# name: (module of this package, what `--help` says of it)
COMMANDS = {
    "check": ("check", "Say what of a bundle a runtime does not vouch for."),
    "write": ("write", "Write the bundle of an image; what 'bundle IMAGE DIR' means."),
}
_WRITE = "write"


class BundleGroup(LazyGroup):
    """A group whose arguments are those of `write` where they begin with no command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments."""
        if args and args[0] not in COMMANDS and args[0] not in ctx.help_option_names:
            args = [_WRITE, *args]
        return super().parse_args(ctx, args)


@click.group("bundle", cls=BundleGroup, package=__name__, table=COMMANDS, subcommand_metavar="IMAGE DIR | COMMAND ...")
def command() -> None:
    """Make an image a runtime bundle, which runc and crun start; 'bundle IMAGE DIR' writes one.

    'runtimeimg bundle write --help' has the options.
    """
