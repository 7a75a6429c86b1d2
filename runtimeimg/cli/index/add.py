"""`runtimeimg index add`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.index.images import entries_wanted, flatten_option, image_option, types_option
from runtimeimg.cli.index.places import (
    change,
    index_argument,
    max_size_option,
    output_option,
    place_of,
    report,
    shadows,
)
from runtimeimg.cli.options import store_options
from runtimeimg.cli.progress import MODES

if TYPE_CHECKING:
    from runtimeimg.image import ImageIndex
    from runtimeimg.stores import StoreOptions


@click.command("add")
@index_argument
@image_option
@click.option(
    "--at", type=click.IntRange(min=1), metavar="N", help="Number of the first new entry; the end by default."
)
@output_option
@flatten_option
@types_option
@max_size_option
@click.option("--progress", type=click.Choice(MODES), default="auto", show_default=True)
@store_options
def command(
    index: str,
    images: tuple[str, ...],
    at: int | None,
    output: str | None,
    flatten: bool,
    keep_types: bool,
    max_size: int,
    progress: str,
    stores: Callable[..., StoreOptions],
) -> None:
    """Add images to INDEX.

    One of the same platform and annotations as an entry that is there takes its place; all other entries stay where
    they are.
    """
    from runtimeimg.cli.progress import display
    from runtimeimg.image.indexes import added, assembled, entries_of, in_oci_types

    how, notes = {"flatten": flatten, "keep_types": keep_types}, list[str]()
    with display(progress) as shown, ExitStack() as stack:
        options, target = stores(shown), place_of(output or index)

        def work(found: ImageIndex) -> ImageIndex:
            new = entries_wanted(images, target, options, stack, max_size=max_size, say=notes.append, **how)
            entries = added(entries_of(found), new, at - 1 if at else None)
            notes.extend(shadows(entries))
            told = entries if keep_types else [in_oci_types(entry) for entry in entries]
            return assembled(told, found.index.annotations, base=found)

        done = change(index, output, max_size, options, work)
    report(done, notes)
