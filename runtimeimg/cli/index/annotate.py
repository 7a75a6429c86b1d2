"""`runtimeimg index annotate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.index.picking import all_option, picked
from runtimeimg.cli.index.places import change, index_argument, max_size_option, output_option, report, shadows
from runtimeimg.cli.options import pairs, store_options
from runtimeimg.errors import UsageError

if TYPE_CHECKING:
    from runtimeimg.image import ImageIndex
    from runtimeimg.image.indexes import Entry
    from runtimeimg.oci import Platform
    from runtimeimg.stores import StoreOptions


@click.command("annotate")
@index_argument
@click.argument("annotations", metavar="[K=V]...", nargs=-1)
@click.option("--entry", "entries", multiple=True, metavar="ENTRY", help="Entry to annotate; may be given often.")
@click.option("--remove", "keys", multiple=True, metavar="K", help="Annotation to remove; may be given often.")
@click.option("--platform", metavar="P", help="Platform that the entry is to tell; it must fit the image.")
@all_option
@output_option
@max_size_option
@store_options
def command(
    index: str,
    annotations: tuple[str, ...],
    entries: tuple[str, ...],
    keys: tuple[str, ...],
    platform: str | None,
    every: bool,
    output: str | None,
    max_size: int,
    stores: Callable[..., StoreOptions],
) -> None:
    """Annotate entries of INDEX, or without --entry the index itself; the images stay as they are.

    ENTRY is what `index remove` takes. An index of Docker's media types becomes one of OCI's, which alone have
    annotations.
    """
    from runtimeimg.image.indexes import assembled, entries_of
    from runtimeimg.oci import Platform

    new, told = pairs(annotations, "annotation"), Platform.parse(platform) if platform else None
    if not new and not keys and told is None:
        raise UsageError("there is nothing to change", hint="name an annotation, --remove or --platform")
    if told is not None and not entries:
        raise UsageError("--platform says nothing of an index", hint="name an entry with --entry")

    notes: list[str] = []

    def changed(entry: Entry) -> Entry:
        kept = annotated(entry.descriptor.annotations, new, keys)
        platform = entry.descriptor.platform if told is None else _told(entry, told)
        return replace(entry, descriptor=replace(entry.descriptor, annotations=kept, platform=platform))

    def work(found: ImageIndex) -> ImageIndex:
        if not entries:
            return assembled(entries_of(found), annotated(found.index.annotations, new, keys), base=found)
        numbers = {number for text in entries for number in picked(found, text, every=every)}
        made = [changed(entry) if at in numbers else entry for at, entry in enumerate(entries_of(found))]
        notes.extend(shadows(made))
        return assembled(made, found.index.annotations, base=found)

    report(change(index, output, max_size, stores(), work), notes)


def _told(entry: Entry, platform: Platform) -> Platform:
    """Return what the image's config tells, with what `platform` tells beyond it."""
    from runtimeimg.image import Image
    from runtimeimg.image.indexes import told_closer

    image = entry.open()
    return told_closer(image.platform, platform, image.name) if isinstance(image, Image) else platform


def annotated(old: Mapping[str, str], new: Mapping[str, str], gone: Sequence[str]) -> dict[str, str]:
    """Return annotations with new ones, without those of the keys in `gone`."""
    return {key: value for key, value in {**old, **new}.items() if key not in gone}
