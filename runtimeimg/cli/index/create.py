"""`runtimeimg index create`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.index.images import entries_wanted, flatten_option, image_option, types_option
from runtimeimg.cli.index.places import max_size_option, place_of, report, shadows
from runtimeimg.cli.options import pairs, store_options
from runtimeimg.cli.progress import MODES

if TYPE_CHECKING:
    from runtimeimg.stores import StoreOptions


@click.command("create")
@click.argument("destination", metavar="DEST")
@image_option
@click.option("--annotation", "annotations", multiple=True, metavar="K=V", help="Annotation of the index itself.")
@flatten_option
@types_option
@max_size_option
@click.option("--progress", type=click.Choice(MODES), default="auto", show_default=True)
@store_options
def command(
    destination: str,
    images: tuple[str, ...],
    annotations: tuple[str, ...],
    flatten: bool,
    keep_types: bool,
    max_size: int,
    progress: str,
    stores: Callable[..., StoreOptions],
) -> None:
    """Make an index of images, in the order given, and write it to DEST with all of them.

    DEST is a name in a registry, oci:DIR:TAG or oci-archive:FILE:TAG. The platform of an entry is that of the image's
    config. An index that is there already is not written again.
    """
    from runtimeimg.cli.progress import display
    from runtimeimg.image.indexes import assembled
    from runtimeimg.stores.indexes import require_index_place, write_index

    target = place_of(destination)
    require_index_place(target)
    own, how = pairs(annotations, "--annotation"), {"flatten": flatten, "keep_types": keep_types}
    notes: list[str] = []
    with display(progress) as shown, ExitStack() as stack:
        options = stores(shown)
        entries = entries_wanted(images, target, options, stack, max_size=max_size, say=notes.append, **how)
        notes += shadows(entries)
        done = write_index(assembled(entries, own, name=str(target)), target, options)
    report(done, notes)
