"""`runtimeimg graph split IMAGE`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.locations import location_of, platform_of
from runtimeimg.cli.options import image_argument, store_options
from runtimeimg.cli.progress import MODES

if TYPE_CHECKING:
    from runtimeimg.stores import StoreOptions


@click.command("split")
@image_argument
@click.option("-o", "--output", required=True, metavar="DEST", help="Where the small image is written.")
@click.option("--closure", required=True, metavar="DEST", help="Where the image of its store paths is written.")
@click.option("--platform", help="Platform to take of an index; this machine's by default.")
@click.option("--progress", type=click.Choice(MODES), default="auto", show_default=True)
@store_options
def command(
    image: str, output: str, closure: str, platform: str | None, progress: str, stores: Callable[..., StoreOptions]
) -> None:
    """Split IMAGE into one without what is below /nix/store, and one of which each layer is a path of the store.

    The paths that the small image needs are printed. 'graph join' puts the two together again.
    """
    from runtimeimg.cli.progress import display
    from runtimeimg.configgraph.splitting import split
    from runtimeimg.stores import open_destination, open_one

    source, wanted = location_of(image), platform_of(platform)
    targets = location_of(output), location_of(closure)
    with display(progress) as shown:
        options = stores(shown)
        found = open_one(source, wanted, options)
        places = [open_destination(target, options) for target in targets]
        for place in places:
            place.check()
        with split(found) as parts:
            for place, part in zip(places, (parts.small, parts.closure), strict=True):
                place.write(part)
    for target in targets:
        click.echo(f"wrote {target}", err=True)
    for path in parts.paths:
        click.echo(path)
