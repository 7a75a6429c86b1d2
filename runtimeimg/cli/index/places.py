"""Where indexes are, and how much of one is read: what the commands of the group share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runtimeimg.budgets import MAX_DOCUMENT, MAX_INDEX
from runtimeimg.cli.locations import location_of

if TYPE_CHECKING:
    from runtimeimg.image import ImageIndex
    from runtimeimg.image.indexes import Entry
    from runtimeimg.oci import Location
    from runtimeimg.stores import StoreOptions
    from runtimeimg.stores.indexes import WrittenIndex

F = TypeVar("F", bound=Callable[..., Any])

max_size_option = click.option(
    "--max-size",
    type=click.IntRange(1, MAX_DOCUMENT),
    default=MAX_INDEX,
    show_default=True,
    metavar="BYTES",
    help="How large an index is read.",
)
output_option = click.option(
    "-o", "--output", metavar="DEST", help="Where to write the changed index; INDEX itself by default."
)
index_argument = click.argument("index", metavar="INDEX")


def place_of(text: str) -> Location:
    """Return where an index or one of its images is; a bare name is its registry's, as an Engine keeps no index."""
    from runtimeimg.oci import Location

    found = location_of(text)
    return found if found.transport is not None else Location(transport="docker", reference=found.reference)


def change(
    index: str, output: str | None, max_size: int, stores: StoreOptions, work: Callable[[ImageIndex], ImageIndex]
) -> WrittenIndex:
    """Read an index, change it by `work`, and write it to `output` or back, unless it was changed meanwhile."""
    from runtimeimg.stores import open_index
    from runtimeimg.stores.indexes import require_index_place, write_index

    place = place_of(index)
    target = place_of(output) if output else place
    require_index_place(target)
    found = open_index(place, stores, max_size)
    return write_index(work(found), target, stores, expected=found.index.digest if target == place else None)


def report(done: WrittenIndex, notes: Iterable[str] = ()) -> None:
    """Say where an index is; its digest goes to standard output."""
    from runtimeimg.text import message

    for text in notes:
        click.echo(message(f"note: {text}"), err=True)
    name = done.written.name
    click.echo(message(f"wrote {name}" if done.changed else f"{name} is unchanged"), err=True)
    found = done.written.descriptor
    assert found is not None
    if found.size > MAX_INDEX:
        click.echo(
            f"note: it is {found.size} bytes; many registries and engines take {MAX_INDEX} at the most", err=True
        )
    click.echo(str(found.digest))


def shadows(entries: Sequence[Entry]) -> Iterator[str]:
    """Say which entries nobody will ever choose."""
    from runtimeimg.image.indexes import shadowed

    for first, second in shadowed(entries):
        yield f"entry {second + 1} is never chosen: entry {first + 1} has the same platform and annotations"
