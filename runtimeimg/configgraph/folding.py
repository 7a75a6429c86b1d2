"""A graph small enough to be looked at: nodes that are alike in one box with their count, edges between boxes counted.

Nodes of a kind are boxes of their own while there are few. Of many, those that have most in common (instances of one
automaton, automatons of one artefact, artefacts on one base, hosts of one platform, blobs of the same artefacts) are
one box; where even those are many the smallest of them are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from runtimeimg.configgraph.layout import Arrow, Box
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
from runtimeimg.text import human_size

COLUMNS = ("host", "instance", "automaton", "artefact", "base", "layer")
"""The columns of boxes: the kinds, and `base` for artefacts that others are made of and no automaton runs."""
LIMIT = 24
"""Boxes of a column, unless somebody asks for more."""
_SAID = {
    "host": "hosts",
    "instance": "instances",
    "automaton": "automatons",
    "artefact": "artefacts",
    "base": "bases",
    "layer": "blobs",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """Boxes in the order of their columns and ids, the arrows between them, and which box each node is in."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    of: Mapping[str, str]


def fold(view: View, focus: str = "", *, limit: int = LIMIT) -> Folded:
    """Return a graph, or what is about the node `focus`, with at most `limit` boxes in a column."""
    ids = neighbourhood(view, focus) if focus else {node_id for kind in Kind for node_id in view.ids(kind)}
    nodes = {node_id: there(view, node_id, focus or node_id) for node_id in sorted(ids)}
    columns: dict[str, list[Node]] = {name: [] for name in COLUMNS}
    for node in nodes.values():
        columns[_column(view, node)].append(node)
    boxes: list[Box] = []
    of: dict[str, str] = {}
    for column, members in columns.items():
        for box, inside in _boxes(view, column, members, limit, focus):
            boxes.append(box)
            of.update((node.id, box.id) for node in inside)
    return Folded(boxes=tuple(boxes), arrows=_arrows(nodes.values(), of), of=of)


def neighbourhood(view: View, focus: str) -> set[str]:
    """Return the ids of what a node is made of and runs on, and of what is made of it or runs it.

    Of a host that is what runs there; of everything else the blobs that hosts have are left out.
    """
    found = {focus}
    _walk(view, [focus], found, down=True)
    if kind_of(focus) is Kind.HOST:
        _walk(view, view.into(focus).get(Relation.PLACED_ON, ()), found, down=True, without=(Relation.CONTAINS,))
        return found
    _walk(view, [focus], found, down=False)
    hosts = [node.host for item in found if isinstance(node := view.get(item), Instance) and node.host]
    return found.union(hosts)


def _walk(view: View, starts: Iterable[str], found: set[str], *, down: bool, without: Sequence[Relation] = ()) -> None:
    """Add what is reached along edges, or against them, beginning with `starts`; a host is an end."""
    waiting = list(starts)
    found.update(waiting)
    passed = {*without, *(() if down else (Relation.HAS,))}
    while waiting:
        node_id = waiting.pop()
        if down:
            node = view.get(node_id)
            reached = [(edge.relation, edge.target) for edge in (node.edges() if node is not None else ())]
        else:
            reached = [(relation, item) for relation, ids in view.into(node_id).items() for item in ids]
        new = [item for relation, item in reached if relation not in passed and item not in found]
        found.update(new)
        waiting += [item for item in new if kind_of(item) is not Kind.HOST]


def _column(view: View, node: Node) -> str:
    if not isinstance(node, Artefact):
        return str(kind_of(node.id))
    into = view.into(node.id)
    used = Relation.BUILT_ON in into or Relation.BUILT_FROM in into
    return "base" if used and Relation.RUNS not in into else "artefact"


def _boxes(
    view: View, column: str, members: Sequence[Node], limit: int, focus: str
) -> Iterable[tuple[Box, Sequence[Node]]]:
    """Return the boxes of a column with the nodes that are in each; `focus` is always a box of its own."""
    if len(members) <= limit:
        return [(_single(column, node), [node]) for node in members]
    own = [node for node in members if node.id == focus]
    groups: dict[str, list[Node]] = {}
    for node in members:
        if node.id != focus:
            groups.setdefault(_common(view, node), []).append(node)
    ranked = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    room = limit - len(own)
    if len(ranked) > room:
        rest = sorted((node for _, inside in ranked[room - 1 :] for node in inside), key=lambda node: node.id)
        ranked = [*ranked[: room - 1], ("", rest)]
    found = [(_single(column, node), [node]) for node in own]
    for key, inside in ranked:
        found.append((_single(column, inside[0]) if len(inside) == 1 else _group(column, key, inside), inside))
    return sorted(found, key=lambda item: item[0].id)


def _common(view: View, node: Node) -> str:
    """Return what nodes of a kind have in common that are folded together."""
    match node:
        case Instance():
            return node.automaton
        case Automaton():
            return node.artefact
        case Artefact():
            return f"on {node.base}" if node.base else "on no base"
        case HostNode():
            return _platform(node)
        case Layer():
            within = view.into(node.id).get(Relation.CONTAINS, ())
            return (
                f"of {within[0]}" + (f" and {len(within) - 1} more" if len(within) > 1 else "")
                if within
                else "of no artefact"
            )


def _group(column: str, key: str, inside: Sequence[Node]) -> Box:
    count = f"{len(inside):,} {'' if key else 'more '}{_SAID[column]}"
    sizes = [node.size for node in inside if isinstance(node, Layer) and node.size is not None]
    note = ", ".join(part for part in (key, human_size(sum(sizes)) if sizes else "") if part)
    return Box(
        id=f"group/{column}/{key}" if key else f"group/{column}",
        column=column,
        title=count,
        note=note,
        count=len(inside),
    )


def _single(column: str, node: Node) -> Box:
    return Box(id=node.id, column=column, title=_title(node), note=note(node))


def _title(node: Node) -> str:
    name = name_of(node.id)
    algorithm, colon, encoded = name.partition(":")
    if isinstance(node, Layer) and colon and not name.startswith("/"):
        return f"{algorithm}:{encoded[:12]}"
    return name


def note(node: Node) -> str:
    """Return in a few words what there is to say of a node."""
    match node:
        case Instance():
            return f"on {name_of(node.host)}" if node.host else "not placed"
        case Automaton():
            return f"{node.replicas} replica{'' if node.replicas == 1 else 's'}"
        case Artefact():
            return node.reference or (node.paths[0] if node.paths else "")
        case HostNode():
            return ", ".join(part for part in (_platform(node), *_quantities(node)) if part)
        case Layer():
            return str(node.role) + (f", {human_size(node.size)}" if node.size is not None else "")


def _platform(node: HostNode) -> str:
    found = node.profile.get("platform", "")
    return found if isinstance(found, str) else ""


def _quantities(node: HostNode) -> Iterable[str]:
    found = node.resources
    if found.cpu is not None:
        yield f"{found.cpu / 1000:g} CPUs"
    if found.memory is not None:
        yield human_size(found.memory)
    for name, count in sorted(found.others.items()):
        yield f"{count} {name}"


def _arrows(nodes: Iterable[Node], of: Mapping[str, str]) -> tuple[Arrow, ...]:
    counts: dict[tuple[str, str, str], int] = {}
    for node in nodes:
        source = of[node.id]
        for edge in node.edges():
            target = of.get(edge.target)
            if target is not None:
                key = (source, target, str(edge.relation))
                counts[key] = counts.get(key, 0) + 1
    return tuple(
        Arrow(source=source, target=target, relation=relation, count=count)
        for (source, target, relation), count in sorted(counts.items())
    )
