"""What differs between two graphs: nodes, addresses of automatons and by what, where instances run, what moves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from runtimeimg.configgraph.closure import Amount, needs
from runtimeimg.configgraph.model import (
    Artefact,
    Automaton,
    Graph,
    HostNode,
    Instance,
    Kind,
    Layer,
    Node,
    Relation,
    View,
    kind_of,
    name_of,
)
from runtimeimg.configgraph.views import Whole
from runtimeimg.errors import NotFoundError


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A value that differs; None where there is none on one side."""

    path: str
    old: Any
    new: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A node that is in both graphs and not the same; `address` where its address differs."""

    id: str
    changes: tuple[Change, ...]
    address: Change | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """An instance whose host or variant differs; a host is empty where it is on none."""

    instance: str
    old: str
    new: str
    old_variant: str
    new_variant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """The blobs that a host does not have and needs for what runs there in the new graph."""

    host: str
    blobs: tuple[Layer, ...]

    @property
    def amount(self) -> Amount:
        """How much that is."""
        return Amount.of(self.blobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """All that differs; each part in the order of the ids, blobs aside, which come with the artefacts."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    artefacts: tuple[Changed, ...]
    automatons: tuple[Changed, ...]
    hosts: tuple[Changed, ...]
    moves: tuple[Move, ...]
    transfers: tuple[Transfer, ...]


def difference(before: Graph, after: Graph) -> Difference:
    """Return what differs from one graph to another."""
    old, new = before.nodes, after.nodes
    both = sorted(old.keys() & new.keys())
    pairs = [(old[node_id], new[node_id]) for node_id in both if old[node_id] != new[node_id]]
    return Difference(
        added=tuple(_visible(new.keys() - old.keys())),
        removed=tuple(_visible(old.keys() - new.keys())),
        artefacts=_filled(
            _artefact(one, two) for one, two in pairs if isinstance(one, Artefact) and isinstance(two, Artefact)
        ),
        automatons=tuple(_automatons(before, after, both)),
        hosts=_filled(_host(one, two) for one, two in pairs if isinstance(one, HostNode) and isinstance(two, HostNode)),
        moves=tuple(_moves(before, after)),
        transfers=tuple(_transfers(Whole(before), Whole(after))),
    )


def _filled(found: Iterable[Changed]) -> tuple[Changed, ...]:
    """Return what changed in more than the place of its document."""
    return tuple(item for item in found if item.changes)


def _visible(ids: set[str]) -> Iterator[str]:
    return (node_id for node_id in sorted(ids) if kind_of(node_id) is not Kind.LAYER)


def _automatons(before: Graph, after: Graph, both: list[str]) -> Iterator[Changed]:
    for node_id in both:
        one, two = before.nodes[node_id], after.nodes[node_id]
        if not isinstance(one, Automaton) or not isinstance(two, Automaton):
            continue
        runs = before.nodes.get(one.artefact), after.nodes.get(two.artefact)
        changes = [*_value("artefact", name_of(one.artefact), name_of(two.artefact))]
        changes += _value("artefact.digest", _digest(runs[0]), _digest(runs[1]))
        changes += _differing("", one.given, two.given)
        if one.given.get("replicas") == two.given.get("replicas"):
            changes += _value("replicas", one.replicas, two.replicas)
        address = next(_value("address", one.address, two.address), None)
        if changes or address is not None:
            yield Changed(id=node_id, changes=tuple(changes), address=address)


def _digest(node: Node | None) -> str | None:
    return (node.digest or node.reference) if isinstance(node, Artefact) else None


def _artefact(one: Artefact, two: Artefact) -> Changed:
    changes = [
        *_value("reference", one.reference, two.reference),
        *_value("digest", one.digest, two.digest),
        *_value("base", name_of(one.base), name_of(two.base)),
        *_value("builders", [name_of(item) for item in one.builders], [name_of(item) for item in two.builders]),
    ]
    indexed = one.index or two.index  # of a single image all is said by its digest
    for platform in dict.fromkeys(item.platform for item in (*one.variants, *two.variants)) if indexed else ():
        changes += _value(f"variants.{platform or 'none'}", _manifests(one, platform), _manifests(two, platform))
    if one.paths != two.paths:
        changes += _value("paths", list(one.paths), list(two.paths))
    return Changed(id=one.id, changes=tuple(changes))


def _manifests(artefact: Artefact, platform: str) -> str | None:
    """Return the digests of the variants for a platform, None where there are none."""
    return ", ".join(item.manifest for item in artefact.variants if item.platform == platform) or None


def _host(one: HostNode, two: HostNode) -> Changed:
    changes = [*_differing("", _bare(one), _bare(two))]
    changes += _value("blobs", len(one.blobs), len(two.blobs)) if set(one.blobs) != set(two.blobs) else ()
    return Changed(id=one.id, changes=tuple(changes))


def _bare(node: HostNode) -> Mapping[str, Any]:
    return {key: value for key, value in node.profile.items() if key not in {"blobs", "images"}}


def _value(path: str, old: Any, new: Any) -> Iterator[Change]:
    if old != new:
        yield Change(path=path, old=old, new=new)


def _differing(path: str, old: Any, new: Any) -> Iterator[Change]:
    """Yield what differs between two values of documents, maps key by key, by dotted path."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from _differing(f"{path}.{key}" if path else str(key), old.get(key), new.get(key))
    else:
        yield from _value(path, old, new)


def _moves(before: Graph, after: Graph) -> Iterator[Move]:
    for node_id in sorted(before.nodes.keys() & after.nodes.keys()):
        one, two = before.nodes[node_id], after.nodes[node_id]
        if (
            isinstance(one, Instance)
            and isinstance(two, Instance)
            and (one.host, one.variant) != (two.host, two.variant)
        ):
            yield Move(instance=node_id, old=one.host, new=two.host, old_variant=one.variant, new_variant=two.variant)


def _transfers(before: View, after: View) -> Iterator[Transfer]:
    """Yield what each host has to be sent, where it has what it was sent for the old graph."""
    had, wanted = _Needs(before), _Needs(after)
    for host in after.ids(Kind.HOST):
        there = {
            blob for view in (before, after) if isinstance(node := view.get(host), HostNode) for blob in node.blobs
        }
        blobs = wanted.of(host)
        missing = blobs - there - had.of(host) if blobs else blobs
        if missing:
            layers = (after.get(f"{Kind.LAYER}/{blob}") for blob in sorted(missing))
            yield Transfer(host=host, blobs=tuple(item for item in layers if isinstance(item, Layer)))


@dataclass(slots=True)
class _Needs:
    """What runs on hosts needs; instances of the same artefact and variant need the same."""

    view: View
    known: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)

    def of(self, host: str) -> frozenset[str]:
        """Return the blobs that a host needs."""
        return frozenset().union(*map(self._of_instance, self.view.into(host).get(Relation.PLACED_ON, ())))

    def _of_instance(self, node_id: str) -> frozenset[str]:
        node = self.view.get(node_id)
        automaton = self.view.get(node.automaton) if isinstance(node, Instance) else None
        if not isinstance(node, Instance) or not isinstance(automaton, Automaton):
            return frozenset()
        key = (automaton.artefact, node.variant)
        if key not in self.known:
            self.known[key] = frozenset()
            with contextlib.suppress(NotFoundError):  # of an artefact that was never looked at nothing is known to move
                self.known[key] = frozenset(needs(self.view, node))
        return self.known[key]
