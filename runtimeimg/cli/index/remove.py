"""`runtimeimg index remove`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.index.picking import all_option, picked
from runtimeimg.cli.index.places import change, index_argument, max_size_option, output_option, report
from runtimeimg.cli.options import store_options

if TYPE_CHECKING:
    from runtimeimg.image import ImageIndex
    from runtimeimg.stores import StoreOptions


@click.command("remove")
@index_argument
@click.argument("entries", metavar="ENTRY...", nargs=-1, required=True)
@all_option
@output_option
@max_size_option
@store_options
def command(
    index: str,
    entries: tuple[str, ...],
    every: bool,
    output: str | None,
    max_size: int,
    stores: Callable[..., StoreOptions],
) -> None:
    """Take entries out of INDEX; the images stay where they are.

    ENTRY is a number as `index show` counts, a digest or its beginning, a platform, an annotation K=V, or several of
    these with commas between them, which must all fit.
    """
    from runtimeimg.image.indexes import assembled, entries_of, removed

    def work(found: ImageIndex) -> ImageIndex:
        gone = [number for text in entries for number in picked(found, text, every=every)]
        return assembled(removed(entries_of(found), gone), found.index.annotations, base=found)

    report(change(index, output, max_size, stores(), work))
