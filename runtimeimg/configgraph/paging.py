"""What the page of a graph tells of each node: facts, the parameters of automatons, what leads from and to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from runtimeimg.configgraph.effective import Effective, effective
from runtimeimg.configgraph.folding import Folded
from runtimeimg.configgraph.model import (
    Artefact,
    Automaton,
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
from runtimeimg.configgraph.views import there
from runtimeimg.errors import RuntimeimgError

MAX_NODES, MAX_PARAMETERS = 4000, 400
"""Nodes that a page tells of, and automatons of which it has the parameters."""
MAX_EDGES = 1000
"""Edges of a kind that a page has of a node."""
_ORDER = (Kind.AUTOMATON, Kind.ARTEFACT, Kind.HOST, Kind.INSTANCE, Kind.LAYER)
_INTO = {
    Relation.CONTAINS: "contained in",
    Relation.BUILT_ON: "base of",
    Relation.BUILT_FROM: "builder of",
    Relation.REFERS_TO: "referred to by",
    Relation.RUNS: "run by",
    Relation.INSTANCE_OF: "instances",
    Relation.PLACED_ON: "placed here",
    Relation.HAS: "held by",
}


def told(view: View, folded: Folded) -> list[dict[str, Any]]:
    """Return what a page tells of the nodes of a folded graph, as `drawing.page` wants it: the first MAX_NODES."""
    ids = islice((node_id for kind in _ORDER for node_id in view.ids(kind) if node_id in folded.of), MAX_NODES)
    found = []
    automatons = 0
    for node_id in ids:
        node = there(view, node_id, node_id)
        item: dict[str, Any] = {
            "id": node_id,
            "box": folded.of[node_id],
            "kind": str(kind_of(node_id)),
            "facts": list(facts_of(node)),
        }
        if isinstance(node, Automaton) and (automatons := automatons + 1) <= MAX_PARAMETERS:
            item["parameters"] = _parameters(view, node)
        edges = {name: ids[:MAX_EDGES] for name, ids in edges_of(view, node).items()}
        found.append({**item, "edges": edges})
    return found


def facts_of(node: Node) -> Iterator[list[str]]:
    """Yield what there is to say of a node, each a name and a text."""
    match node:
        case Artefact():
            yield from _filled(reference=node.reference, digest=node.digest, document=str(node.origin))
            for variant in node.variants:
                yield ["variant", f"{variant.platform}: {variant.manifest}"]
        case Layer():
            yield from _filled(role=str(node.role), type=node.media_type)
            yield ["bytes", "unknown" if node.size is None else f"{node.size:,}"]
        case Automaton():
            yield from _filled(address=node.address, replicas=str(node.replicas), document=str(node.origin))
        case Instance():
            yield from _filled(host=name_of(node.host), variant=node.variant, why=node.why)
        case HostNode():
            yield from _filled(platform=_text(node.profile.get("platform")), document=str(node.origin))
            for name, value in sorted({**node.profile.get("labels", {}), **node.profile.get("facts", {})}.items()):
                yield [name, _text(value)]
            yield from _resources(node)


def _resources(node: HostNode) -> Iterator[list[str]]:
    found = node.resources
    yield from _filled(
        processors="" if found.cpu is None else f"{found.cpu / 1000:g}",
        memory="" if found.memory is None else f"{found.memory:,} bytes",
        **{name: str(count) for name, count in sorted(found.others.items())},
    )


def _filled(**facts: str) -> Iterator[list[str]]:
    return ([name, text] for name, text in facts.items() if text)


def _parameters(view: View, automaton: Automaton) -> list[list[str]]:
    """Return the rows of an automaton's parameters; what keeps it from having any is one."""
    artefact = there(view, automaton.artefact, automaton.id)
    assert isinstance(artefact, Artefact)
    try:
        rows = effective(automaton, artefact, artefact.variants[0] if artefact.variants else None)
    except RuntimeimgError as error:
        return [["", error.message, "", "", ""]]
    return [cells for row in rows if row.parameter.kind == "Automaton" for cells in _cells(row)]


def _cells(row: Effective) -> Iterator[list[str]]:
    """Yield the row of a parameter, and one for each part of a merged value."""
    item, merged = row.parameter, bool(row.parts)
    value, source = ("", str(item.combine)) if merged else (_text(row.value), str(row.source))
    yield [item.path, value, str(item.category), str(item.stage), source]
    for part in row.parts:
        yield [f"\u2003{part.key}", _text(part.value), "", "", str(part.source)]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def edges_of(view: View, node: Node) -> Mapping[str, list[str]]:
    """Return the ids that edges of a node lead to, and those that they lead here from, by what they say."""
    found: dict[str, list[str]] = {}
    for edge in node.edges():
        found.setdefault(str(edge.relation).replace("-", " "), []).append(edge.target)
    for relation, ids in view.into(node.id).items():
        found[_INTO[relation]] = list(ids)
    return found
