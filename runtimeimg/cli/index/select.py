"""`runtimeimg index select`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.choosing import Choosing, choosing_options, wanted_platform
from runtimeimg.cli.index.places import index_argument, max_size_option, place_of
from runtimeimg.cli.options import format_option, store_options
from runtimeimg.cli.tables import aligned
from runtimeimg.text import json_escaped, printable

if TYPE_CHECKING:
    from runtimeimg.selection.choice import Choice
    from runtimeimg.stores import StoreOptions


@click.command("select")
@index_argument
@click.option("--platform", metavar="P|host", help="Platform to choose for; the host's by default.")
@choosing_options
@click.option("--explain", is_flag=True, help="Show how each entry was judged.")
@click.option("--look-inside", is_flag=True, help="Read the configs of what fits: platforms, NVIDIA_REQUIRE_*.")
@format_option
@max_size_option
@store_options
def command(
    index: str,
    platform: str | None,
    choosing: Choosing,
    explain: bool,
    look_inside: bool,
    output_format: str,
    max_size: int,
    stores: Callable[[], StoreOptions],
) -> None:
    """Print the digest of the entry of INDEX that is for a host.

    What must hold comes first, then the platform in the order of the engine, then the weights of the annotations that
    are preferred, then the order of the index. Nothing is fetched but the index.
    """
    from runtimeimg.image import ImageIndex
    from runtimeimg.selection.choice import require
    from runtimeimg.selection.explain import described, links
    from runtimeimg.selection.opened import chosen_of
    from runtimeimg.stores import open_image

    wishes = choosing.wishes()
    criteria = wishes.criteria(wanted_platform(platform))
    found = open_image(place_of(index), replace(stores(), max_top=max_size))
    place, choice = chosen_of(found, criteria, inside=look_inside)
    if output_format == "json":
        document = place.index if isinstance(place, ImageIndex) else place.manifest or place.config
        data = described(choice, place.name, str(document.digest), wishes.documentation)
        click.echo(json_escaped(json.dumps(data, indent=2, ensure_ascii=False)))
    elif explain:
        for line in _table(choice, links(choice, wishes.documentation)):
            click.echo(line)
    chosen = require(choice, place.name)
    if output_format != "json":
        click.echo(str(chosen.candidate.descriptor.digest))


def _table(choice: Choice, documentation: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each entry: its place among the platforms, its score by key, or why it does not do."""
    from runtimeimg.selection.explain import scores

    rows = [("", "#", "DIGEST", "PLATFORM", "PLACE", "SCORE", "WHY")]
    for item in choice.judged:
        found = item.candidate
        liked = ", ".join(f"{key} {weight:+d}" for key, weight in scores(item).items())
        rows.append(
            (
                "*" if item is choice.chosen else "",
                str(found.position + 1),
                found.descriptor.digest.short,
                found.platform.full if found.platform else "-",
                str(item.rank.place + 1) if item.rank else "-",
                str(item.score) if item.fits else "-",
                "; ".join(item.failures) or liked,
            )
        )
    yield from aligned(rows)
    for name, link in documentation.items():
        yield printable(f"{name}: {link}")
