"""`runtimeimg graph diff OLD NEW`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli.graph.given import amount_json, load_whole, show_json, told
from runtimeimg.cli.options import format_option

if TYPE_CHECKING:
    from runtimeimg.configgraph.differing import Change, Changed, Difference

_PATH = click.Path(path_type=Path)
_ROWS, _LONG = 200, 60
"""Lines of a part that the table shows, and characters of a value."""


@click.command("diff")
@click.argument("old", type=_PATH)
@click.argument("new", type=_PATH)
@format_option
def command(old: Path, new: Path, output_format: str) -> None:
    """Show what differs from graph OLD to graph NEW.

    Nodes that came and went, automatons with another address and by which field, instances that moved, and the blobs
    that hosts have to be sent for it.
    """
    from runtimeimg.configgraph.differing import difference

    found = difference(load_whole(old), load_whole(new))
    if output_format == "json":
        show_json(_described(found))
        return
    lines = list(_table(found))
    for line in lines or ["nothing differs"]:
        click.echo(line)


def _described(found: Difference) -> dict[str, Any]:
    return {
        "added": list(found.added),
        "removed": list(found.removed),
        "artefacts": [_changed(item) for item in found.artefacts],
        "automatons": [_changed(item) for item in found.automatons],
        "hosts": [_changed(item) for item in found.hosts],
        "instances": [
            {
                "id": item.instance,
                "host": {"old": item.old or None, "new": item.new or None},
                "variant": {"old": item.old_variant or None, "new": item.new_variant or None},
            }
            for item in found.moves
        ],
        "transfers": [
            {
                "host": item.host,
                **amount_json(item.amount),
                "blobs": [{"name": blob.id.partition("/")[2], "size": blob.size} for blob in item.blobs],
            }
            for item in found.transfers
        ],
    }


def _changed(item: Changed) -> dict[str, Any]:
    address = {"address": {"old": item.address.old, "new": item.address.new}} if item.address else {}
    return {"id": item.id, **address, "changes": [asdict(change) for change in item.changes]}


def _table(found: Difference) -> Iterator[str]:
    from runtimeimg.text import printable

    yield from _part("added", (f"+ {printable(item)}" for item in found.added), len(found.added))
    yield from _part("removed", (f"- {printable(item)}" for item in found.removed), len(found.removed))
    yield from _part("artefacts that changed", map(_shown, found.artefacts), len(found.artefacts))
    new = [item for item in found.automatons if item.address is not None]
    same = [item for item in found.automatons if item.address is None]
    yield from _part("automatons with another address", map(_shown, new), len(new))
    yield from _part("automatons with other operation", map(_shown, same), len(same))
    yield from _part("hosts that changed", map(_shown, found.hosts), len(found.hosts))
    yield from _part("instances that move", map(_move, found.moves), len(found.moves))
    lines = (f"{printable(item.host)}: {told(item.amount)}" for item in found.transfers)
    yield from _part("hosts that are sent something", lines, len(found.transfers))


def _part(title: str, lines: Iterable[str], count: int) -> Iterator[str]:
    if not count:
        return
    yield f"{count:,} {title}"
    for number, line in enumerate(lines):
        if number == _ROWS:
            yield f"  and {count - _ROWS:,} more"
            return
        yield f"  {line}"


def _shown(item: Changed) -> str:
    from runtimeimg.text import printable

    return printable(f"{item.id}: {'; '.join(map(_change, item.changes)) or 'its effective configuration'}")


def _change(item: Change) -> str:
    return f"{item.path} {_value(item.old)} -> {_value(item.new)}"


def _value(value: Any) -> str:
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if text.startswith("sha256:"):
        return text[7:19]
    return text if len(text) <= _LONG else f"{text[: _LONG - 3]}..."


def _move(item: Any) -> str:
    from runtimeimg.configgraph.model import name_of
    from runtimeimg.text import printable

    if item.old == item.new:
        return printable(f"{item.instance}: another variant on {name_of(item.new)}")
    return printable(f"{item.instance}: {name_of(item.old) or 'nowhere'} -> {name_of(item.new) or 'nowhere'}")
