"""`runtimeimg size`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.choosing import choosing_stores
from runtimeimg.cli.options import cache_dir, store_options
from runtimeimg.cli.targets import target_options

if TYPE_CHECKING:
    from runtimeimg.cache import Cache
    from runtimeimg.check.facts import Facts
    from runtimeimg.check.size import Changed, Sizes
    from runtimeimg.cli.looking import Looked, Target
    from runtimeimg.stores import StoreOptions

OVER = 10
"""Exit code for an image over its budget."""
_ROWS = 15
_DRAWN = ("svg", "html")


@click.command("size")
@target_options
@click.option("--against", metavar="IMAGE", help="Image to compare with, such as the tag before.")
@click.option("--max-size", metavar="N", help="Budget in bytes, or with kB, MB, GB; exit code 10 over it.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json", "markdown", "svg", "html"]),
    default="table",
    show_default=True,
    help="svg and html are a treemap of the files.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="File to write.")
@click.option(
    "--color-by", type=click.Choice(["layer", "package"]), default="layer", show_default=True, help="What svg colours."
)
@click.option("--all", "everything", is_flag=True, help=f"All rows, not the {_ROWS} largest of each kind.")
@store_options
@choosing_stores
def command(
    target: Target,
    against: str | None,
    max_size: str | None,
    output_format: str,
    output: Path | None,
    color_by: str,
    everything: bool,
    stores: Callable[..., StoreOptions],
) -> int:
    """Say what the bytes of the image of SPEC, or of IMAGE, are: by layer, by folder, by package.

    With --against also what was added, removed, grown and changed.
    """
    from runtimeimg.cache import Cache
    from runtimeimg.check.size import sizes
    from runtimeimg.cli.looking import looked_into
    from runtimeimg.cli.memory import few_arenas
    from runtimeimg.text import printable

    few_arenas()
    _refuse(against, output_format, output)
    limit = bytes_of(max_size) if max_size is not None else None
    options, cache = stores(), Cache.open(cache_dir())
    with looked_into(target, options, cache) as looked:
        found = sizes(looked.facts)
        changed = _changed(against, looked, options, cache) if against is not None else None
        drawn = _drawn(looked.facts, output_format, color_by) if output_format in _DRAWN else None
    over = limit is not None and found.total > limit
    if drawn is not None:
        text = drawn
    elif output_format == "json":
        text = _json(found, changed, over=over)
    else:
        rows = None if everything else _ROWS
        lines = (_markdown if output_format == "markdown" else _table)(found, changed, rows)
        text = "".join(f"{printable(line)}\n" for line in lines)
    _out(text, output)
    if over and limit is not None:
        click.echo(f"runtimeimg: {found.total:,} bytes are more than the budget of {limit:,}", err=True)
    return OVER if over else 0


def _refuse(against: str | None, output_format: str, output: Path | None) -> None:
    """Raise UsageError for what cannot be done, before anything is composed."""
    from runtimeimg.errors import UsageError
    from runtimeimg.stores.files import require_folder

    if against is not None and output_format in _DRAWN:
        raise UsageError(
            f"differences are not drawn: --against does not go with --format {output_format}",
            hint="use table, json or markdown",
        )
    if output is not None:
        require_folder(output, f"'{output}'")


def _drawn(facts: Facts, output_format: str, color_by: str) -> str:
    from runtimeimg.check.treemap import treemap
    from runtimeimg.check.treemapdrawing import page, svg

    drawn = treemap(facts)
    return svg(drawn, color_by) if output_format == "svg" else page(drawn)


def _json(found: Sizes, changed: Sequence[Changed] | None, *, over: bool) -> str:
    from runtimeimg.text import json_escaped

    data = {**found.to_json(), "changed": None if changed is None else [_described(item) for item in changed]}
    return json_escaped(json.dumps({**data, "overBudget": over}, indent=2, ensure_ascii=False)) + "\n"


def _out(text: str, output: Path | None) -> None:
    from runtimeimg.stores.files import write_atomically

    if output is None:
        click.echo(text, nl=False)
    else:
        write_atomically(output, text.encode())


def bytes_of(text: str) -> int:
    """Return the bytes of `N`, `N kB`, `N MB` or `N GB` (powers of 1000), `KiB` and so on (of 1024)."""
    import re

    match = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]{1,3})?)\s*(?:([kKMG])(i?)[bB]?|[bB])?\s*", text)
    if match is None:
        raise click.BadParameter(f"'{text[:40]}' is no size; write bytes, or 150MB", param_hint="--max-size")
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** {"": 0, "K": 1, "M": 2, "G": 3}[(match[2] or "").upper()])


def _changed(against: str, looked: Looked, options: StoreOptions, cache: Cache | None) -> Sequence[Changed]:
    from runtimeimg.check.opened import opened
    from runtimeimg.check.size import differences
    from runtimeimg.cli.locations import location_of
    from runtimeimg.stores import open_one

    image = looked.facts.view.image
    other = open_one(location_of(against), image.platform, options)
    with opened(other, cache=cache, account=options.account) as facts:
        return differences(facts.view, looked.facts.view)


def _described(item: Changed) -> dict[str, object]:
    return {"path": item.path, "what": item.what, "before": item.before, "after": item.after}


def _groups(
    found: Sizes, changed: Sequence[Changed] | None, rows: int | None
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield headings and rows of size and name."""
    from runtimeimg.text import human_size

    layers = []
    for item in found.layers:
        whose = {True: "base", False: "new", None: ""}[item.is_base]
        size = human_size(item.files if item.stored is None else item.stored)
        layers.append((size, " ".join(filter(None, (f"{item.number}", whose, item.created_by[:90])))))
    yield "layers", layers
    yield "folders", [(human_size(size), path) for path, size in found.folders[:rows]]
    yield "packages", [(human_size(size), name) for name, size in found.packages[:rows]]
    if changed is not None:
        shown = sorted(changed, key=lambda item: -abs(item.difference))[:rows]
        more = f", {len(shown)} of {len(changed)}" if len(shown) < len(changed) else ""
        yield f"changed{more}", [(_signed(item.difference), f"{item.what} {item.path}") for item in shown]


def _signed(count: int) -> str:
    from runtimeimg.text import human_size

    return f"{'-' if count < 0 else '+'}{human_size(abs(count))}"


def _sum(found: Sizes, changed: Sequence[Changed] | None) -> str:
    from runtimeimg.text import human_size

    told = f"{human_size(found.files)} in {found.count:,} files"
    told = f"{human_size(found.stored)} stored, {told}" if found.stored is not None else told
    if found.builder is not None and found.stored is not None and found.builder > found.stored:
        told += f"; the builder image is {human_size(found.builder)}"
    if changed is not None:
        told += f"; {_signed(sum(item.difference for item in changed))} against the other"
    return told


def _table(found: Sizes, changed: Sequence[Changed] | None, rows: int | None) -> Iterator[str]:
    yield _sum(found, changed)
    for title, several in _groups(found, changed, rows):
        yield f"{title}:"
        yield from (f"  {size:>10}  {name}" for size, name in several)
        if not several:
            yield "  none"


def _markdown(found: Sizes, changed: Sequence[Changed] | None, rows: int | None) -> Iterator[str]:
    from runtimeimg.findings.markdown import cell

    yield f"**{cell(_sum(found, changed))}**"
    for title, several in _groups(found, changed, rows):
        yield ""
        yield f"<details{' open' if title.startswith('changed') else ''}><summary>{title}</summary>"
        yield ""
        yield "| bytes | what |"
        yield "| ---: | --- |"
        yield from (f"| {size} | {cell(name)} |" for size, name in several)
        yield ""
        yield "</details>"
