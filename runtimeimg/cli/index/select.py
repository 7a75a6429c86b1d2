"""`runtimeimg index select`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli.choosing import Choosing, choosing_options, wanted_platform
from runtimeimg.cli.index.places import index_argument, max_size_option, place_of
from runtimeimg.cli.options import format_option, store_options
from runtimeimg.cli.tables import aligned
from runtimeimg.text import json_escaped, printable

if TYPE_CHECKING:
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
    from runtimeimg.selection.choice import require
    from runtimeimg.selection.explain import described
    from runtimeimg.selection.opened import chosen_of
    from runtimeimg.stores import open_image

    wishes = choosing.wishes()
    criteria = wishes.criteria(wanted_platform(platform))
    found = open_image(place_of(index), replace(stores(), max_top=max_size))
    name, digest, choice = chosen_of(found, criteria, inside=look_inside)
    if output_format == "json":
        data = described(choice, name, digest, wishes.documentation)
        click.echo(json_escaped(json.dumps(data, indent=2, ensure_ascii=False)))
    elif explain:
        for line in _table(described(choice, name, digest, wishes.documentation)):
            click.echo(line)
    chosen = require(choice, name)
    if output_format != "json":
        click.echo(str(chosen.candidate.descriptor.digest))


def _table(data: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each entry: its place among the platforms, its score by key, or why it does not do."""
    rows = [("", "#", "DIGEST", "PLATFORM", "PLACE", "SCORE", "WHY")]
    for item in data["candidates"]:
        by_key: dict[str, int] = {}
        for liked in item["preferred"]:
            by_key[liked["key"]] = by_key.get(liked["key"], 0) + liked["weight"]
        rows.append(
            (
                "*" if item["chosen"] else "",
                str(item["entry"]),
                item["digest"].partition(":")[2][:12],
                item["platform"] or "-",
                str(item["platformPlace"] or "-"),
                str(item["score"]) if item["fits"] else "-",
                "; ".join(item["reasons"]) or ", ".join(f"{key} {weight:+d}" for key, weight in by_key.items()),
            )
        )
    yield from aligned(rows)
    for name, link in data["documentation"].items():
        yield printable(f"{name}: {link}")
