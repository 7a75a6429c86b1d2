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


def cycle(edges: Iterable[tuple[str, str]]) -> list[str] | None:
    """Return the ids of a cycle in the order of its edges, the least of them first; None where there is none.

    Of several cycles one of those with the least id is returned, the same whatever the order of the edges.
    """
    library()
    import rustworkx

    pairs = sorted(set(edges))
    graph, names = _graph(pairs)
    loops = {source for source, target in pairs if source == target}
    groups = [[names[item] for item in group] for group in rustworkx.strongly_connected_components(graph)]
    tangled = [sorted(group) for group in groups if len(group) > 1 or group[0] in loops]
    if not tangled:
        return None
    group = min(tangled)
    first = group[0]
    if first in loops:
        return [first]
    members = frozenset(group)
    inner, names = _graph([pair for pair in pairs if members.issuperset(pair)])
    before: dict[str, str] = {}
    for name, reached in rustworkx.bfs_successors(inner, names.index(first)):
        for there in reached:
            before.setdefault(there, name)
    found = [min(source for source, target in pairs if target == first and source in members)]
    while found[-1] != first:
        found.append(before[found[-1]])
    return found[::-1]


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
