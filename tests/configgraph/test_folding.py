"""Graphs folded until they can be looked at: nothing is lost, counts add up, what is asked for stays by itself."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimeimg.configgraph.folding import COLUMNS, fold, neighbourhood
from runtimeimg.configgraph.model import Graph, Instance
from runtimeimg.configgraph.views import Whole
from tests.configgraph.graphs import arbitrary, artefact, automaton, digest, graph, host, instance, shop


@given(arbitrary(), st.integers(2, 6))
def test_every_node_and_every_edge_is_somewhere(found: Graph, limit: int) -> None:
    folded = fold(Whole(found), limit=limit)
    assert folded.of.keys() == found.nodes.keys()
    counts = Counter(folded.of.values())
    assert {box.id: box.count for box in folded.boxes} == counts
    assert max(Counter(box.column for box in folded.boxes).values(), default=0) <= limit
    edges = Counter((folded.of[edge.source], folded.of[edge.target], edge.relation) for edge in found.edges())
    assert {(item.source, item.target, item.relation): item.count for item in folded.arrows} == edges
    assert folded == fold(Whole(Graph(dict(reversed(found.nodes.items())))), limit=limit)


def large() -> Graph:
    names = [f"app{number}" for number in range(40)]
    return graph(
        artefact("base", "os"),
        [artefact(name, "os", name, base="base") for name in names],
        [automaton(f"{name}-{number}", name) for name in names for number in range(5)],
        [instance(f"{name}-{number}", 0, f"node{number}") for name in names for number in range(5)],
        [host(f"node{number}") for number in range(5)],
    )


def test_what_is_alike_is_one_box() -> None:
    folded = fold(Whole(large()), limit=24)
    automatons = [box for box in folded.boxes if box.column == "automaton"]
    assert len(automatons) == 24
    assert [box.title for box in automatons if box.title.endswith("more automatons")] == ["85 more automatons"]
    assert sum(box.count for box in automatons) == 200
    assert {box.count for box in automatons} == {5, 85}
    assert [box.title for box in folded.boxes if box.column == "base"] == ["base"]
    assert [box.title for box in folded.boxes if box.column == "host"] == [f"node{number}" for number in range(5)]


def test_a_node_with_what_is_about_it() -> None:
    folded = fold(Whole(large()), "artefact/app7")
    names = {box.id for box in folded.boxes if box.column in COLUMNS[:5]}
    expected = {f"{kind}/app7-{number}" for kind in ("automaton",) for number in range(5)}
    expected |= {f"instance/app7-{number}/0" for number in range(5)}
    expected |= {f"host/node{number}" for number in range(5)}
    assert names == expected | {"artefact/app7", "artefact/base"}


def test_the_node_that_is_asked_for_is_a_box_whatever_is_folded() -> None:
    for name in ("artefact/app7", "automaton/app7-3", "instance/app7-3/0", "host/node3"):
        folded = fold(Whole(large()), name, limit=2)
        assert folded.of[name] == name


@pytest.mark.parametrize(
    ("focus", "there", "not_there"),
    [
        (
            "host/one",
            {"instance/shop/0", "automaton/admin", "artefact/web", "artefact/base"},
            {"artefact/api", "host/two"},
        ),
        ("artefact/base", {"automaton/orders", "host/two", "instance/shop/1"}, set()),
        (f"layer/{digest('layer api')}", {"artefact/api", "automaton/orders"}, {"artefact/web", "host/one"}),
        ("instance/shop/1", {"host/two", "automaton/shop", "artefact/base"}, {"host/one", "instance/shop/0"}),
        ("automaton/admin", {"host/one", "instance/admin/0"}, {"automaton/shop", "host/two"}),
    ],
)
def test_neighbourhoods(focus: str, there: set[str], not_there: set[str]) -> None:
    found = neighbourhood(Whole(shop()), focus)
    assert focus in found
    assert there <= found
    assert not not_there & found


def test_a_box_says_what_its_node_is() -> None:
    folded = fold(Whole(shop()))
    notes = {box.id: box.note for box in folded.boxes}
    assert notes["automaton/shop"] == "2 replicas"
    assert notes["instance/orders/0"] == "not placed"
    assert notes["instance/shop/0"] == "on one"
    assert notes["host/two"] == "linux/amd64"
    assert notes[f"layer/{digest('layer os')}"] == "layer, 1.0 kB"
    assert all(isinstance(shop().nodes[box.id], Instance) for box in folded.boxes if box.column == "instance")
