"""Documents to a graph: references resolved, everything tied together, every fault said at once with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from runtimeimg.configgraph import artefacts as making
from runtimeimg.configgraph import checks, closures, reading
from runtimeimg.configgraph.address import Addresses
from runtimeimg.configgraph.amounts import resources
from runtimeimg.configgraph.artefacts import Artefacts, Made, artefact_id
from runtimeimg.configgraph.facts import Facts
from runtimeimg.configgraph.lock import Lock
from runtimeimg.configgraph.model import (
    Automaton,
    Graph,
    HostNode,
    Instance,
    Kind,
    Layer,
    Node,
    Role,
    layer_id,
)
from runtimeimg.configgraph.reading import Written
from runtimeimg.configgraph.resolve import Wanted, Ways, locks, resolve
from runtimeimg.configgraph.spelling import spelling
from runtimeimg.errors import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A graph, and the lock that its references came to."""

    graph: Graph
    lock: Lock


@dataclass(slots=True)
class _Parts:
    """The documents by kind and name."""

    artefacts: dict[str, Written] = field(default_factory=dict)
    automatons: dict[str, Written] = field(default_factory=dict)
    hosts: dict[str, Written] = field(default_factory=dict)


def build(written: Iterable[Written], ways: Ways, *, run: Callable[[Sequence[str]], str | None] | None = None) -> Built:
    """Return the graph of documents.

    `run` runs `nix-store` and returns what it prints, None where it is not there. Raises SpecError with all that is
    wrong with what the documents say together, and what opening their images raises.
    """
    parts, problems = _sorted(written)
    problems += checks.together(parts.artefacts, parts.automatons, parts.hosts)
    if problems:
        raise reading.bounded(problems)
    specs = {name: making.made(item) for name, item in parts.artefacts.items() if "build" in item.given}
    images = [
        making.wanted(item, specs.get(name)) for name, item in parts.artefacts.items() if "store" not in item.given
    ]
    checks.raise_any(checks.pins(images))
    direct = _direct(parts, images)
    facts = resolve([*images, *direct], ways)
    found = _artefacts(parts, specs, facts, direct, images)
    for item in parts.artefacts.values():
        if "store" in item.given:
            node, layers = closures.artefact(item, run)
            found.add(node, (), layers)
    checks.raise_any(checks.cycles(found.nodes, found.layers))
    hosts = [_host(item, found) for item in parts.hosts.values()]
    nodes: dict[str, Node] = {**found.nodes, **found.layers}
    _add_unknown(nodes, hosts)
    _add_automatons(nodes, parts.automatons, found)
    nodes |= {item.id: item for item in hosts}
    return Built(graph=Graph({key: nodes[key] for key in sorted(nodes)}), lock=locks([*images, *direct], facts))


def _sorted(written: Iterable[Written]) -> tuple[_Parts, list[Problem]]:
    parts = _Parts()
    of = {"Artefact": parts.artefacts, "Automaton": parts.automatons, "Host": parts.hosts}
    problems = []
    for item in written:
        first = of[item.kind].setdefault(item.name, item)
        if first is not item:
            problems.append(checks.twice(first, item))
    return parts, problems


def _direct(parts: _Parts, images: Sequence[Wanted]) -> list[Wanted]:
    """Return the references that automatons and hosts name themselves and that no Artefact document is about."""
    known = making.spellings({item.name: item.image for item in images})
    found: dict[str, Wanted] = {}
    for item in parts.automatons.values():
        text = item.given["artefact"]
        if text not in parts.artefacts and spelling(text) not in known:
            found.setdefault(
                text, Wanted(name=text, image=text, folder=making.folder(item), origin=item.origin, path="artefact")
            )
    return list(found.values())


def _artefacts(
    parts: _Parts,
    specs: Mapping[str, Made],
    facts: Mapping[str, Facts],
    direct: Sequence[Wanted],
    images: Sequence[Wanted],
) -> Artefacts:
    found = Artefacts()
    written = {item.name: item.image for item in images}
    for name, item in parts.artefacts.items():
        if name in facts:
            output = specs[name].output if name in specs else ""
            found.add(making.node_of(item, facts[name]), (written[name], output), facts[name].layers)
    for wanted in direct:
        told = facts[wanted.name]
        found.add(making.node_of_reference(wanted.name, told, wanted.origin), (wanted.image,), told.layers)
    for name in (*written, *(item.name for item in direct)):
        found.link(artefact_id(name), facts.get(name), specs.get(name))
    return found


def _add_automatons(nodes: dict[str, Node], automatons: Mapping[str, Written], found: Artefacts) -> None:
    addresses = Addresses()
    commandless: list[Problem] = []
    for name, item in automatons.items():
        given = dict(item.given)
        text = given.pop("artefact")
        replicas = given.get("replicas", 1)
        artefact = found.nodes.get(artefact_id(text)) or found.nodes[found.named(text)]
        if not given.get("process", {}).get("args") and not addresses.commands(artefact):
            commandless.append(checks.no_command(item))
        node = Automaton(
            id=f"{Kind.AUTOMATON}/{name}",
            artefact=artefact.id,
            address=addresses.of(artefact, given),
            replicas=replicas,
            given=given,
            lines=item.lines,
            origin=item.origin,
        )
        nodes[node.id] = node
        for ordinal in range(replicas):
            key = f"{Kind.INSTANCE}/{name}/{ordinal}"
            nodes[key] = Instance(id=key, automaton=node.id, ordinal=ordinal)
    checks.raise_any(commandless)


def _host(item: Written, found: Artefacts) -> HostNode:
    profile = item.given
    blobs = dict.fromkeys(profile.get("blobs", ()))
    for image in profile.get("images", ()):
        node = found.nodes.get(artefact_id(image)) or found.nodes.get(found.named(image))
        blobs |= dict.fromkeys(node.blobs if node is not None else ())
    return HostNode(
        id=f"{Kind.HOST}/{item.name}",
        profile=profile,
        resources=resources(profile.get("resources", {}), profile.get("facts", {})),
        blobs=tuple(blobs),
        origin=item.origin,
    )


def _add_unknown(nodes: dict[str, Node], hosts: Iterable[HostNode]) -> None:
    """Add nodes for blobs of hosts that are of no artefact."""
    for host in hosts:
        for blob in host.blobs:
            key = layer_id(blob)
            if key not in nodes:
                nodes[key] = Layer(id=key, role=Role.UNKNOWN)
