"""`runtimeimg explain`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.choosing import choosing_stores
from runtimeimg.cli.options import cache_dir, format_option, store_options
from runtimeimg.cli.targets import target_options

if TYPE_CHECKING:
    from runtimeimg.check.explain import Explanation
    from runtimeimg.cli.looking import Target
    from runtimeimg.stores import StoreOptions


@click.command("explain")
@target_options
@click.argument("path")
@format_option
@store_options
@choosing_stores
def command(target: Target, path: str, output_format: str, stores: Callable[..., StoreOptions]) -> None:
    """Say why PATH is in the image of SPEC, or in IMAGE: which layer, which copy, which package, what loads it."""
    from runtimeimg.cache import Cache
    from runtimeimg.check.explain import explain
    from runtimeimg.check.sources import Sources
    from runtimeimg.cli.looking import looked_into
    from runtimeimg.cli.memory import few_arenas
    from runtimeimg.text import json_escaped, printable

    few_arenas()
    options, cache = stores(), Cache.open(cache_dir())
    with looked_into(target, options, cache) as looked:
        found = explain(looked.facts, path, Sources(looked.facts))
        if found.copy is not None:
            found = replace(found, copy=replace(found.copy, origin=looked.place(found.copy.origin)))
    if output_format == "json":
        click.echo(json_escaped(json.dumps(found.to_json(), indent=2, ensure_ascii=False)))
        return
    for line in _lines(found):
        click.echo(printable(line))


def _lines(found: Explanation) -> Iterator[str]:
    from runtimeimg.text import human_size

    file = found.file
    yield f"{'path':11} {file.path}" + (f" -> {file.target}" if file.is_link else "")
    size = f"{human_size(file.size)}, " if file.is_file else ""
    yield f"{found.kind:11} {size}mode {file.mode:04o}, owner {file.owner[0]}:{file.owner[1]}"
    if found.layer:
        whose = {True: ", the base's", False: ", new", None: ""}[found.is_base]
        yield f"{'layer':11} {found.layer} of {found.layers}{whose}  {found.digest}"
        if found.created_by:
            yield f"{'made by':11} {found.created_by[:200]}"
    if found.copy is not None:
        yield f"{'copied by':11} {found.copy.origin}: '{found.copy.source}' of {found.copy.image or 'the workspace'}"
    if found.source is not None:
        yield f"{'source':11} {found.source}"
    if found.package is not None:
        source = f", source {found.package.origin}" if found.package.origin else ""
        yield f"{'package':11} {found.package}{source}"
    elif not file.is_folder:
        yield f"{'package':11} (of no package)"
    for program in found.loaded_by:
        yield f"{'loaded by':11} {program}"
