"""`runtimeimg copy`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.choosing import choosing_stores
from runtimeimg.cli.locations import location_of, platforms_of
from runtimeimg.cli.options import cache_dir, store_options
from runtimeimg.cli.progress import MODES

if TYPE_CHECKING:
    from runtimeimg.stores import StoreOptions


@click.command("copy")
@click.argument("source")
@click.argument("destination")
@click.option("--platform", "platforms", metavar="P,...", help="Platforms of an index to copy; all by default.")
@click.option("--progress", type=click.Choice(MODES), default="auto", show_default=True)
@store_options
@choosing_stores
def command(
    source: str, destination: str, platforms: str | None, progress: str, stores: Callable[..., StoreOptions]
) -> None:
    """Copy an image or a whole index from SOURCE to DESTINATION, unchanged."""
    from runtimeimg.cache import Cache
    from runtimeimg.cli.destinations import destination as parsed
    from runtimeimg.cli.progress import display
    from runtimeimg.oci.reference import DEFAULT_REGISTRY
    from runtimeimg.stores.copying import copy

    wanted, place = platforms_of(platforms), location_of(source)
    (target,) = parsed(destination)
    with display(progress) as shown:
        written = copy(place, target, stores(shown), platforms=wanted, cache=Cache.open(cache_dir(), shown.line))
    click.echo(f"wrote {written.name}", err=True)
    if target.transport is None and target.reference is not None and target.reference.registry != DEFAULT_REGISTRY:
        click.echo(f"  that is in the local Engine; its registry is docker://{target.reference.familiar}", err=True)
    click.echo(str(written.descriptor.digest) if written.descriptor else written.image_id)
