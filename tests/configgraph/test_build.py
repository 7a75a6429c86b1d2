"""Documents to a graph: images, their bases and builders, hosts, instances, the lock, and what is asked of whom."""

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtimeimg.cache import Cache
from runtimeimg.configgraph import lock, reading
from runtimeimg.configgraph.build import Built, build
from runtimeimg.configgraph.model import (
    Artefact,
    Automaton,
    Graph,
    HostNode,
    Instance,
    Layer,
    Node,
    Origin,
    Resources,
    Role,
)
from runtimeimg.configgraph.resolve import Ways
from runtimeimg.errors import IntegrityError, NotFoundError, RuntimeimgError, SpecError
from runtimeimg.stores import StoreOptions
from tests.configgraph.layouts import COMMAND, Layout

BASE_LABELS = {
    "org.opencontainers.image.base.name": "docker.io/library/debian:12",
    "org.opencontainers.image.base.digest": "sha256:" + "d" * 64,
}


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.chdir(tmp_path)
    return Layout(tmp_path / "images")


def made(text: str = "", ways: Ways | None = None, **files: str) -> Built:
    """Build a graph of `graph.yaml` and other files."""
    for name, content in ({"graph": text} if text else {}).items() | files.items():
        Path(f"{name}.yaml").write_text(content)
    return build(reading.read_all([Path()]), ways or Ways(options=StoreOptions(), lock={}))


def documents(*found: Mapping[str, Any]) -> str:
    head = {"apiVersion": "runtimeimg.dev/v1"}
    return "".join(f"---\n{json.dumps({**head, **item})}\n" for item in found)


def artefact(name: str, **fields: Any) -> Mapping[str, Any]:
    return {"kind": "Artefact", "name": name, **fields}


def automaton(name: str, of: str, **fields: Any) -> Mapping[str, Any]:
    return {"kind": "Automaton", "name": name, "artefact": of, **fields}


def host(name: str, **fields: Any) -> Mapping[str, Any]:
    return {"kind": "Host", "name": name, "platform": "linux/amd64", **fields}


def node(graph: Graph, name: str) -> Artefact:
    found = graph.nodes[f"artefact/{name}"]
    assert isinstance(found, Artefact)
    return found


def test_an_index_with_its_variants_and_layers(layout: Layout) -> None:
    shared = {"lib": "shared"}
    amd = layout.image(layers=(shared, {"app": "amd"}))
    arm = layout.image(architecture="arm64", variant="v8", layers=(shared, {"app": "arm"}))
    top = layout.index(
        "web", ("linux/amd64", {**amd, "annotations": {"com.example.gpu": "a"}}), ("linux/arm64/v8", arm)
    )
    found = node(made(documents(artefact("web", image="oci:images:web"))).graph, "web")
    assert (found.reference, found.digest, found.index) == ("oci:images:web", top["digest"], top["digest"])
    assert [item.platform for item in found.variants] == ["linux/amd64", "linux/arm64/v8"]
    assert found.variants[0].annotations == {"com.example.gpu": "a"}
    assert found.variants[0].runtime == {"os": "linux", "architecture": "amd64", **COMMAND}
    assert found.variants[0].layers[0] == found.variants[1].layers[0]
    assert found.origin.file == "graph.yaml"
    assert found.origin.line == 2
    graph = made().graph
    layers = [item for item in graph.nodes.values() if isinstance(item, Layer)]
    assert sorted(item.role for item in layers) == sorted(
        [Role.INDEX, *[Role.MANIFEST] * 2, *[Role.CONFIG] * 2, *[Role.LAYER] * 3]
    )
    for item in layers:
        assert item.size == (layout.root / "blobs/sha256" / item.id.partition("sha256:")[2]).stat().st_size
    assert {edge.target for edge in graph.edges()} <= graph.nodes.keys()


def test_every_node_of_a_small_graph(layout: Layout) -> None:
    layout.image("web", config={**COMMAND, "Labels": BASE_LABELS})
    graph = made(
        documents(
            artefact("web", image="oci:images:web"),
            automaton("shop", "web", replicas=2),
            automaton("other", "oci:images:web"),
            host("node-1", facts={"cpu.count": "8", "memory.bytes": "1024"}, images=["oci:images:web"]),
            host(
                "node-2", resources={"cpu": "1500m", "memory": "1Gi", "nvidia.com/gpu": 2}, blobs=["sha256:" + "e" * 64]
            ),
        )
    ).graph
    base = node(graph, "docker.io/library/debian:12@sha256:" + "d" * 64)
    assert base.digest == BASE_LABELS["org.opencontainers.image.base.digest"]
    assert not base.variants
    assert node(graph, "web").base == base.id
    shop, other = graph.nodes["automaton/shop"], graph.nodes["automaton/other"]
    assert isinstance(shop, Automaton)
    assert isinstance(other, Automaton)
    assert shop.artefact == other.artefact == "artefact/web", "the reference is that of the document"
    assert shop.address == other.address
    assert [item for item in graph.nodes if item.startswith("instance/")] == [
        "instance/other/0",
        "instance/shop/0",
        "instance/shop/1",
    ]
    assert graph.nodes["instance/shop/1"] == Instance(id="instance/shop/1", automaton="automaton/shop", ordinal=1)
    first, second = graph.nodes["host/node-1"], graph.nodes["host/node-2"]
    assert isinstance(first, HostNode)
    assert isinstance(second, HostNode)
    assert first.resources == Resources(cpu=8000, memory=1024)
    assert set(first.blobs) == set(node(graph, "web").blobs)
    assert second.resources == Resources(cpu=1500, memory=1 << 30, others={"nvidia.com/gpu": 2})
    unknown = graph.nodes["layer/sha256:" + "e" * 64]
    assert isinstance(unknown, Layer)
    assert unknown.role is Role.UNKNOWN


def test_a_base_that_has_a_document_is_that_artefact(layout: Layout) -> None:
    base = layout.image("debian")
    labels = {**BASE_LABELS, "org.opencontainers.image.base.digest": base["digest"]}
    layout.image("web", config={**COMMAND, "Labels": labels})
    graph = made(
        documents(artefact("web", image="oci:images:web"), artefact("debian", image="oci:images:debian"))
    ).graph
    assert node(graph, "web").base == "artefact/debian"


def test_another_build_of_the_base_is_another_artefact(layout: Layout) -> None:
    layout.image("debian")
    layout.image("web", config={**COMMAND, "Labels": BASE_LABELS})
    graph = made(
        documents(artefact("web", image="oci:images:web"), artefact("debian", image="oci:images:debian"))
    ).graph
    assert node(graph, "web").base == "artefact/docker.io/library/debian:12@sha256:" + "d" * 64


def test_variants_with_bases_of_their_own_have_the_base_by_its_name(layout: Layout) -> None:
    entries = []
    for number, architecture in enumerate(("amd64", "arm64")):
        labels = {**BASE_LABELS, "org.opencontainers.image.base.digest": f"sha256:{number:064}"}
        found = layout.image(architecture=architecture, config={**COMMAND, "Labels": labels})
        entries.append((f"linux/{architecture}", found))
    layout.index("web", *entries)
    assert node(made(documents(artefact("web", image="oci:images:web"))).graph, "web").base == (
        "artefact/docker.io/library/debian:12"
    )


@pytest.mark.parametrize("name", ["not a name", "a\nb", "x" * 5000])
def test_a_base_that_is_no_image_name_is_none(name: str, layout: Layout) -> None:
    layout.image("web", config={**COMMAND, "Labels": {"org.opencontainers.image.base.name": name}})
    graph = made(documents(artefact("web", image="oci:images:web"))).graph
    assert node(graph, "web").base == ""
    assert len([item for item in graph.nodes if item.startswith("artefact/")]) == 1


SPEC = """\
apiVersion: runtimeimg.dev/v1
kind: Build
spec:
  builder: {image: example.com/build:1}
  output: {image: example.com/web:1}
  runtime:
    base: {image: example.com/base:1}
    directories: [/app, {source: /x, image: example.com/tools:1}]
"""


def test_a_build_spec_says_what_an_image_was_made_from(layout: Layout) -> None:
    layout.image("web")
    layout.image("base")
    text = documents(
        artefact("web", build="web/build.yaml", image="oci:images:web"),
        artefact("base", image="oci:images:base", build="web/base.yaml"),
    )
    Path("web").mkdir()
    Path("web/build.yaml").write_text(SPEC)
    Path("web/base.yaml").write_text(
        SPEC.replace("web:1", "base:1").replace("base: {image: example.com/base:1}", "base: {image: scratch}")
    )
    graph = made(text).graph
    assert node(graph, "web").base == "artefact/base"
    assert node(graph, "web").builders == ("artefact/example.com/build:1", "artefact/example.com/tools:1")
    assert node(graph, "base").base == ""


def test_folders_pass_over_what_is_not_theirs(layout: Layout) -> None:
    layout.image("web")
    Path("deep/er").mkdir(parents=True)
    Path("deep/er/web.yml").write_text(documents(artefact("web", image="oci:../../images:web")))
    Path("deep/pod.yaml").write_text("apiVersion: v1\nkind: Pod\n")
    Path("deep/build.yaml").write_text(SPEC)
    Path("deep/.hidden.yaml").write_text("kind: [")
    Path("deep/notes.txt").write_text("kind: [")
    assert node(made().graph, "web").reference == "oci:images:web"
    with pytest.raises(SpecError, match=r"deep/pod\.yaml:2:7: kind: 'Pod' is no kind"):
        reading.read_all([Path("deep/pod.yaml")])


def test_a_folder_without_documents(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="holds no Artefact, Automaton or Host"):
        reading.read_all([tmp_path])
    with pytest.raises(NotFoundError, match="does not exist"):
        reading.read_all([tmp_path / "none"])


def placeless(item: Node) -> Node:
    """Return a node without where its document stands."""
    return replace(item, origin=Origin(), lines={}) if isinstance(item, (Automaton, Artefact)) else item


def test_many_files_are_the_same_as_one(layout: Layout) -> None:
    layout.image("web")
    texts = [documents(automaton(f"a{number:03}", "web", replicas=number % 3)) for number in range(60)]
    head = documents(artefact("web", image="oci:../images:web"))
    Path("many").mkdir()
    for number, text in enumerate([head, *texts]):
        Path(f"many/{number:03}.yaml").write_text(text)
    Path("one").mkdir()
    Path("one/all.yaml").write_text(head + "".join(texts))
    found = []
    for folder in ("many", "one"):
        graph = build(reading.read_all([Path(folder)]), Ways(options=StoreOptions(), lock={})).graph
        found.append({key: placeless(item) for key, item in graph.nodes.items()})
    assert found[0] == found[1]
    Path("many/030.yaml").write_text("kind: [")
    Path("many/040.yaml").write_text("kind: Nothing\n")
    with pytest.raises(SpecError) as caught:
        reading.read_all([Path("many")])
    assert [problem.file for problem in caught.value.problems] == ["many/030.yaml", "many/040.yaml"]


# The lock


@pytest.fixture
def locked(layout: Layout) -> Callable[..., Built]:
    """Build again and again with the lock of the time before."""
    kept: dict[str, lock.Locked] = {}

    def again(**ways: Any) -> Built:
        built = made(
            documents(artefact("web", image="oci:images:web")), Ways(options=StoreOptions(), lock=dict(kept), **ways)
        )
        kept.clear()
        kept.update(built.lock)
        return built

    layout.image("web")
    return again


def test_a_tag_that_moves_is_what_it_was(layout: Layout, locked: Callable[..., Built]) -> None:
    first = locked()
    layout.image("web", layers=({"bin/app": "newer"},))
    assert locked().graph == first.graph, "the layout still holds the old image"
    newer = locked(update=True)
    assert newer.graph != first.graph
    assert locked().graph == newer.graph


def test_a_locked_image_that_is_gone_is_an_error(layout: Layout, locked: Callable[..., Built]) -> None:
    first = locked()
    digest = node(first.graph, "web").digest
    layout.image("web", layers=({"bin/app": "newer"},))
    (layout.root / "blobs" / "sha256" / digest.partition(":")[2]).unlink()
    with pytest.raises(IntegrityError, match=f"the lock says {digest}") as caught:
        locked()
    assert caught.value.hint == "take what is there with --update"


def test_an_entry_of_another_reference_does_not_count(layout: Layout) -> None:
    layout.image("web")
    other = layout.image("db", layers=({"bin/db": "db"},))
    entry = lock.Locked(image="oci:images:web", reference="oci:images:web", digest="sha256:" + "a" * 64)
    ways = Ways(options=StoreOptions(), lock={"web": entry, "gone": entry})
    built = made(documents(artefact("web", image="oci:images:db")), ways)
    assert built.lock == {"web": lock.Locked(image="oci:images:db", reference="oci:images:db", digest=other["digest"])}


def test_the_file_of_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "graph.lock"
    assert lock.read(path) == {}
    entry = lock.Locked(image="web:1", reference="docker://docker.io/library/web:1", digest="sha256:" + "a" * 64)
    assert lock.write(path, {"b": entry, "a": entry})
    first = path.read_bytes()
    assert not lock.write(path, {"a": entry, "b": entry})
    assert path.read_bytes() == first
    assert lock.read(path) == {"a": entry, "b": entry}
    assert lock.beside(tmp_path) == path == lock.beside(tmp_path / "graph.yaml")


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"version": 1, "artefacts": {"a": {}}}', '{"version": 1, "artefacts": []}']
)
def test_a_file_that_is_no_lock(text: str, tmp_path: Path) -> None:
    path = tmp_path / "graph.lock"
    path.write_text(text)
    with pytest.raises(RuntimeimgError, match="lock") as caught:
        lock.read(path)
    assert caught.value.exit_code == 2


# Registries


@pytest.mark.registry
@pytest.mark.skopeo
def test_a_registry_is_asked_once_and_then_never(layout: Layout, tmp_path: Path) -> None:
    layout.image("web")
    name = "127.0.0.1:5000/configgraph/web:1"
    subprocess.run(
        ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout.root}:web", f"docker://{name}"], check=True
    )
    text = documents(artefact("web", image=f"docker://{name}"), automaton("shop", "web"))
    cache = Cache.open(tmp_path / "cache")
    first = made(text, Ways(options=StoreOptions(), lock={}, cache=cache))
    assert first.lock["web"].reference == f"docker://{name}"
    nobody = StoreOptions(plain_http=frozenset(), attempts=1, timeout=0.001)
    again = made(text, Ways(options=nobody, lock=first.lock, cache=cache, offline=True))
    assert again.graph == first.graph
    with pytest.raises(NotFoundError, match="which --offline does not ask"):
        made(text, Ways(options=StoreOptions(), lock=first.lock, offline=True))
    local = made(documents(artefact("web", image="oci:images:web"), automaton("shop", "web")))
    here, there = (built.graph.nodes["automaton/shop"] for built in (local, first))
    assert isinstance(here, Automaton)
    assert isinstance(there, Automaton)
    assert here.address == there.address, "where an image is does not count"


@pytest.mark.engine
@pytest.mark.skopeo
def test_an_image_of_the_engine_is_known_by_its_config(layout: Layout) -> None:
    layout.image("web")
    name = "configgraph-engine-test:1"
    subprocess.run(["skopeo", "copy", "-q", f"oci:{layout.root}:web", f"docker-daemon:{name}"], check=True)
    ways = Ways(options=StoreOptions(environ=dict(os.environ)), lock={})
    try:
        built = made(documents(artefact("web", image=name)), ways)
        found = node(built.graph, "web")
        (variant,) = found.variants
        assert found.reference == f"docker-daemon:{name}", "a bare name says where it was found"
        assert found.digest == variant.manifest == built.lock["web"].digest
        diff_ids = set(variant.layers)
        assert {
            item.size for item in built.graph.nodes.values() if isinstance(item, Layer) and item.role is Role.LAYER
        } == {None}
        assert len(diff_ids) == 1
        again = made(documents(artefact("web", image=name)), replace(ways, lock=built.lock, offline=True))
        assert again.graph == built.graph
    finally:
        subprocess.run(["docker", "rmi", name], check=True, stdout=subprocess.DEVNULL)
