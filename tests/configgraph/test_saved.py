"""Saved graphs: the same back, found by bisection, and damage that is found."""

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given

from runtimeimg.configgraph import saved, savedschema, shapes
from runtimeimg.configgraph.model import Graph, Kind, View
from runtimeimg.configgraph.parameter import Category
from runtimeimg.configgraph.parameters import OF_AUTOMATON
from runtimeimg.configgraph.views import Whole
from runtimeimg.errors import InvalidDocumentError, NotFoundError
from tests.configgraph.graphs import arbitrary, artefact, automaton, graph, host, instance, shop


@pytest.fixture
def there(tmp_path: Path) -> Path:
    path = tmp_path / "graph.json"
    saved.write(shop(), path)
    return path


def same(left: View, right: View, known: Graph) -> None:
    for kind in Kind:
        assert list(left.ids(kind)) == list(right.ids(kind))
    for node_id in (*known.nodes, "automaton/none", "layer/", "zzz/1", "host/\U0010ffff"):
        assert left.get(node_id) == right.get(node_id)
        assert left.into(node_id) == right.into(node_id)


@given(arbitrary())
def test_any_graph_comes_back_whole_and_piece_by_piece(tmp_path_factory: pytest.TempPathFactory, found: Graph) -> None:
    path = tmp_path_factory.mktemp("saved") / "graph.json"
    saved.write(found, path)
    assert saved.load(path) == found
    assert isinstance(saved.open(path), saved.Saved)
    same(saved.open(path), Whole(found), found)
    document = json.loads(path.read_bytes())
    jsonschema.Draft202012Validator(savedschema.schema()).validate(document)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=True))
    assert saved.load(path) == found
    same(saved.open(path), Whole(found), found)


def test_the_bytes_depend_on_the_graph_alone() -> None:
    found = shop()
    turned = Graph(dict(reversed(found.nodes.items())))
    assert b"".join(saved.dump(turned)) == b"".join(saved.dump(found))


def test_many_nodes_are_found_with_few_bytes_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "graph.json"
    saved.write(graph(artefact("web", "os"), (automaton(f"a{number}", "web") for number in range(20_000))), path)
    read = 0
    pread = saved.lines.os.pread

    def counted(fd: int, size: int, at: int) -> bytes:
        nonlocal read
        read += size
        return pread(fd, size, at)

    monkeypatch.setattr(saved.lines.os, "pread", counted)
    view = saved.open(path)
    node = view.get("automaton/a12345")
    assert node is not None
    assert node.id == "automaton/a12345"
    assert path.stat().st_size > 4_000_000
    assert read < 500_000


def test_a_long_line_is_found_and_so_are_its_neighbours(tmp_path: Path) -> None:
    found = graph(artefact("web", "os"), [automaton(name, "web", big="x" * 300_000) for name in "abc"], host("h"))
    path = tmp_path / "graph.json"
    saved.write(found, path)
    same(saved.open(path), Whole(found), found)


def test_an_empty_graph_is_one(tmp_path: Path) -> None:
    saved.write(Graph({}), tmp_path / "graph.json")
    assert saved.load(tmp_path / "graph.json") == Graph({})
    view = saved.open(tmp_path / "graph.json")
    assert view.get("automaton/a") is None
    assert list(view.ids(Kind.HOST)) == []


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        (b'"runs":["artefact/api"]', b'"runs":["artefact/apx"]', ":6: 'automaton/orders': 'runs' leads to"),
        (b'"runs":["artefact/api"]', b'"runs":["host/twooooo"]', ":6: 'automaton/orders': 'out': 'runs' is a list of"),
        (b'"runs":["artefact/api"]', b'"has":["artefact/api"]', ":6: 'automaton/orders': 'out' has 'has', which no"),
        (b'"runs":["artefact/api"]', b'"runs":[]', ":6: 'automaton/orders': 'out' has 0 of 'runs'"),
        (b'"into":{"runs":["automaton/orders"]}', b'"into":{"runs":[]}', ":2: 'artefact/api': 'into' lacks 'runs' of"),
        (b'["automaton/admin","automaton/shop"]', b'["automaton/shop","automaton/admin"]', "'into' is not in order"),
        (b'"placed-on":["instance/shop/1"]', b'"placed-on":["instance/orders/0"]', "'into' lacks 'placed-on' of"),
        (b'"replicas":2', b'"replicas":-2', "'replicas' is not a whole number"),
        (b'"replicas":2', b'"replicas":1e999', "not valid JSON: number 1e999 is too large"),
        (b'"replicas":2', b'"replicas":' + b"[" * 100_000, "not valid JSON"),
        (b'"replicas":2', b'"copies":2', "has 'copies', which no automaton has"),
        (b'"ordinal":1', b'"ordinal":3', "the id does not end with"),
        (b'{"id":"host/two"', b'{"id":"host/one"', "'host/one' is there twice, first in"),
        (b'{"id":"host/two"', b'{"id":"ship/two"', "'ship/two' is no id of a node"),
        (b'{"id":"host/two"', b'{"id":7', "a node has an 'id'"),
        (
            b'"given":{"process":{"args":["serve"]}}',
            b'"given":{"process":{"args":"serve"}}',
            "'given': 'process.args' is not a list",
        ),
        (
            b'"given":{"process":{"args":["serve"]}}',
            b'"given":{"ports":[{"port":80},{}]}',
            "'given': 'ports[1]' has no 'port'",
        ),
        (
            b'"given":{"process":{"args":["serve"]}}',
            b'"given":{"resources":{"cpu":1}}',
            "'resources.cpu' is not a text",
        ),
        (b'"facts":{}', b'"facts":[]', "'profile': 'facts' is not a map"),
        (b'"role":"layer"', b'"role":"cake"', "'role' is not one of layer, config"),
        (b'"profile":{', b'"profile":[],"x":{', "has 'x', which no host has"),
        (b'"variants":[', b'"variants":[7,', "variants[0] is not an object"),
        (b"\n]}\n", b"\n", "the graph ends too early"),
        (b"\n]}\n", b"\n]}\n\n", "is not laid out as it was"),
        (b"},\n", b"}\n", "is not laid out as it was"),
    ],
)
def test_damage_is_found(there: Path, old: bytes, new: bytes, wanted: str) -> None:
    raw = there.read_bytes()
    assert old in raw
    there.write_bytes(raw.replace(old, new, 1) if old != b"\n]}\n" else raw.removesuffix(old) + new)
    with pytest.raises(InvalidDocumentError) as caught:
        saved.load(there)
    assert f"{there}:" in caught.value.message
    assert wanted in caught.value.message


def test_what_automatons_may_set_has_a_shape() -> None:
    """Every parameter that a document may set, by its path."""
    for path, parameter in OF_AUTOMATON.items():
        if parameter.category is Category.ENCAPSULATED or path in {"name", "artefact"}:
            continue
        shape = shapes.AUTOMATON
        for key in path.split("."):
            shape = shape.shape if isinstance(shape, shapes.Each) else shape[key]


def test_a_view_says_the_line_of_what_it_cannot_read(there: Path) -> None:
    raw = there.read_bytes()
    there.write_bytes(raw.replace(b'"replicas":2', b'"replicas":x'))
    view = saved.open(there)
    assert view.get("automaton/admin") is not None
    with pytest.raises(InvalidDocumentError, match=f"{there}:7: not valid JSON"):
        view.get("automaton/shop")


def test_a_view_finds_lines_that_are_not_in_order(there: Path) -> None:
    head, *nodes, tail = there.read_bytes().splitlines(keepends=True)
    there.write_bytes(b"".join((head, *(line.replace(b"}\n", b"},\n") for line in reversed(nodes)), tail)))
    view = saved.open(there)
    with pytest.raises(InvalidDocumentError, match="the graph is damaged"):
        list(map(view.get, shop().nodes))
    with pytest.raises(InvalidDocumentError):
        saved.load(there)


def test_no_damage_of_a_byte_is_more_than_an_error(there: Path) -> None:
    raw = there.read_bytes()
    for at in range(0, len(raw), 29):
        for new in (b"", b"\n", b'"', b"\xff"):
            there.write_bytes(raw[:at] + new + raw[at + 1 :])
            for ask in (lambda: saved.load(there), lambda: list(map(saved.open(there).get, shop().nodes))):
                with contextlib.suppress(InvalidDocumentError):
                    ask()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "not valid JSON"),
        ("[]", "is no graph"),
        ('{"kind": "Graph", "apiVersion": "runtimeimg.dev/v1", "version": 2, "nodes": []}', "is of version '2'"),
        ('{"kind": "Graph", "apiVersion": "runtimeimg.dev/v1", "version": 1, "nodes": {}}', "a list of 'nodes'"),
        ('{"kind": "Graph", "apiVersion": "runtimeimg.dev/v1", "version": 1, "nodes": [3]}', "nodes[0]: a node is"),
        ("kind: Graph", "not valid JSON"),
    ],
)
def test_what_is_no_graph_is_said_to_be_none(tmp_path: Path, text: str, wanted: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    for ask in (saved.load, saved.open):
        with pytest.raises(InvalidDocumentError) as caught:
            ask(path)
        assert wanted in caught.value.message
        assert str(path) in caught.value.message


def test_no_file_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        saved.open(tmp_path / "none.json")
    with pytest.raises(InvalidDocumentError):
        saved.open(tmp_path)


def test_a_file_cut_short_while_it_is_open_is_an_error(there: Path) -> None:
    view = saved.open(there)
    there.write_bytes(there.read_bytes()[:200])
    with pytest.raises(InvalidDocumentError, match="became shorter"):
        view.get("host/two")


def test_unplaced_instances_have_no_host() -> None:
    lone = replace(instance("orders"), why="")
    assert [edge.relation for edge in lone.edges()] == ["instance-of"]
