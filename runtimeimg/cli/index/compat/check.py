"""`runtimeimg index compat check`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli.findings import FOUND
from runtimeimg.cli.index.compat.documents import origin, platform_option, read, required
from runtimeimg.cli.options import format_option, store_options
from runtimeimg.text import json_escaped

if TYPE_CHECKING:
    from runtimeimg.selection.hosts import Host
    from runtimeimg.selection.nfd.evaluate import Verdict
    from runtimeimg.selection.nfd.spec import Spec
    from runtimeimg.stores import StoreOptions


@click.command("check")
@click.argument("image", required=False)
@click.option("--spec", "document", metavar="FILE", help="Document to check in place of an image's.")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Host, or folder of hosts; this machine by default. May be repeated.",
)
@click.option("--tag", "tags", multiple=True, help="Tag of the sets that count; all by default. May be repeated.")
@platform_option
@format_option
@store_options
def command(
    image: str | None,
    document: str | None,
    hosts: tuple[Path, ...],
    tags: tuple[str, ...],
    platform: str | None,
    output_format: str,
    stores: Callable[[], StoreOptions],
) -> int:
    """Hold what IMAGE needs, or a document of --spec, against hosts; exit code 10 where it does not run on one.

    An image runs on a host where one of its sets holds; of several the one that weighs most is named.
    """
    from runtimeimg.errors import UsageError
    from runtimeimg.selection.nfd.evaluate import evaluate

    if (image is None) == (document is None):
        raise UsageError("name an image, or a document with --spec")
    spec, source = _spec(image, document, platform, stores)
    verdicts = [evaluate(spec, host, tags) for host in _hosts(hosts)]
    if not any(found.sets for found in verdicts):
        raise UsageError(f"no set has the tag {' or '.join(map(repr, tags))}" if tags else "the document has no sets")
    if output_format == "json":
        data = {"source": source, "hosts": [_described(found) for found in verdicts]}
        click.echo(json_escaped(json.dumps(data, indent=2, ensure_ascii=False)))
    else:
        for line in _table(verdicts):
            click.echo(line)
    return 0 if all(found.chosen is not None for found in verdicts) else FOUND


def _spec(
    image: str | None, document: str | None, platform: str | None, stores: Callable[[], StoreOptions]
) -> tuple[Spec, str]:
    from runtimeimg.selection.nfd import spec

    if document is not None:
        raw, name = read(document)
        return spec.load(raw, name), name
    assert image is not None
    found = required(image, platform, stores())
    return found.spec, origin(found)


def _hosts(paths: Sequence[Path]) -> tuple[Host, ...]:
    import os

    from runtimeimg.cli.choosing import read_hosts
    from runtimeimg.detect.machine import detect
    from runtimeimg.oci import Platform

    if paths:
        return read_hosts(paths)
    return (detect(Path("/"), os.uname().nodename, Platform.host(), dict(os.environ), full=True),)


def _table(verdicts: Sequence[Verdict]) -> Iterator[str]:
    from runtimeimg.text import printable

    for found in verdicts:
        if (chosen := found.chosen) is not None:
            label = " ".join(filter(None, (f"set {chosen.number}", chosen.tag, chosen.description)))
            yield printable(f"{found.host}: fits ({label})")
            continue
        yield printable(f"{found.host}: does not fit")
        for item in found.sets:
            for rule in item.rules:
                for reason in rule.reasons:
                    yield printable(f"    set {item.number}, rule '{rule.name}': {reason}")


def _described(found: Verdict) -> dict[str, Any]:
    chosen = found.chosen
    return {
        "host": found.host,
        "fits": chosen is not None,
        "set": chosen.number if chosen else None,
        "sets": [
            {
                "number": item.number,
                "tag": item.tag,
                "weight": item.weight,
                "description": item.description,
                "holds": item.holds,
                "rules": [
                    {"name": rule.name, "holds": rule.holds, "reasons": list(rule.reasons)} for rule in item.rules
                ],
            }
            for item in found.sets
        ],
    }
