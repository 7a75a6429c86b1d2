"""`runtimeimg graph params AUTOMATON`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli.graph.given import graph_option, show_json
from runtimeimg.cli.options import format_option

if TYPE_CHECKING:
    from runtimeimg.configgraph.effective import Effective
    from runtimeimg.configgraph.model import Artefact, Automaton, Instance, Variant, View

_LONG = 60


@click.command("params")
@click.argument("automaton")
@graph_option
@click.option("--variant", metavar="PLATFORM", help="Variant of an index; its first by default.")
@format_option
def command(automaton: str, graph_file: Path, variant: str | None, output_format: str) -> None:
    """Show every parameter of AUTOMATON: its value, where that comes from, and who may set it.

    AUTOMATON is a name, or that of an instance such as shop/0.
    """
    from runtimeimg.configgraph import saved
    from runtimeimg.configgraph.effective import effective

    view = saved.open(graph_file)
    node, instance = _automaton(view, automaton)
    artefact = _artefact(view, node)
    chosen = _variant(artefact, variant)
    rows = effective(node, artefact, chosen, instance)
    if output_format == "json":
        data = {
            "automaton": automaton,
            "address": node.address,
            "artefact": artefact.id,
            "variant": {"manifest": chosen.manifest, "platform": chosen.platform} if chosen is not None else None,
            "parameters": [row.to_json() for row in rows],
        }
        show_json(data)
        return
    from runtimeimg.cli.tables import aligned

    click.echo(f"address {node.address}")
    for line in aligned([("PARAMETER", "VALUE", "CATEGORY", "STAGE", "SOURCE"), *_lines(rows)]):
        click.echo(line)


def _automaton(view: View, name: str) -> tuple[Automaton, Instance | None]:
    """Return an automaton by its name, id, or that of one of its instances."""
    from runtimeimg.configgraph.model import Automaton, Instance, Kind
    from runtimeimg.configgraph.views import named, there

    found = named(view, name, (Kind.AUTOMATON, Kind.INSTANCE))
    instance = found if isinstance(found, Instance) else None
    node = there(view, instance.automaton, instance.id) if instance is not None else found
    assert isinstance(node, Automaton)
    return node, instance


def _artefact(view: View, node: Automaton) -> Artefact:
    from runtimeimg.configgraph.model import Artefact
    from runtimeimg.configgraph.views import there

    found = there(view, node.artefact, node.id)
    assert isinstance(found, Artefact)
    return found


def _variant(artefact: Artefact, platform: str | None) -> Variant | None:
    """Return the variant for a platform, the first where none is asked for."""
    if platform is None:
        return artefact.variants[0] if artefact.variants else None
    from runtimeimg.configgraph.variants import for_platform
    from runtimeimg.oci import Platform

    return for_platform(artefact, Platform.parse(platform))


def _lines(rows: Sequence[Effective]) -> Iterator[tuple[str, str, str, str, str]]:
    for row in rows:
        item, pending = row.parameter, row.pending
        head = (str(item.category), str(item.stage))
        if not row.parts:
            yield item.path, _shown(row.value, item.path in pending), *head, str(row.source)
            continue
        yield item.path, "", *head, str(item.combine)
        for part in row.parts:
            yield f"  {part.key}", _shown(part.value, f"{item.path}.{part.key}" in pending), *head, str(part.source)
        for key, text in pending.items():
            name = key.removeprefix(f"{item.path}.")
            if not any(part.key == name for part in row.parts):
                yield f"  {name}", f"({text})", *head, "bundle"


def _shown(value: Any, pending: bool) -> str:
    text = value if isinstance(value, str) else "-" if value in (None, [], {}) else json.dumps(value)
    text = text if len(text) <= _LONG else text[: _LONG - 3] + "..."
    return f"{text} (more is found at the bundle)" if pending else text
