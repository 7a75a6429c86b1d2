"""What only all documents together show to be wrong: each problem with its file, its line, and what to do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from runtimeimg.configgraph import artefacts as making
from runtimeimg.configgraph import reading, walks
from runtimeimg.configgraph.model import Artefact, Layer, name_of
from runtimeimg.configgraph.reading import Written
from runtimeimg.configgraph.resolve import Wanted
from runtimeimg.configgraph.spelling import spelling
from runtimeimg.errors import Problem
from runtimeimg.spec.checks import shown

Documents = Mapping[str, Written]


def raise_any(problems: Iterable[Problem]) -> None:
    """Raise SpecError where there are problems."""
    found = list(problems)
    if found:
        raise reading.bounded(found)


def together(artefacts: Documents, automatons: Documents, hosts: Documents) -> list[Problem]:
    """Return what is wrong with the documents, before anything is opened."""
    return [
        *_dangling(artefacts, automatons),
        *_unknown_hosts(automatons, hosts),
        *_host_ports(automatons),
    ]


def twice(first: Written, second: Written) -> Problem:
    """Return the problem of two documents of one kind and name: both places, and what they fix differently."""
    what = second.kind.lower()
    place = f"{first.origin.file}:{first.lines.get('name', first.origin.line)}"
    differing = list(_differences(first.given, second.given))
    if not differing:
        said = f"{what} {shown(second.name)} is defined twice, first at {place}; they say the same, so remove one"
        return reading.problem(second.origin, "name", said)
    path, one, other = differing[0]
    more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
    said = (
        f"{what} {shown(second.name)} is defined twice, first at {place}; they fix {path}{more} differently "
        f"({_said(one)} there, {_said(other)} here); give one another name, or keep one"
    )
    return reading.problem(second.origin, "name", said)


def _differences(one: Any, other: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted({*one, *other}):
            here = reading.path_of(path, key) if path else key
            yield from _differences(one.get(key, _Nothing), other.get(key, _Nothing), here)
    elif one != other:
        yield path, one, other


def _said(value: Any) -> str:
    if value is _Nothing:
        return "nothing"
    return shown(value) if isinstance(value, str) else shown(json.dumps(value))[1:-1]


_Nothing = object()


def no_command(item: Written) -> Problem:
    """Return the problem of an automaton that nobody says a command of."""
    said = f"process.args is required: artefact {shown(item.given['artefact'])} says no command; write process.args"
    return reading.problem(item.origin, "artefact", said)


def _dangling(artefacts: Documents, automatons: Documents) -> Iterator[Problem]:
    """Find automatons of artefacts that there are not."""
    for item in automatons.values():
        text = item.given["artefact"]
        if text in artefacts or making.is_reference(text):
            continue
        near = get_close_matches(text, artefacts, 1, 0.6)
        hint = f"did you mean '{near[0]}'?" if near else "write an Artefact of that name, or an image with its tag"
        yield reading.problem(item.origin, "artefact", f"there is no artefact {shown(text)}; {hint}")


def _unknown_hosts(automatons: Documents, hosts: Documents) -> Iterator[Problem]:
    """Find automatons that are pinned to hosts that there are not."""
    for item in automatons.values():
        for number, name in enumerate(item.given.get("placement", {}).get("hosts", ())):
            if name in hosts:
                continue
            near = get_close_matches(name, hosts, 1, 0.6)
            known = ", ".join(sorted(hosts)[:5]) or "no hosts"
            hint = f"did you mean '{near[0]}'?" if near else f"the documents have {known}"
            yield reading.problem(item.origin, f"placement.hosts[{number}]", f"there is no host {shown(name)}; {hint}")


def _host_ports(automatons: Documents) -> Iterator[Problem]:
    """Find automatons that want one port of the one host that both are pinned to."""
    taken: dict[tuple[Any, ...], Written] = {}
    for item in automatons.values():
        pinned = item.given.get("placement", {}).get("hosts", ())
        ports = [(number, port) for number, port in enumerate(item.given.get("ports", ())) if port.get("hostPort")]
        if len(pinned) != 1 or not ports or not item.given.get("replicas", 1):
            continue
        for number, port in ports:
            where = f"ports[{number}].hostPort"
            what = f"host port {port['hostPort']} of host {shown(pinned[0])}"
            if item.given.get("replicas", 1) > 1:
                said = f"{what} cannot be that of {item.given['replicas']} replicas; run one there, or pin it to more"
                yield reading.problem(item.origin, where, said)
                continue
            key = (pinned[0], port["hostPort"], port.get("protocol", "tcp"), port.get("listeningAddr", ""))
            first = taken.setdefault(key, item)
            if first is not item:
                place = f"{first.origin.file}:{first.lines.get('ports', first.origin.line)}"
                said = f"{what} is that of automaton {shown(first.name)} at {place}; choose another"
                yield reading.problem(item.origin, where, said)


def pins(images: Sequence[Wanted]) -> Iterator[Problem]:
    """Find artefacts that say different digests of one image."""
    seen: dict[tuple[str, str], Wanted] = {}
    for item in images:
        if not item.digest:
            continue
        first = seen.setdefault((spelling(item.image), ""), item)
        if first is not item and first.digest != item.digest:
            said = (
                f"image {shown(item.image)} has this digest here, and {first.digest} in artefact {shown(first.name)} "
                f"at {first.origin}; correct one, or write the digests into 'image'"
            )
            yield reading.problem(item.origin, "digest", said)


def cycles(nodes: Mapping[str, Artefact], layers: Mapping[str, Layer]) -> Iterator[Problem]:
    """Find artefacts that are built on or from themselves in the end, and store paths that refer to each other."""
    built = ((key, end) for key, node in nodes.items() for end in (node.base, *node.builders))
    for ring in walks.cycles(edge for edge in built if edge[1] and edge[0] != edge[1]):
        node = next((nodes[key] for key in ring if nodes[key].origin.file), nodes[ring[0]])
        names = " -> ".join(name_of(key) for key in (*ring, ring[0]))
        said = f"artefacts are built on each other: {names}; remove one of these from its Build spec"
        yield reading.problem(node.origin, "build" if "build" in node.given else "image", said)
    references = ((key, end) for key, layer in layers.items() for end in layer.references)
    for ring in walks.cycles(edge for edge in references if edge[0] != edge[1]):
        node = next(item for item in nodes.values() if name_of(ring[0]) in item.paths)
        names = " -> ".join(name_of(key) for key in (*ring, ring[0]))
        said = f"paths of the closure refer to each other: {names}; no store has that, so correct the closure"
        yield reading.problem(node.origin, "store", said)
