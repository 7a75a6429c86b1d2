"""`runtimeimg graph impact WHAT`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli.graph.given import graph_option, show_json
from runtimeimg.cli.options import cache_dir, format_option, store_options

if TYPE_CHECKING:
    from runtimeimg.configgraph.impact import Impact, Touched
    from runtimeimg.configgraph.model import View
    from runtimeimg.stores import StoreOptions

_ROWS, _TOLD = 40, 10
"""Nodes of a kind that the table lists, and artefacts of which it is said why nobody knows."""


@dataclass(slots=True)
class _Asked:
    """What was asked for: what it is, where the walk begins, and artefacts of which nobody knows."""

    kind: str
    starts: Sequence[Touched]
    holding: Sequence[str] = ()
    unknown: dict[str, str] = field(default_factory=dict)


@click.command("impact")
@click.argument("what")
@graph_option
@click.option(
    "--offline", is_flag=True, help="Ask no registry for packages: take what the cache and this machine have."
)
@format_option
@store_options
def command(
    what: str, graph_file: Path, offline: bool, output_format: str, stores: Callable[..., StoreOptions]
) -> None:
    """Show what depends on WHAT: an image, a digest, or a package.

    An image is the name of an artefact or a reference; a digest that of a layer, config, manifest or index, or a path
    of a store; a package a package URL, NAME or NAME@VERSION, looked for in the bills of materials beside the images
    and else in the images' own records.
    """
    from runtimeimg.configgraph import saved
    from runtimeimg.configgraph.impact import impact

    view = saved.open(graph_file)
    asked = _asked(view, what, offline, stores)
    found = impact(view, asked.starts, asked.holding)
    if output_format == "json":
        show_json(_described(what, asked, found))
    else:
        for line in _table(what, asked, found):
            click.echo(line)
    _tell(asked)


def _asked(view: View, what: str, offline: bool, stores: Callable[..., StoreOptions]) -> _Asked:
    """Return where the walk begins; NotFoundError for what the graph has not and what can be no package."""
    from runtimeimg.configgraph.impact import blob_of, is_blob, of_blob, of_image
    from runtimeimg.configgraph.model import Kind
    from runtimeimg.configgraph.views import named

    blob = blob_of(view, what)
    if blob:
        starts, holding = of_blob(view, blob)
        return _Asked("digest", starts, holding)
    images = of_image(view, what)
    if images:
        return _Asked("image", images)
    if not what.startswith("pkg:") and (is_blob(what) or ":" in what or ("/" in what and not what.startswith("@"))):
        named(view, what, (Kind.ARTEFACT, Kind.LAYER))  # raises, with what is like it
    return _with_package(view, what, offline, stores)


def _with_package(view: View, what: str, offline: bool, stores: Callable[..., StoreOptions]) -> _Asked:
    from runtimeimg.cache import Cache
    from runtimeimg.configgraph import bills
    from runtimeimg.configgraph.impact import Touched
    from runtimeimg.configgraph.model import Artefact, Kind
    from runtimeimg.errors import NotFoundError, RuntimeimgError

    wanted = bills.parse(what)
    ways = bills.Ways(options=stores(), cache=Cache.open(cache_dir()), offline=offline)
    starts: list[Touched] = []
    unknown: dict[str, str] = {}
    for node_id in view.ids(Kind.ARTEFACT):
        node = view.get(node_id)
        if not isinstance(node, Artefact):
            continue
        try:
            there = sorted(item for item in bills.packages(node, ways) if item.matches(wanted))
        except RuntimeimgError as error:
            unknown[node_id] = bills.reason(error)
            continue
        if there:
            starts.append(Touched(id=node_id, how="contains", via=", ".join(map(str, there[:4]))))
    if not starts and not unknown:
        raise NotFoundError(f"no artefact of the graph is called {what[:200]!r} or has a package of that name")
    return _Asked("package", starts, (), unknown)


def _described(what: str, asked: _Asked, found: Impact) -> dict[str, Any]:
    return {
        "of": what,
        "kind": asked.kind,
        "artefacts": [{"id": item.id, "how": item.how, "via": item.via} for item in found.artefacts],
        "automatons": list(found.automatons),
        "instances": list(found.instances),
        "hosts": list(found.hosts),
        "holding": list(found.holding),
        "unknown": [{"id": name, "why": why} for name, why in asked.unknown.items()],
    }


def _table(what: str, asked: _Asked, found: Impact) -> Iterator[str]:
    from runtimeimg.configgraph.impact import by_kind
    from runtimeimg.text import printable

    unknown = f"; of {len(asked.unknown):,} artefacts it is not known" if asked.unknown else ""
    counts = ", ".join(f"{count:,} {kind}" for kind, count in by_kind(found).items())
    yield printable(f"{asked.kind} {what}: {counts}{unknown}")
    parts = {
        "artefacts": [f"{item.id}: {item.how} {item.via}" for item in found.artefacts],
        "automatons": found.automatons,
        "instances": found.instances,
        "hosts": found.hosts,
        "hosts that hold it": found.holding,
    }
    for title, lines in parts.items():
        if lines:
            yield title
            yield from (f"  {printable(line)}" for line in lines[:_ROWS])
        if len(lines) > _ROWS:
            yield f"  and {len(lines) - _ROWS:,} more"


def _tell(asked: _Asked) -> None:
    """Say of which artefacts nobody knows whether they have the package."""
    from runtimeimg.text import printable

    for number, (name, why) in enumerate(asked.unknown.items()):
        if number == _TOLD:
            click.echo(f"runtimeimg: note: and of {len(asked.unknown) - _TOLD:,} more artefacts neither", err=True)
            return
        click.echo(printable(f"runtimeimg: note: the packages of '{name}' are not known: {why}"), err=True)
