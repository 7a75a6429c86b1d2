"""What a graph library finds among edges: rustworkx, of the extra `graph`, imported when it is asked for something."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from runtimeimg.errors import UnavailableError

if TYPE_CHECKING:
    import rustworkx


def library() -> None:
    """Raise UnavailableError where the library is not installed."""
    try:
        import rustworkx  # noqa: F401
    except ImportError as error:
        raise UnavailableError(
            f"graphs need the package rustworkx: {error}", hint="pip install 'runtimeimg[graph]'"
        ) from None


def cycles(edges: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """Return a cycle of every group of nodes that lead to each other, its ids in the order of its edges.

    Each begins with the least id of its group, and they are in the order of these, the same whatever the order of the
    edges. UnavailableError where there are edges and no library.
    """
    pairs = sorted(set(edges))
    if not pairs:
        return []
    library()
    import rustworkx

    graph, names = _graph(pairs)
    loops = {source for source, target in pairs if source == target}
    groups = [[names[item] for item in group] for group in rustworkx.strongly_connected_components(graph)]
    tangled = sorted(sorted(group) for group in groups if len(group) > 1 or group[0] in loops)
    first_of = {name: group[0] for group in tangled for name in group}
    within: dict[str, list[tuple[str, str]]] = {group[0]: [] for group in tangled}
    for source, target in pairs:
        if source in first_of and first_of[source] == first_of.get(target):
            within[first_of[source]].append((source, target))
    return [(first,) if first in loops else _through(first, inside) for first, inside in within.items()]


def _through(first: str, pairs: list[tuple[str, str]]) -> tuple[str, ...]:
    """Return a cycle through a node, by edges between nodes that all lead to each other."""
    import rustworkx

    inner, names = _graph(pairs)
    before: dict[str, str] = {}
    for name, reached in rustworkx.bfs_successors(inner, names.index(first)):
        for there in reached:
            before.setdefault(there, name)
    found = [min(source for source, target in pairs if target == first)]
    while found[-1] != first:
        found.append(before[found[-1]])
    return tuple(reversed(found))


def _graph(pairs: Iterable[tuple[str, str]]) -> tuple[rustworkx.PyDiGraph[str, None], list[str]]:
    """Return a graph of edges, and the id of each of its nodes by number."""
    import rustworkx

    numbers: dict[str, int] = {}
    numbered = [
        (numbers.setdefault(source, len(numbers)), numbers.setdefault(target, len(numbers))) for source, target in pairs
    ]
    graph: rustworkx.PyDiGraph[str, None] = rustworkx.PyDiGraph()
    graph.add_nodes_from(list(numbers))
    graph.add_edges_from_no_data(numbered)
    return graph, list(numbers)
