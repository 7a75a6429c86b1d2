"""Placement: never over what a host has, the same every time, nothing moved that may stay, and told why not."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtimeimg.configgraph import saved
from runtimeimg.configgraph.model import Artefact, Automaton, Graph, HostNode, Instance, Resources, name_of
from runtimeimg.configgraph.placement import Placed, place
from tests.configgraph.graphs import artefact, automaton, graph, host, instance
from tests.indexes.command import done, run

PLATFORMS = ("linux/amd64", "linux/arm64", "linux/riscv64")
ZONES = ("a", "b", "c")


@st.composite
def fleets(draw: st.DrawFn) -> Graph:
    """Graphs in which not everything can be placed, and some hosts do not do at all."""
    artefacts = [
        artefact(name, "os", name, platforms=draw(st.lists(st.sampled_from(PLATFORMS), min_size=1, unique=True)))
        for name in "xyz"
    ]
    names = [f"h{number}" for number in range(draw(st.integers(0, 6)))]
    amounts = st.none() | st.integers(0, 4)
    hosts = [
        host(
            name,
            *draw(st.sampled_from([(), artefacts[0].blobs])),
            platform=draw(st.sampled_from(PLATFORMS)),
            resources=Resources(
                cpu=draw(st.none() | st.integers(0, 4000)),
                memory=draw(amounts),
                others=draw(st.dictionaries(st.just("gpu"), st.integers(0, 2))),
            ),
            **draw(st.dictionaries(st.just("zone"), st.sampled_from(ZONES))),
        )
        for name in names
    ]
    nodes: list[Automaton | Instance] = []
    for number in range(draw(st.integers(0, 5))):
        asked = draw(st.dictionaries(st.sampled_from(["cpu", "memory", "gpu"]), st.integers(0, 2), max_size=3))
        placement = draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "hosts": st.lists(st.sampled_from(names or ["h0"]), min_size=1, max_size=3),
                    "require": st.sampled_from([["zone=a"], ["zone"]]),
                    "prefer": st.sampled_from([["zone=b:3"], ["zone=a", "zone=b:-2"]]),
                    "spread": st.sampled_from(["host", "zone"]),
                    "platform": st.sampled_from(PLATFORMS),
                },
            )
        )
        ports = [{"port": 80, "protocol": "tcp", "hostPort": draw(st.integers(80, 81))}] if draw(st.booleans()) else []
        given_ = {
            "resources": {key: str(value) for key, value in asked.items()},
            "placement": placement,
            "ports": ports,
        }
        count = draw(st.integers(0, 4))
        nodes.append(automaton(f"m{number}", draw(st.sampled_from("xyz")), replicas=count, **given_))
        nodes += [instance(f"m{number}", ordinal) for ordinal in range(count)]
    return graph(artefacts, hosts, nodes)


def amounts(node: Automaton) -> dict[str, int]:
    asked = node.given.get("resources", {})
    return {key: int(value) * (1000 if key == "cpu" else 1) for key, value in asked.items()}


def does(found: Graph, node: Automaton, where: HostNode) -> bool:
    """Whether a host does for an automaton, whatever else is there; written apart from what is tested."""
    asked, facts = node.given.get("placement", {}), where.profile["facts"]
    artefact_ = found.nodes[node.artefact]
    assert isinstance(artefact_, Artefact)
    return (
        name_of(where.id) in asked.get("hosts", [name_of(where.id)])
        and (asked.get("require", [""])[0] in {"", "zone"} or facts.get("zone") == "a")
        and ("require" not in asked or "zone" in facts)
        and (asked.get("spread") != "zone" or "zone" in facts)
        and asked.get("platform", where.profile["platform"]) == where.profile["platform"]
        and where.profile["platform"] in {variant.platform for variant in artefact_.variants}
    )


def room(found: Graph, instances: list[Instance], where: HostNode, more: Automaton | None = None) -> bool:
    """Whether all that is on a host has room there, and one more."""
    there = [found.nodes[item.automaton] for item in instances if item.host == where.id] + ([more] if more else [])
    limits = {"cpu": where.resources.cpu, "memory": where.resources.memory, **where.resources.others}
    ports = [port["hostPort"] for node in there for port in node.given.get("ports", ())]
    for name in ("cpu", "memory", "gpu"):
        total = sum(amounts(node).get(name, 0) for node in there)
        limit = limits.get(name, 0)
        if limit is not None and total > limit and any(amounts(node).get(name, 0) for node in there):
            return False
    return len(set(ports)) == len(ports)


def hosts_of(found: Graph) -> list[HostNode]:
    return [node for node in found.nodes.values() if isinstance(node, HostNode)]


@settings(max_examples=max(300, settings.default.max_examples))
@given(fleets(), st.randoms(use_true_random=False))
def test_what_a_placement_never_does(found: Graph, chance: random.Random) -> None:
    placed = place(found)
    on_hosts = [item for item in placed.instances if item.host]
    for where in hosts_of(found):
        assert room(found, on_hosts, where)
    for item in on_hosts:
        node, where = found.nodes[item.automaton], found.nodes[item.host]
        assert does(found, node, where)
        variants = {variant.manifest: variant.platform for variant in found.nodes[node.artefact].variants}
        assert variants[item.variant] == where.profile["platform"]
    refused = {name for item in placed.refused for name in item.instances}
    assert refused == {item.id for item in placed.instances if not item.host}
    for item in placed.instances:
        if not item.host:  # there really is no host with room
            node = found.nodes[item.automaton]
            assert not any(does(found, node, where) and room(found, on_hosts, where, node) for where in hosts_of(found))
    shuffled = list(found.nodes.items())
    chance.shuffle(shuffled)
    assert place(Graph(dict(shuffled))).instances == placed.instances


@settings(max_examples=max(200, settings.default.max_examples))
@given(fleets(), fleets())
def test_nothing_moves_that_may_stay(before: Graph, after: Graph) -> None:
    old = place(before)
    assert place(before, old.graph).instances == tuple(
        replace(item, why="stayed where it was") if item.host else item for item in old.instances
    )
    was = {item.id: item.host for item in old.instances if item.host in after.nodes}
    placed = place(after, old.graph)
    stayed: list[Instance] = []
    for item in placed.instances:
        home = after.nodes.get(was.get(item.id, ""))
        if home is None:
            continue
        node = after.nodes[item.automaton]
        if item.why == "stayed where it was":
            assert item.host == home.id
            stayed.append(item)
        else:  # it would not do, or those that stayed before it left no room
            assert not does(after, node, home) or not room(after, stayed, home, node)


def test_a_spread_is_as_even_as_it_can_be() -> None:
    zones = [host(f"h{number}", zone="abc"[number % 3]) for number in range(9)]
    nodes = [instance("shop", number) for number in range(12)]
    for spread, parts in (("zone", 3), ("host", 9)):
        found = place(
            graph(
                artefact("web", "os"), automaton("shop", "web", replicas=12, placement={"spread": spread}), nodes, zones
            )
        )
        of = {node.id: node.id if spread == "host" else node.profile["facts"]["zone"] for node in zones}
        counts = [sum(of[item.host] == part for item in found.instances) for part in sorted(set(of.values()))]
        assert len(counts) == parts
        assert max(counts) - min(counts) <= 1


def test_what_is_liked_comes_before_what_is_to_be_moved_and_that_before_what_is_busy() -> None:
    web = artefact("web", "os", "web")
    near, far = host("near", *web.blobs), host("far")
    assert only(graph(web, automaton("shop", "web"), instance("shop"), near, far)) == "host/near"
    liking = automaton("shop", "web", placement={"prefer": ["zone=b"]})
    far = host("far", zone="b")
    assert only(graph(web, liking, instance("shop"), near, far)) == "host/far"
    avoiding = automaton("shop", "web", placement={"prefer": ["zone=b:-1"]})
    assert only(graph(web, avoiding, instance("shop"), host("near", zone="b"), host("zzz"))) == "host/zzz"
    two = [automaton("a", "web", resources={"cpu": "1"}), automaton("b", "web", resources={"cpu": "1"})]
    four = Resources(cpu=4000)
    spread = place(
        graph(web, two, instance("a"), instance("b"), host("one", resources=four), host("two", resources=four))
    )
    assert {item.host for item in spread.instances} == {"host/one", "host/two"}


def only(found: Graph) -> str:
    return place(found).instances[0].host


def test_the_variant_is_that_of_the_host() -> None:
    levels = replace(
        artefact("web", "os", platforms=("linux/amd64", "linux/amd64/v3", "linux/arm64")),
    )
    for platform, wanted in (("linux/amd64/v4", 1), ("linux/amd64/v2", 0), ("linux/arm64/v8.2", 2)):
        found = place(graph(levels, automaton("shop", "web"), instance("shop"), host("one", platform=platform)))
        assert found.instances[0].variant == levels.variants[wanted].manifest
    cards = replace(
        levels,
        variants=tuple(
            replace(item, platform="linux/amd64", annotations={"dev.runtimeimg.gpu.vendor": vendor} if vendor else {})
            for item, vendor in zip(levels.variants, ("", "nvidia", "amd"), strict=True)
        ),
    )
    for facts, wanted in (({"gpu.vendor": "nvidia"}, 1), ({"gpu.vendor": "amd"}, 2), ({}, 0)):
        found = place(graph(cards, automaton("shop", "web"), instance("shop"), host("one", **facts)))
        assert found.instances[0].variant == cards.variants[wanted].manifest


def test_addresses_of_a_host_share_a_port_unless_one_takes_all() -> None:
    def ports(address: str) -> list[dict[str, object]]:
        return [{"port": 80, "hostPort": 80, "protocol": "tcp", "listeningAddr": address}]

    def both(one: str, two: str) -> int:
        nodes = [automaton("a", "web", ports=ports(one)), automaton("b", "web", ports=ports(two))]
        found = place(graph(artefact("web", "os"), nodes, instance("a"), instance("b"), host("h")))
        return len(found.refused)

    assert both("127.0.0.1", "10.0.0.1") == 0
    assert both("127.0.0.1", "127.0.0.1") == 1
    assert both("127.0.0.1", "0.0.0.0") == 1


def refused(**given_: object) -> Placed:
    nodes = automaton("shop", "web", replicas=3, **given_)
    instances = [instance("shop", number) for number in range(3)]
    hosts = [
        *(host(f"arm{number}", platform="linux/arm64") for number in range(5)),
        host("small", resources=Resources(cpu=100)),
        host("plain", zone="b"),
    ]
    return place(graph(artefact("web", "os"), nodes, instances, hosts))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"resources": {"cpu": "1"}, "placement": {"hosts": ["small"]}},
            "small: cpu: 1000m is asked for, at most 100m is left",
        ),
        ({"placement": {"require": ["zone=a"]}}, "plain: zone is b, and 'placement.require' wants zone=a"),
        (
            {"placement": {"require": ["zone=a"]}},
            "6 hosts (arm0, arm1, ...): there is no zone, and 'placement.require'",
        ),
        ({"placement": {"hosts": ["arm0"]}}, "arm0: no variant for linux/arm64: 1 (linux/amd64, "),
        ({"placement": {"spread": "rack"}}, "7 hosts (arm0, arm1, ...): no fact or label 'rack' to spread over"),
        (
            {"placement": {"platform": "linux/arm64"}},
            "5 hosts (arm0, arm1, ...): no variant for linux/arm64: 1 (linux/amd64, ",
        ),
        (
            {"placement": {"platform": "linux/arm64"}},
            "plain, small: it is linux/amd64, and 'placement.platform' wants linux/arm64",
        ),
        ({"resources": {"example.com/fpga": "1"}}, "plain, small: no example.com/fpga"),
        ({"ports": [{"port": 1, "hostPort": 53, "protocol": "udp"}]}, "plain, small: port 53/udp is taken"),
    ],
)
def test_every_host_says_why_it_does_not_do(asked: dict[str, object], said: str) -> None:
    placed = refused(**asked)
    lines = placed.refused[0].lines()
    assert any(line.strip().startswith(said) for line in lines), lines
    assert lines[0].startswith("automatons.yaml:7: instance 'shop/") or "placement" not in asked
    assert "'--partial' places the others" in lines[-1]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    nodes = [
        automaton("shop", "web", replicas=2, placement={"hosts": ["one"]}),
        automaton("big", "web", resources={"cpu": "64"}),
    ]
    instances = [instance("shop", 0), instance("shop", 1), instance("big")]
    hosts = [host("one", resources=Resources(cpu=4000)), host("two", resources=Resources(cpu=4000))]
    saved.write(graph(artefact("web", "os"), nodes, instances, hosts), tmp_path / "graph.json")
    return tmp_path


def test_the_command_writes_nothing_unless_all_is_placed(files: Path) -> None:
    outcome = run("graph", "place", "-g", files / "graph.json", "-o", files / "placed.json")
    assert outcome.code == 1
    assert outcome.out == ""
    assert "automatons.yaml:5: instance 'big/0': no host does" in outcome.err
    assert "one, two: cpu: 64000m is asked for, at most 4000m is left" in outcome.err
    assert not (files / "placed.json").exists()


def test_partial_places_the_others(files: Path) -> None:
    outcome = run("graph", "place", "-g", files / "graph.json", "-o", files / "placed.json", "--partial")
    assert outcome.code == 0
    assert "2 of 3 instances on 1 hosts" in outcome.out
    assert "instance 'big/0': no host does" in outcome.err
    placed = saved.load(files / "placed.json")
    assert [node.host for node in placed.nodes.values() if isinstance(node, Instance)] == ["", "host/one", "host/one"]
    view = saved.open(files / "placed.json")
    assert view.into("host/one")["placed-on"] == ("instance/shop/0", "instance/shop/1")
    kept = ("--keep", files / "placed.json", "--partial", "--format", "json")
    assert json.loads(done("graph", "place", "-g", files / "graph.json", *kept))["stayed"] == 2
