"""Where indexes are, and how much of one is read: what the commands of the group share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runtimeimg.budgets import MAX_DOCUMENT, MAX_INDEX
from runtimeimg.cli.locations import location_of

if TYPE_CHECKING:
    from runtimeimg.oci import Location

F = TypeVar("F", bound=Callable[..., Any])

max_size_option = click.option(
    "--max-size",
    type=click.IntRange(1, MAX_DOCUMENT),
    default=MAX_INDEX,
    show_default=True,
    metavar="BYTES",
    help="How large an index is read.",
)
index_argument = click.argument("index", metavar="INDEX")


def place_of(text: str) -> Location:
    """Return where an index or one of its images is; a bare name is its registry's, as an Engine keeps no index."""
    from runtimeimg.oci import Location

    found = location_of(text)
    return found if found.transport is not None else Location(transport="docker", reference=found.reference)
