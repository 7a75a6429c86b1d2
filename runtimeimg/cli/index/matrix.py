"""`runtimeimg index matrix`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli.index.places import index_argument, max_size_option, place_of
from runtimeimg.cli.locations import platforms_of
from runtimeimg.cli.options import store_options
from runtimeimg.cli.tables import aligned
from runtimeimg.text import json_escaped, printable

if TYPE_CHECKING:
    from runtimeimg.image import ImageIndex
    from runtimeimg.selection.candidates import Candidate
    from runtimeimg.selection.matrix import Matrix
    from runtimeimg.stores import StoreOptions

_MARKDOWN = str.maketrans({"|": "\\|", "<": "&lt;", ">": "&gt;", "&": "&amp;", "`": "&#96;", "\\": "\\\\"})


@click.command("matrix")
@index_argument
@click.option("--platform", "platforms", metavar="P,...", help="Platforms to show; by default those that are usual.")
@click.option("--look-inside", is_flag=True, help="Read the configs of entries that name no platform.")
@click.option(
    "--format", "output_format", type=click.Choice(["table", "json", "markdown"]), default="table", show_default=True
)
@max_size_option
@store_options
def command(
    index: str,
    platforms: str | None,
    look_inside: bool,
    output_format: str,
    max_size: int,
    stores: Callable[[], StoreOptions],
) -> None:
    """Show which entry of INDEX containerd, docker and podman would run when each is asked for a platform.

    podman's rules are those of skopeo and buildah too. Entries are numbered as `index show` numbers them.
    """
    from runtimeimg.selection.matrix import matrix
    from runtimeimg.stores import open_index

    wanted = platforms_of(platforms)
    found = open_index(place_of(index), stores(), max_size)
    result = matrix(found, wanted, inside=look_inside)
    if output_format == "json":
        click.echo(json_escaped(json.dumps(_described(found, result), indent=2, ensure_ascii=False)))
        return
    for line in _markdown(result) if output_format == "markdown" else _table(result):
        click.echo(line)


def _described(found: ImageIndex, result: Matrix) -> dict[str, Any]:
    return {
        "name": found.name,
        "index": str(found.index.digest),
        "platforms": [
            {
                "platform": row.platform.full,
                "same": row.same,
                **{
                    str(engine): {"entry": item.position + 1, "digest": str(item.descriptor.digest)} if item else None
                    for engine, item in zip(result.engines, row.chosen, strict=True)
                },
            }
            for row in result.rows
        ],
    }


def _table(result: Matrix) -> Iterator[str]:
    rows = [("PLATFORM", *(str(engine).upper() for engine in result.engines), "")]
    rows += [(row.platform.full, *map(_cell, row.chosen), "" if row.same else "they differ") for row in result.rows]
    yield from aligned(rows)


def _markdown(result: Matrix) -> Iterator[str]:
    """Yield a table, cells that differ from the first one bold, and below it the entries that were chosen."""
    yield f"| platform | {' | '.join(map(str, result.engines))} |"
    yield f"| --- |{' --- |' * len(result.engines)}"
    for row in result.rows:
        cells = [
            f"**{_cell(item)}**" if _digest(item) != _digest(row.chosen[0]) else _cell(item) for item in row.chosen
        ]
        yield f"| {_safe(row.platform.full)} | {' | '.join(cells)} |"
    chosen = {item.descriptor.digest: item for row in result.rows for item in row.chosen if item is not None}
    yield ""
    for item in sorted(chosen.values(), key=lambda item: item.position):
        annotations = ", ".join(f"{key}={value}" for key, value in sorted(item.annotations.items()))
        platform = item.platform.full if item.platform else "no platform"
        yield _safe(f"- {_cell(item)}: {platform}" + (f", {annotations}" if annotations else ""))


def _cell(item: Candidate | None) -> str:
    return f"#{item.position + 1} {item.descriptor.digest.short}" if item else "-"


def _digest(item: Candidate | None) -> str | None:
    return str(item.descriptor.digest) if item else None


def _safe(text: str) -> str:
    return printable(text).translate(_MARKDOWN)
