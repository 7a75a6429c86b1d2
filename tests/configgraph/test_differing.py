"""Differences: after a rebuilt base exactly the automatons that it touches, and every change with its field."""

import json
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from runtimeimg.configgraph import saved
from runtimeimg.configgraph.address import Addresses
from runtimeimg.configgraph.differing import Difference, difference
from runtimeimg.configgraph.model import Artefact, Automaton, Graph, Instance, Resources, layer_id
from runtimeimg.configgraph.placement import place
from tests.configgraph.graphs import SIZE, artefact, automaton, digest, graph, host, instance, shop
from tests.configgraph.layouts import Layout
from tests.indexes.command import done


@dataclass(frozen=True)
class Image:
    """An image as this test has it: what it is built on, and which build of its own layer it is."""

    name: str
    on: str
    build: int


def made(images: dict[str, Image]) -> dict[str, Artefact]:
    """The artefacts of images: each has the layers of what it is built on, and its own above them."""

    def layers(name: str) -> list[str]:
        image = images[name]
        return [*(layers(image.on) if image.on else []), f"{name} {image.build}"]

    found = {}
    for name, image in images.items():
        below = layers(name)
        one = artefact(name, *below, base=image.on)
        manifest = digest(f"manifest of {below}")
        variant = replace(one.variants[0], manifest=manifest, config=digest(f"config of {below}"))
        found[name] = replace(one, variants=(variant,), digest=manifest)
    return found


def whole(images: dict[str, Image], given: dict[str, tuple[str, dict[str, Any]]]) -> Graph:
    """The graph of images and automatons, with their addresses."""
    artefacts, addresses = made(images), Addresses()
    automatons = [
        replace(automaton(name, runs, **set_), address=addresses.of(artefacts[runs], set_))
        for name, (runs, set_) in given.items()
    ]
    return graph(artefacts.values(), automatons, [instance(name) for name in given], host("h"))


def generated(chance: random.Random) -> tuple[dict[str, Image], dict[str, tuple[str, dict[str, Any]]]]:
    images: dict[str, Image] = {}
    for number in range(chance.randint(2, 12)):
        on = chance.choice(["", *images]) if chance.random() < 0.8 else ""
        images[f"i{number}"] = Image(f"i{number}", on, 0)
    given = {}
    for number in range(chance.randint(0, 20)):
        set_: dict[str, Any] = {"process": {"args": ["/bin/run"], "env": {"N": str(chance.randint(0, 2))}}}
        if chance.random() < 0.3:
            set_["resources"] = {"cpu": "1"}
        given[f"m{number}"] = (chance.choice(list(images)), set_)
    return images, given


def touched(images: dict[str, Image], given: dict[str, tuple[str, dict[str, Any]]], rebuilt: str) -> set[str]:
    """By brute force: each automaton, walking down from what it runs."""
    found = set()
    for name, (runs, _) in given.items():
        at = runs
        while at:
            if at == rebuilt:
                found.add(f"automaton/{name}")
            at = images[at].on
    return found


def built(images: dict[str, Image], given: dict[str, tuple[str, dict[str, Any]]], layout: Layout) -> Graph:
    """The graph of documents about images that lie in a layout."""

    def layers(name: str) -> list[dict[str, str]]:
        image = images[name]
        return [*(layers(image.on) if image.on else []), {f"opt/{name}": str(image.build)}]

    for name in images:
        layout.image(name, layers=layers(name))
    head = {"apiVersion": "runtimeimg.dev/v1"}
    documents = [
        *({**head, "kind": "Artefact", "name": name, "image": f"oci:{layout.root}:{name}"} for name in images),
        *({**head, "kind": "Automaton", "name": name, "artefact": on, **rest} for name, (on, rest) in given.items()),
    ]
    written = layout.root.parent / "all.yaml"
    written.write_text("---\n".join(f"{json.dumps(document)}\n" for document in documents))
    done("graph", "build", written, "--update", "-o", written.with_name("graph.json"))
    return saved.load(written.with_name("graph.json"))


def readdressed(found: Difference) -> set[str]:
    """Return the automatons that do not behave as before."""
    return {item.id for item in found.automatons if item.address is not None}


def test_a_rebuilt_base_touches_what_is_built_on_it_and_nothing_else(tmp_path: Path) -> None:
    none = 0
    for seed in range(200):
        chance = random.Random(seed)
        images, given = generated(chance)
        rebuilt = chance.choice(list(images))
        after = {**images, rebuilt: replace(images[rebuilt], build=1)}
        layout = Layout(tmp_path / str(seed) / "images")
        found = difference(built(images, given, layout), built(after, given, layout))
        expected = touched(images, given, rebuilt)
        assert readdressed(found) == expected
        assert {item.id for item in found.automatons} == expected
        assert all([change.path for change in item.changes] == ["artefact.digest"] for item in found.automatons)
        none += not expected
    assert none < 100


def test_a_changed_parameter_is_named_and_so_is_what_is_no_part_of_the_address() -> None:
    chance = random.Random(5)
    images, given = generated(chance)
    after = {name: (runs, json.loads(json.dumps(set_))) for name, (runs, set_) in given.items()}
    after["m0"][1]["process"]["env"] = {"N": "9", "M": "1"}
    after["m1"][1]["resources"] = {"cpu": "7"}
    del after["m2"]
    after["new"] = after["m0"]
    old = whole(images, given)
    found = difference(old, whole(images, after))
    assert readdressed(found) == {"automaton/m0"}
    changes = {item.id: {change.path: (change.old, change.new) for change in item.changes} for item in found.automatons}
    assert changes["automaton/m0"]["process.env.M"] == (None, "1")
    assert changes["automaton/m0"]["process.env.N"][1] == "9"
    assert changes["automaton/m1"]["resources.cpu" if "resources" in given["m1"][1] else "resources"][1] in (
        "7",
        {"cpu": "7"},
    )
    assert found.added == ("automaton/new", "instance/new/0")
    assert found.removed == ("automaton/m2", "instance/m2/0")
    nothing = difference(old, old)
    assert nothing == Difference(
        added=(), removed=(), artefacts=(), automatons=(), hosts=(), moves=(), transfers=nothing.transfers
    )


def test_where_a_document_stands_makes_no_difference() -> None:
    one = automaton("shop", "web")
    moved = replace(one, origin=replace(one.origin, line=99), lines={"process": 100})
    found = difference(graph(artefact("web", "os"), one), graph(artefact("web", "os"), moved))
    assert not found.automatons


def test_what_moves_to_a_host_is_what_it_lacks() -> None:
    old = shop()
    web, api, base = (old.nodes[f"artefact/{name}"] for name in ("web", "api", "base"))
    assert isinstance(web, Artefact)
    assert isinstance(api, Artefact)
    new = Graph({**old.nodes, "instance/orders/0": instance("orders", 0, "one", api.variants[0].manifest)})
    found = difference(old, new)
    assert [(item.instance, item.old, item.new) for item in found.moves] == [("instance/orders/0", "", "host/one")]
    (transfer,) = found.transfers
    assert transfer.host == "host/one"
    assert {blob.id for blob in transfer.blobs} == {layer_id(name) for name in set(api.blobs) - set(base.blobs)}
    assert (transfer.amount.count, transfer.amount.size) == (3, 3 * SIZE)
    # Of what runs on a host already the blobs are there, whether or not its document says so.
    assert not difference(new, new).transfers


def test_a_host_with_other_resources_and_a_placement_that_follows(tmp_path: Path) -> None:
    web = artefact("web", "os")
    nodes = [automaton(name, "web", resources={"cpu": "1"}) for name in ("a", "b")]
    instances = [instance(name) for name in ("a", "b")]

    def on(*sizes: int) -> Graph:
        hosts = [host(f"h{number}", resources=Resources(cpu=size), cpus=str(size)) for number, size in enumerate(sizes)]
        return graph(web, nodes, instances, hosts)

    before = place(on(2000, 1000)).graph
    after = place(on(500, 2000), before).graph
    saved.write(before, tmp_path / "old.json")
    saved.write(after, tmp_path / "new.json")
    told = json.loads(done("graph", "diff", tmp_path / "old.json", tmp_path / "new.json", "--format", "json"))
    assert told["hosts"][0] == {"id": "host/h0", "changes": [{"path": "facts.cpus", "old": "2000", "new": "500"}]}
    moved = [
        item for item in after.nodes.values() if isinstance(item, Instance) and item.why.startswith("moved from h0")
    ]
    assert [item["id"] for item in told["instances"]] == [item.id for item in moved]
    assert told["instances"][0]["host"] == {"old": "host/h0", "new": "host/h1"}
    table = done("graph", "diff", tmp_path / "old.json", tmp_path / "new.json")
    assert f"  {moved[0].id}: h0 -> h1" in table
    assert done("graph", "diff", tmp_path / "new.json", tmp_path / "new.json") == "nothing differs"


@pytest.mark.parametrize("rebuilt", ["os", "library"])
def test_documents_built_again_after_a_base_was_rebuilt(tmp_path: Path, rebuilt: str) -> None:
    layout = Layout(tmp_path / "images")
    files = {"os": {"etc/os": "1"}, "library": {"lib/a": "1"}, "app": {"bin/app": "1"}, "tool": {"bin/tool": "1"}}
    chains = {"os": ["os"], "library": ["os", "library"], "app": ["os", "library", "app"], "tool": ["os", "tool"]}
    text = "".join(
        f"---\napiVersion: runtimeimg.dev/v1\nkind: Artefact\nname: {name}\nimage: oci:images:{name}\n---\n"
        f"apiVersion: runtimeimg.dev/v1\nkind: Automaton\nname: run-{name}\nartefact: {name}\n"
        for name in chains
    )
    (tmp_path / "all.yaml").write_text(text)
    for turn in ("old", "new"):
        if turn == "new":
            files[rebuilt] = {**files[rebuilt], "new": "2"}
        for name, chain in chains.items():
            layout.image(name, layers=[files[item] for item in chain])
        done("graph", "build", tmp_path / "all.yaml", "--update", "-o", tmp_path / f"{turn}.json")
    told = json.loads(done("graph", "diff", tmp_path / "old.json", tmp_path / "new.json", "--format", "json"))
    expected = {f"automaton/run-{name}" for name, chain in chains.items() if rebuilt in chain}
    assert {item["id"] for item in told["automatons"] if "address" in item} == expected
    assert {change["path"] for item in told["automatons"] for change in item["changes"]} == {"artefact.digest"}
    assert {item["id"] for item in told["artefacts"]} == {
        f"artefact/{item.removeprefix('automaton/run-')}" for item in expected
    }
    assert isinstance(saved.load(tmp_path / "new.json").nodes["automaton/run-os"], Automaton)
