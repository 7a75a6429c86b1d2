"""`runtimeimg graph join SMALL CLOSURE`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.locations import location_of
from runtimeimg.cli.options import store_options
from runtimeimg.cli.progress import MODES

if TYPE_CHECKING:
    from runtimeimg.stores import StoreOptions


@click.command("join")
@click.argument("small")
@click.argument("closure")
@click.option("-o", "--output", required=True, metavar="DEST", help="Where the image is written.")
@click.option("--progress", type=click.Choice(MODES), default="auto", show_default=True)
@store_options
def command(small: str, closure: str, output: str, progress: str, stores: Callable[..., StoreOptions]) -> None:
    """Put the image SMALL and the paths of the store that it needs, out of the image CLOSURE, together again.

    Its digest is printed. The files are those of the image that 'graph split' was given, in other layers.
    """
    from runtimeimg.cli.progress import display
    from runtimeimg.configgraph.splitting import join
    from runtimeimg.stores import open_destination, open_one

    sources, target = [location_of(text) for text in (small, closure)], location_of(output)
    with display(progress) as shown:
        options = stores(shown)
        place = open_destination(target, options)
        place.check()
        first, second = (open_one(source, None, options) for source in sources)
        with join(first, second) as image:
            written = place.write(image)
    click.echo(f"wrote {written.name}", err=True)
    click.echo(str(written.descriptor.digest) if written.descriptor else written.image_id)
