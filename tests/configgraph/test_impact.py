"""What depends on an image, a blob or a package: against a search written apart, and with packages of real images."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimeimg.configgraph import bills, impact, saved
from runtimeimg.configgraph.model import Graph, Relation
from runtimeimg.configgraph.views import Whole
from runtimeimg.errors import UsageError
from tests.configgraph.graphs import artefact, automaton, digest, graph, host, instance, shop
from tests.configgraph.layouts import Layout
from tests.indexes.command import done, run
from tests.stores.served import serve

UP = {
    Relation.CONTAINS,
    Relation.BUILT_ON,
    Relation.BUILT_FROM,
    Relation.RUNS,
    Relation.INSTANCE_OF,
    Relation.REFERS_TO,
}


def reached(found: Graph, start: str) -> set[str]:
    """All that leads to a node, and the hosts of the instances among it; by edges alone, over and over."""
    there = {start}
    while True:
        more = {edge.source for edge in found.edges() if edge.target in there and edge.relation in UP}
        if more <= there:
            break
        there |= more
    placed = {edge.target for edge in found.edges() if edge.source in there and edge.relation is Relation.PLACED_ON}
    return {item for item in there | placed if not item.startswith("layer/")}


@st.composite
def built(draw: st.DrawFn) -> Graph:
    """Artefacts built on and from each other, automatons, some on hosts."""
    names = [f"a{number}" for number in range(draw(st.integers(1, 6)))]
    artefacts = []
    for number, name in enumerate(names):
        below = names[:number]
        base = draw(st.sampled_from(["", *below]))
        made = artefact(name, *draw(st.lists(st.sampled_from(["x", "y", "z"]), max_size=2)), base=base)
        builders = tuple(f"artefact/{item}" for item in below if draw(st.booleans()))
        artefacts.append(type(made)(**{**{key: getattr(made, key) for key in made.__slots__}, "builders": builders}))
    runs = [draw(st.sampled_from(names)) for _ in range(draw(st.integers(0, 5)))]
    hosts = [host("one"), host("two")]
    return graph(
        artefacts,
        hosts,
        [automaton(f"m{number}", name) for number, name in enumerate(runs)],
        [instance(f"m{number}", 0, draw(st.sampled_from(["", "one", "two"]))) for number in range(len(runs))],
    )


def found_of(result: impact.Impact) -> set[str]:
    names = {item.id for item in result.artefacts}
    return names | set(result.automatons) | set(result.instances) | set(result.hosts)


@given(built(), st.integers(0, 40))
def test_what_is_touched_is_all_that_leads_there(found: Graph, number: int) -> None:
    view = Whole(found)
    ids = [item for item in found.nodes if item.startswith(("artefact/", "layer/"))]
    start = ids[number % len(ids)]
    name = start.partition("/")[2]
    starts = impact.of_blob(view, name)[0] if start.startswith("layer/") else impact.of_image(view, name)
    result = impact.impact(view, starts)
    assert found_of(result) == reached(found, start)
    assert list(result.automatons) == sorted(result.automatons)


@given(built())
def test_many_are_found_as_few_are(found: Graph) -> None:
    view = Whole(found)
    starts = impact.of_image(view, "a0")
    few = impact.impact(view, starts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(impact, "_MANY", 0)
        assert impact.impact(view, starts) == few


@pytest.fixture
def there(tmp_path: Path) -> Path:
    saved.write(shop(), tmp_path / "graph.json")
    return tmp_path / "graph.json"


def asked(there: Path, what: str, *options: object) -> dict[str, list[object]]:
    found: dict[str, list[object]] = json.loads(
        done("graph", "impact", what, "-g", there, "--format", "json", *options)
    )
    return found


def test_the_command_takes_names_references_and_digests(there: Path) -> None:
    for what in ("base", "artefact/base", "docker://registry.example.com/base:1", "registry.example.com/base:1"):
        told = asked(there, what)
        assert told["kind"] == "image"
        assert told["automatons"] == ["automaton/admin", "automaton/orders", "automaton/shop"]
        assert told["hosts"] == ["host/one", "host/two"]
    told = asked(there, digest("layer api"))
    assert told["kind"] == "digest"
    assert [(item["id"], item["how"]) for item in told["artefacts"]] == [("artefact/api", "contains")]
    assert told["instances"] == ["instance/orders/0"]
    assert told["hosts"] == []
    assert asked(there, digest("layer os"))["holding"] == ["host/one"]
    assert asked(there, f"layer/{digest('layer os')}") == {
        **asked(there, digest("layer os")),
        "of": f"layer/{digest('layer os')}",
    }
    table = done("graph", "impact", "web", "-g", there).splitlines()
    assert table[0] == "image web: 1 artefacts, 2 automatons, 3 instances, 2 hosts"
    assert "  artefact/web: is web" in table


@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        (digest("nothing"), 3, "graph has no artefact or layer"),
        ("registry.example.com/wob:1", 3, "graph has no artefact or layer"),
        ("artefact/wob", 3, "did you mean 'artefact/web'?"),
        ("pkg:deb", 2, "is not a package URL"),
        ("@", 2, "is not a name of a package"),
    ],
)
def test_what_is_not_there_is_said_so(there: Path, what: str, code: int, said: str) -> None:
    outcome = run("graph", "impact", what, "-g", there)
    assert outcome.code == code
    assert said in outcome.err


@pytest.mark.parametrize(
    ("asked_", "has", "fits"),
    [
        ("openssl", "pkg:deb/debian/openssl@3.0.11-1~deb12u2?arch=amd64", True),
        ("openssl@3.0.11-1~deb12u2", "pkg:deb/debian/openssl@3.0.11-1~deb12u2?arch=amd64", True),
        ("openssl@3.0", "pkg:deb/debian/openssl@3.0.11-1~deb12u2", False),
        ("pkg:deb/debian/openssl", "pkg:deb/debian/openssl@3.0.11-1~deb12u2", True),
        ("pkg:apk/alpine/openssl", "pkg:deb/debian/openssl@3.0.11", False),
        ("pkg:npm/%40scope/name@1.0", "pkg:npm/%40scope/name@1.0", True),
        ("@scope/name", "pkg:npm/%40scope/name@1.0", True),
        ("@scope/name@2.0", "pkg:npm/%40scope/name@1.0", False),
        ("Flask", "pkg:pypi/flask@3.0", True),
        ("ssl", "pkg:deb/debian/openssl@3", False),
        ("g++", "pkg:deb/debian/g%2B%2B@12", True),
    ],
)
def test_packages_are_told_apart(asked_: str, has: str, fits: bool) -> None:
    assert bills.parse(has).matches(bills.parse(asked_)) is fits


def test_bills_of_both_formats_are_read() -> None:
    cyclonedx = {
        "components": [{"purl": "pkg:deb/debian/a@1", "components": [{"purl": "pkg:npm/b@2"}]}, {"name": "file"}]
    }
    spdx = {"packages": [{"externalRefs": [{"referenceType": "purl", "referenceLocator": "pkg:deb/debian/a@1"}]}, {}]}
    assert {str(item) for item in bills.told(json.dumps(cyclonedx).encode())} == {"pkg:deb/debian/a@1", "pkg:npm/b@2"}
    assert [str(item) for item in bills.told(json.dumps(spdx).encode())] == ["pkg:deb/debian/a@1"]
    with pytest.raises(UsageError):
        bills.parse("pkg:")


def status(name: str, version: str) -> dict[str, str]:
    """The records of dpkg of one package."""
    fields = {"Package": name, "Status": "install ok installed", "Architecture": "amd64", "Version": version}
    return {
        "var/lib/dpkg/status": "".join(f"{key}: {value}\n" for key, value in fields.items()),
        f"var/lib/dpkg/info/{name}.list": f"/usr/lib/{name}\n",
        f"usr/lib/{name}": version,
        "etc/os-release": "ID=debian\n",
    }


DOCUMENTS = """\
apiVersion: runtimeimg.dev/v1
kind: Artefact
name: {name}
image: {image}
---
apiVersion: runtimeimg.dev/v1
kind: Automaton
name: run-{name}
artefact: {name}
---
"""


def test_a_package_is_looked_for_in_bills_and_in_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    layout = Layout(tmp_path / "images")
    layout.image("old", layers=[status("openssl", "3.0.1")])
    layout.image("new", layers=[status("openssl", "3.0.2")])
    layout.image("other", layers=[status("zlib1g", "1.2")])
    text = "".join(DOCUMENTS.format(name=name, image=f"oci:images:{name}") for name in ("old", "new", "other"))
    (tmp_path / "all.yaml").write_text(text)
    graph_file = tmp_path / "graph.json"
    done("graph", "build", tmp_path / "all.yaml", "-o", graph_file)
    done("sbom", f"oci:{tmp_path}/images:new", "--attach")
    monkeypatch.chdir(tmp_path)
    assert asked(graph_file, "openssl")["automatons"] == ["automaton/run-new", "automaton/run-old"]
    assert asked(graph_file, "pkg:deb/debian/openssl@3.0.1")["automatons"] == ["automaton/run-old"]
    told = asked(graph_file, "openssl@3.0.2")
    assert told["artefacts"] == [{"id": "artefact/new", "how": "contains", "via": "pkg:deb/debian/openssl@3.0.2"}]
    outcome = run("graph", "impact", "openssl@4", "-g", graph_file)
    assert outcome.code == 3
    assert "no artefact of the graph is called 'openssl@4' or has a package of that name" in outcome.err


@pytest.mark.registry
def test_packages_of_a_registry_are_kept_and_what_is_not_known_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    layout = Layout(tmp_path / "images")
    layout.image("old", layers=[status("openssl", "3.0.1")])
    graph_file = tmp_path / "graph.json"
    with serve(tmp_path / "registry") as address:
        done("copy", f"oci:{layout.root}:old", f"docker://{address}/old:1")
        (tmp_path / "all.yaml").write_text(DOCUMENTS.format(name="old", image=f"{address}/old:1"))
        done("graph", "build", tmp_path / "all.yaml", "-o", graph_file)
        outcome = run("graph", "impact", "openssl", "-g", graph_file, "--offline")
        assert outcome.code == 0
        assert "the packages of 'artefact/old' are not known: its packages are not in the cache" in outcome.err
        assert outcome.out.startswith("package openssl: 0 artefacts")
        assert asked(graph_file, "openssl")["automatons"] == ["automaton/run-old"]
    assert asked(graph_file, "openssl", "--offline")["automatons"] == ["automaton/run-old"]
    assert asked(graph_file, "openssl")["automatons"] == ["automaton/run-old"]
