"""`runtimeimg index compat check`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli.choosing import Choosing, wish_options
from runtimeimg.cli.findings import FOUND
from runtimeimg.cli.index.compat.documents import criteria_of, missing, origin, platform_option, read, required
from runtimeimg.cli.options import format_option, store_options
from runtimeimg.text import json_escaped, printable

if TYPE_CHECKING:
    from runtimeimg.selection.hosts import Host
    from runtimeimg.selection.nfd.evaluate import SetResult, Verdict
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
@wish_options
@format_option
@store_options
def command(
    image: str | None,
    document: str | None,
    hosts: tuple[Path, ...],
    tags: tuple[str, ...],
    platform: str | None,
    choosing: Choosing,
    output_format: str,
    stores: Callable[[], StoreOptions],
) -> int:
    """Hold what IMAGE needs, or a document of --spec, against hosts; exit code 10 where it does not run on one.

    An image runs on a host where one of its sets holds; of several the one that weighs most is named. Of an index
    each host's image is looked at, as 'index select' would choose it.
    """
    from runtimeimg.errors import UsageError
    from runtimeimg.selection.nfd.evaluate import evaluate

    if (image is None) == (document is None):
        raise UsageError("name an image, or a document with --spec")
    if document is not None and choosing.asked:
        raise UsageError(
            "a document has no entries to choose from", hint="name an image, or leave --prefer and the like out"
        )
    given = _hosts(hosts)
    asked = _Asked(choosing, platform)
    needs = _of_file(document, given) if document is not None else _of_image(str(image), asked, given, stores())
    answers = [_Answer(need, evaluate(need.spec, need.host, tags) if need.spec else None) for need in needs]
    judged = [item.verdict for item in answers if item.verdict is not None]
    if judged and not any(verdict.sets for verdict in judged):
        raise UsageError(f"no set has the tag {' or '.join(map(repr, tags))}" if tags else "the document has no sets")
    if output_format == "json":
        click.echo(json_escaped(json.dumps({"hosts": list(map(_described, answers))}, indent=2, ensure_ascii=False)))
    else:
        for line in (line for item in answers for line in _lines(item)):
            click.echo(printable(line))
    return 0 if all(item.fits for item in answers) else FOUND


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which entry of an index is meant: what is preferred and required, and the platform for all hosts if any."""

    choosing: Choosing
    platform: str | None


@dataclass(frozen=True, slots=True)
class _Need:
    """What an image needs of a host: a document and where it is from, or why there is none."""

    host: Host
    spec: Spec | None
    source: str
    fits: bool = True
    """Whether the host fits where there is no document."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is to be said of a host."""

    need: _Need
    verdict: Verdict | None

    @property
    def fits(self) -> bool:
        return self.verdict.chosen is not None if self.verdict else self.need.fits


def _of_file(document: str, hosts: Sequence[Host]) -> list[_Need]:
    from runtimeimg.selection.nfd import spec

    raw, name = read(document)
    found = spec.load(raw, name)
    return [_Need(host, found, name) for host in hosts]


def _of_image(image: str, asked: _Asked, hosts: Sequence[Host], options: StoreOptions) -> list[_Need]:
    """Return what each host's image of an index needs, as `index select` would choose it; or that of a platform."""
    from runtimeimg.cli.locations import location_of
    from runtimeimg.compat import find, reference_of
    from runtimeimg.oci import Location, Platform
    from runtimeimg.selection.opened import chosen_of
    from runtimeimg.stores import open_once

    wishes, known = asked.choosing.wishes(), {}
    if asked.platform is not None:
        wanted = (
            wishes.criteria(Platform.parse(asked.platform)) if asked.choosing.asked else criteria_of(asked.platform)
        )
        found = required(image, wanted, options)
        return [_Need(host, found.spec, origin(found)) for host in hosts]
    opened = open_once(Location(transport="docker", reference=reference_of(location_of(image))), options)
    needs = []
    for host in hosts:
        criteria = wishes.criteria_on(host)
        chosen = chosen_of(opened, criteria)[1].chosen
        if chosen is None:
            needs.append(_Need(host, None, f"the index has nothing for {host.platform}", fits=False))
            continue
        digest = chosen.candidate.descriptor.digest
        if digest not in known:
            known[digest] = find(location_of(image), criteria, options)
        document = known[digest]
        needs.append(
            _Need(host, document.spec, origin(document)) if document else _Need(host, None, "nothing is asked for")
        )
    if not any(known.values()) and any(need.fits for need in needs):
        raise missing(image)
    return needs


def _hosts(paths: Sequence[Path]) -> tuple[Host, ...]:
    import os

    from runtimeimg.cli.choosing import read_hosts
    from runtimeimg.detect.machine import detect
    from runtimeimg.oci import Platform

    if paths:
        return read_hosts(paths)
    return (detect(Path("/"), os.uname().nodename, Platform.host(), dict(os.environ), full=True),)


def _lines(answer: _Answer) -> Iterator[str]:
    name, verdict = answer.need.host.name, answer.verdict
    label = "fits" if answer.fits else "does not fit"
    if verdict is None:
        yield f"{name}: {label} ({answer.need.source})"
    elif (chosen := verdict.chosen) is not None:
        yield f"{name}: {label} ({' '.join(filter(None, (f'set {chosen.number}', chosen.tag, chosen.description)))})"
    else:
        yield f"{name}: {label}"
        for found in verdict.sets:
            for rule in found.rules:
                yield from (f"    set {found.number}, rule '{rule.name}': {reason}" for reason in rule.reasons)


def _described(answer: _Answer) -> dict[str, Any]:
    verdict = answer.verdict
    chosen = verdict.chosen if verdict else None
    return {
        "host": answer.need.host.name,
        "fits": answer.fits,
        "source": answer.need.source,
        "set": chosen.number if chosen else None,
        "sets": [_set(found) for found in verdict.sets] if verdict else [],
    }


def _set(found: SetResult) -> dict[str, Any]:
    return {
        "number": found.number,
        "tag": found.tag,
        "weight": found.weight,
        "description": found.description,
        "holds": found.holds,
        "rules": [{"name": rule.name, "holds": rule.holds, "reasons": list(rule.reasons)} for rule in found.rules],
    }
