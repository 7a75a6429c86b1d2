"""`runtimeimg copy`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.options import store_options
from runtimeimg.cli.progress import MODES

if TYPE_CHECKING:
    from runtimeimg.stores import StoreOptions


@click.command("copy")
@click.argument("source")
@click.argument("destination")
@click.option("--platform", "platforms", metavar="P,...", help="Platforms of an index to copy; all by default.")
@click.option("--progress", type=click.Choice(MODES), default="auto", show_default=True)
@store_options
def command(
    source: str, destination: str, platforms: str | None, progress: str, stores: Callable[..., StoreOptions]
) -> None:
    """Copy an image or a whole index from SOURCE to DESTINATION, unchanged."""
    from runtimeimg.cli.progress import display
    from runtimeimg.oci import Location, Platform
    from runtimeimg.stores.copying import copy

    wanted = tuple(Platform.parse(item) for item in platforms.split(",")) if platforms else ()
    with display(progress) as shown:
        written = copy(Location.parse(source), Location.parse(destination), stores(shown), platforms=wanted)
    click.echo(f"wrote {written.name}", err=True)
    click.echo(str(written.descriptor.digest) if written.descriptor else written.image_id)
