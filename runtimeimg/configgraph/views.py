"""Views of graphs in memory, and nodes by the names that people give them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from itertools import islice

from runtimeimg.configgraph.model import Graph, Kind, Node, Relation, View, kind_of
from runtimeimg.errors import InvalidDocumentError, NotFoundError, UsageError

NAMED = (Kind.AUTOMATON, Kind.ARTEFACT, Kind.HOST, Kind.INSTANCE)
"""Kinds whose nodes people name without the kind."""
_COMPARED = 20_000
"""Names among which one that is like another is looked for."""


def leading_into(graph: Graph) -> dict[str, dict[Relation, list[str]]]:
    """Return the ids of the nodes whose edges end at each node, by relation, each in order and once."""
    found: dict[str, dict[Relation, list[str]]] = {}
    for node_id in sorted(graph.nodes):
        for edge in graph.nodes[node_id].edges():
            ids = found.setdefault(edge.target, {}).setdefault(edge.relation, [])
            if not ids or ids[-1] != edge.source:
                ids.append(edge.source)
    return found


class Whole:
    """A view of a graph in memory."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        into = leading_into(graph)
        self._into = {key: {name: tuple(ids) for name, ids in found.items()} for key, found in into.items()}
        self._ids: dict[str, list[str]] = {}
        for node_id in sorted(graph.nodes):
            self._ids.setdefault(kind_of(node_id), []).append(node_id)

    def get(self, node_id: str) -> Node | None:
        """Return a node, None where the graph has none of that id."""
        return self._graph.nodes.get(node_id)

    def into(self, node_id: str) -> Mapping[Relation, tuple[str, ...]]:
        """Return the ids of the nodes whose edges end at a node, by relation, each in order."""
        return self._into.get(node_id, {})

    def ids(self, kind: Kind) -> Iterator[str]:
        """Yield the ids of all nodes of a kind, in order."""
        return iter(self._ids.get(kind, ()))


def there(view: View, node_id: str, source: str) -> Node:
    """Return the node that an edge of `source` leads to; InvalidDocumentError where the graph has none."""
    node = view.get(node_id)
    if node is None:
        raise InvalidDocumentError(
            f"graph is damaged: {source[:200]!r} leads to {node_id[:200]!r}, which is not in it",
            hint="build the graph anew with 'runtimeimg graph build'",
        )
    return node


def named(view: View, name: str, kinds: tuple[Kind, ...] = NAMED) -> Node:
    """Return the node that is meant by an id, or by a name without its kind.

    A name that nodes of several kinds have is that of the first of `kinds`. NotFoundError, with what is like it, for
    none; UsageError for a node of another kind.
    """
    kind, slash, rest = name.partition("/")
    if slash and rest and kind in frozenset(map(str, Kind)):
        found = view.get(name)
        if found is not None and kind_of(found.id) not in kinds:
            raise UsageError(f"{name[:200]!r} is a node of the kind {kind}", hint=f"name one of {', '.join(kinds)}")
        if found is not None:
            return found
    for item in kinds:
        found = view.get(f"{item}/{name}")
        if found is not None:
            return found
    raise NotFoundError(f"graph has no {' or '.join(kinds)} {name[:200]!r}", hint=_alike(view, name, kinds))


def _alike(view: View, name: str, kinds: tuple[Kind, ...]) -> str | None:
    ids = [node_id for kind in kinds for node_id in islice(view.ids(kind), _COMPARED)]
    names = {node_id.partition("/")[2]: node_id for node_id in reversed(ids)}
    wanted = name[:200].partition("/")[2] if name.partition("/")[0] in frozenset(map(str, kinds)) else name[:200]
    found = difflib.get_close_matches(wanted, names, n=1)
    return f"did you mean {names[found[0]]!r}?" if found else None
