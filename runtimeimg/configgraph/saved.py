"""Graphs as files: one JSON document, laid out so that a question reads only the lines that it needs.

    {"apiVersion":"runtimeimg.dev/v1","kind":"Graph","version":1,"nodes":[
    {"id":"artefact/web",...},
    {"id":"automaton/shop",...}
    ]}

Each node has a line of its own, in the order of the ids, with what leads from and into it; so a node is found by
bisection. The bytes depend on the graph alone. A document that some other program laid out anew means the same; it is
read whole. Nothing is mapped into memory: a file that somebody cuts short meanwhile is an error, not a signal.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

from runtimeimg.budgets import MAX_GRAPH, MAX_GRAPH_LINE, MAX_GRAPH_NODES, MAX_GRAPH_WHOLE
from runtimeimg.configgraph import codec, lines
from runtimeimg.configgraph.model import Edge, Graph, Node, Relation, View
from runtimeimg.configgraph.views import Whole, leading_into
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.hostfile import open_file, read_file
from runtimeimg.oci.documents import strict_json
from runtimeimg.stores.files import write_atomically

API_VERSION, KIND, VERSION = "runtimeimg.dev/v1", "Graph", 1

_HEAD = f'{{"apiVersion":"{API_VERSION}","kind":"{KIND}","version":{VERSION},"nodes":[\n'.encode()
_TAIL = b"]}\n"
_HINT = "build the graph anew with 'runtimeimg graph build'"


def dump(graph: Graph) -> Iterator[bytes]:
    """Yield the document of a graph, line by line."""
    into = leading_into(graph)
    yield _HEAD
    last = len(graph.nodes) - 1
    for number_, node_id in enumerate(sorted(graph.nodes)):
        text = codec.encode(graph.nodes[node_id], into.get(node_id, {}))
        yield f"{text}{',' if number_ < last else ''}\n".encode()
    yield _TAIL


def write(graph: Graph, path: str | Path) -> None:
    """Write a graph to a file, whole or not at all."""
    write_atomically(path, b"".join(dump(graph)))


def open(path: str | Path) -> View:  # noqa: A001 - a graph is opened as a file is
    """Return a view of a saved graph; of one that is laid out as `dump` does it only what is asked for is read.

    What is read is checked: InvalidDocumentError for a file that is none or was damaged, NotFoundError for none.
    """
    name = str(path)
    with open_file(Path(path), "graph") as file:
        _bounded(file, name)
        if file.read(len(_HEAD)) == _HEAD:
            return Saved(lines.Lines(file, head=len(_HEAD), tail=_TAIL, name=name))
    return Whole(load(path))


def _bounded(file: IO[bytes], name: str) -> None:
    if os.fstat(file.fileno()).st_size > MAX_GRAPH:
        raise InvalidDocumentError(f"graph '{name}' is larger than {MAX_GRAPH >> 30} GiB")


class Saved:
    """A view of a saved graph that reads what it is asked for."""

    def __init__(self, found: lines.Lines) -> None:
        self._lines = found
        self._kept: dict[str, tuple[Node, codec.Links] | None] = {}

    def get(self, node_id: str) -> Node | None:
        """Return a node, None where the graph has none of that id."""
        found = self._of(node_id)
        return None if found is None else found[0]

    def into(self, node_id: str) -> codec.Links:
        """Return the ids of the nodes whose edges end at a node, by relation, each in order."""
        found = self._of(node_id)
        return {} if found is None else found[1]

    def ids(self, kind: str) -> Iterator[str]:
        """Yield the ids of all nodes of a kind, in order."""
        return self._lines.ids(f"{kind}/")

    def _of(self, node_id: str) -> tuple[Node, codec.Links] | None:
        if node_id not in self._kept:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            line = self._lines.find(node_id)
            self._kept[node_id] = None if line is None else self._read(line)
        return self._kept[node_id]

    def _read(self, line: lines.Line) -> tuple[Node, codec.Links]:
        try:
            return _node(line.text, "")
        except InvalidDocumentError:  # only now is it worth while to count lines
            return _node(line.text, self._lines.where(line.at))


_KEPT = 100_000
"""Nodes that are kept after they were read."""


def _node(raw: bytes, where: str) -> tuple[Node, codec.Links]:
    return codec.decode(_json(raw.rstrip(b",\n"), where), where)


def _json(raw: bytes, where: str) -> Any:
    try:
        return strict_json(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidDocumentError(f"{where}: not valid JSON: {error}", hint=_HINT) from None


def load(path: str | Path) -> Graph:
    """Return a saved graph, read and checked whole."""
    nodes: dict[str, Node] = {}
    claimed: dict[str, codec.Links] = {}
    places: dict[str, str] = {}
    for raw, where in _nodes(Path(path)):
        node, into = _node(raw, where) if isinstance(raw, bytes) else codec.decode(raw, where)
        if node.id in nodes:
            raise InvalidDocumentError(f"{where}: {node.id[:200]!r} is there twice, first in {places[node.id]}")
        if len(nodes) >= MAX_GRAPH_NODES:
            raise InvalidDocumentError(f"{where}: a graph has {MAX_GRAPH_NODES} nodes at the most")
        nodes[node.id], claimed[node.id], places[node.id] = node, into, where
    graph = Graph({node_id: nodes[node_id] for node_id in sorted(nodes)})
    _check(graph, claimed, places)
    return graph


def _nodes(path: Path) -> Iterator[tuple[bytes | object, str]]:
    """Yield each node, as a line or parsed, with its place."""
    with open_file(path, "graph") as file:
        _bounded(file, str(path))
        with os.fdopen(os.dup(file.fileno()), "rb", buffering=1 << 20) as buffered:
            if buffered.read(len(_HEAD)) == _HEAD:
                yield from _laid_out(buffered, str(path))
                return
    document = _document(path)
    for number_, item in enumerate(document):
        yield item, f"{path}: nodes[{number_}]"


def _laid_out(file: Any, name: str) -> Iterator[tuple[bytes, str]]:
    last = ""
    for number_ in range(2, MAX_GRAPH_NODES + 3):
        raw = file.readline(MAX_GRAPH_LINE + 1)
        where = f"{name}:{number_}"
        if raw == _TAIL and not last.endswith(",") and not file.read(1):
            return
        if not raw.endswith(b"\n") or raw == _TAIL or (last and not last.endswith(",")):
            what = "is too long" if len(raw) > MAX_GRAPH_LINE else "ends too early" if not raw.endswith(b"\n") else ""
            raise InvalidDocumentError(f"{where}: the graph {what or 'is not laid out as it was'}", hint=_HINT)
        yield raw, where
        last = raw[-2:-1].decode("latin-1")


def _document(path: Path) -> list[Any]:
    """Return the nodes of a document that is laid out in some other way."""
    raw = read_file(path, MAX_GRAPH_WHOLE, "graph")
    if len(raw) > MAX_GRAPH_WHOLE:
        _no_graph(path, f"is not laid out line by line, and larger than {MAX_GRAPH_WHOLE >> 20} MiB")
    data = _json(raw, str(path))
    if not isinstance(data, dict) or data.get("kind") != KIND or data.get("apiVersion") != API_VERSION:
        _no_graph(path, f"is no graph: it has no 'kind' {KIND} and 'apiVersion' {API_VERSION}")
    if data.get("version") != VERSION:
        _no_graph(path, f"is of version {str(data.get('version'))[:40]!r}; known is {VERSION}")
    nodes = data.get("nodes")
    if not isinstance(nodes, list) or data.keys() - {"apiVersion", "kind", "version", "nodes"}:
        _no_graph(path, "has something else than a list of 'nodes'")
    return nodes


def _no_graph(path: Path, what: str) -> NoReturn:
    raise InvalidDocumentError(f"graph '{path}' {what}", hint=_HINT)


def _check(graph: Graph, claimed: dict[str, codec.Links], places: dict[str, str]) -> None:
    """Raise InvalidDocumentError for edges that lead nowhere, or that 'out' and 'into' do not both have."""
    for edge in graph.edges():
        if edge.target not in graph.nodes:
            raise InvalidDocumentError(f"{places[edge.source]}: {_shown(edge)}, which is not in the graph", hint=_HINT)
    into = leading_into(graph)
    for node_id, there in claimed.items():
        found = {relation: tuple(ids) for relation, ids in into.get(node_id, {}).items()}
        if found != there:
            raise InvalidDocumentError(f"{places[node_id]}: {_difference(node_id, found, there)}", hint=_HINT)


def _shown(edge: Edge) -> str:
    return f"{edge.source[:200]!r}: '{edge.relation}' leads to {edge.target[:200]!r}"


def _difference(node_id: str, found: codec.Links, there: codec.Links) -> str:
    for relation in Relation:
        have, said = found.get(relation, ()), there.get(relation, ())
        if missing := sorted(set(have) - set(said)):
            return f"{node_id[:200]!r}: 'into' lacks '{relation}' of {missing[0][:200]!r}"
        if extra := sorted(set(said) - set(have)):
            return f"{node_id[:200]!r}: 'into' has '{relation}' of {extra[0][:200]!r}, which does not lead here"
    return f"{node_id[:200]!r}: 'into' is not in order"
