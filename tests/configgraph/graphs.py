"""Small graphs made by hand, and arbitrary ones."""

import hashlib
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

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
    Variant,
    layer_id,
)

SIZE = 1000
"""Bytes of every layer."""


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def graph(*nodes: Node | Iterable[Node]) -> Graph:
    """A graph of these nodes, and of a layer for each blob that has none."""
    flat = [one for item in nodes for one in ([item] if not isinstance(item, Iterable) else item)]
    found: dict[str, Node] = {node.id: node for node in flat}
    for node in flat:
        for edge in node.edges():
            if edge.target.startswith("layer/"):
                found.setdefault(edge.target, Layer(id=edge.target, role=Role.LAYER, size=SIZE))
    return Graph({key: found[key] for key in sorted(found)})


def variant(name: str, layers: Iterable[str], platform: str = "linux/amd64", **fields: Any) -> Variant:
    return Variant(
        manifest=digest(f"manifest {name} {platform}"),
        platform=platform,
        config=digest(f"config {name} {platform}"),
        layers=tuple(digest(f"layer {layer}") for layer in layers),
        **fields,
    )


def artefact(name: str, *layers: str, base: str = "", platforms: Iterable[str] = ("linux/amd64",)) -> Artefact:
    variants = tuple(variant(name, layers, platform) for platform in platforms)
    index = digest(f"index {name}") if len(variants) > 1 else ""
    return Artefact(
        id=f"artefact/{name}",
        reference=f"docker://registry.example.com/{name}:1",
        digest=index or variants[0].manifest,
        origin=Origin(f"{name}.yaml", 1),
        index=index,
        variants=variants,
        base=f"artefact/{base}" if base else "",
    )


def automaton(name: str, runs: str, *, replicas: int = 1, **given: Any) -> Automaton:
    return Automaton(
        id=f"automaton/{name}",
        artefact=f"artefact/{runs}",
        address=digest(f"address {name} {runs} {sorted(given.items())}"),
        replicas=replicas,
        given=given,
        lines=dict.fromkeys(given, 7),
        origin=Origin("automatons.yaml", 5),
    )


def instance(of: str, ordinal: int = 0, host: str = "", runs: str = "") -> Instance:
    return Instance(
        id=f"instance/{of}/{ordinal}",
        automaton=f"automaton/{of}",
        ordinal=ordinal,
        host=f"host/{host}" if host else "",
        variant=runs,
        why="it was said so" if host else "",
    )


def host(
    name: str, *blobs: str, platform: str = "linux/amd64", resources: Resources | None = None, **facts: str
) -> HostNode:
    return HostNode(
        id=f"host/{name}",
        profile={"apiVersion": "runtimeimg.dev/v1", "kind": "Host", "name": name, "platform": platform, "facts": facts},
        resources=resources or Resources(),
        blobs=tuple(blobs),
        origin=Origin(f"{name}.yaml", 1),
    )


def shop() -> Graph:
    """A base, two artefacts on it, three automatons, two hosts of which one has the base."""
    base, web, api = (
        artefact("base", "os"),
        artefact("web", "os", "web", base="base"),
        artefact("api", "os", "api", base="base"),
    )
    return graph(
        base,
        web,
        api,
        automaton("shop", "web", replicas=2, process={"args": ["serve"]}),
        automaton("admin", "web"),
        automaton("orders", "api"),
        instance("shop", 0, "one", web.variants[0].manifest),
        instance("shop", 1, "two", web.variants[0].manifest),
        instance("admin", 0, "one", web.variants[0].manifest),
        instance("orders"),
        host("one", *base.blobs),
        host("two"),
    )


NAMES = st.text(min_size=1, max_size=12)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_DIGESTS = st.integers(0, 12).map(lambda number: digest(f"layer {number}"))


@st.composite
def arbitrary(draw: st.DrawFn) -> Graph:
    """Any graph: names of all characters, edges wherever they may be."""
    artefacts = [
        Artefact(
            id=f"artefact/{name}",
            reference=draw(st.text(max_size=20)),
            digest=draw(_DIGESTS),
            origin=draw(st.builds(Origin, st.text(min_size=1, max_size=8), st.integers(0, 99))),
            index=draw(st.just("") | _DIGESTS),
            variants=tuple(
                Variant(
                    manifest=draw(_DIGESTS),
                    platform=draw(st.text(max_size=12)),
                    config=draw(_DIGESTS),
                    layers=tuple(draw(st.lists(_DIGESTS, max_size=3))),
                    runtime=draw(st.dictionaries(st.text(max_size=8), _JSON, max_size=2)),
                    annotations=draw(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=2)),
                )
                for _ in range(draw(st.integers(0, 2)))
            ),
            paths=tuple(draw(st.lists(st.text(min_size=1, max_size=12), max_size=2))),
            given=draw(st.dictionaries(st.text(max_size=8), _JSON, max_size=2)),
            lines=draw(st.dictionaries(st.text(max_size=8), st.integers(0, 9), max_size=2)),
        )
        for name in draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    ]
    ids = st.sampled_from([item.id for item in artefacts])
    nodes: list[Node] = list(artefacts)
    hosts = [
        HostNode(
            id=f"host/{name}",
            profile=draw(st.dictionaries(st.text(max_size=8), _JSON, max_size=3)),
            resources=draw(
                st.builds(
                    Resources,
                    cpu=st.none() | st.integers(0, 2**40),
                    memory=st.none() | st.integers(0, 2**40),
                    others=st.dictionaries(st.text(max_size=8), st.integers(0, 9), max_size=2),
                )
            ),
            blobs=tuple(draw(st.lists(_DIGESTS, max_size=3, unique=True))),
        )
        for name in draw(st.lists(NAMES, max_size=3, unique=True))
    ]
    nodes += hosts
    for name in draw(st.lists(NAMES, max_size=4, unique=True)):
        given = draw(st.dictionaries(st.text(max_size=8), _JSON, max_size=3))
        replicas = draw(st.integers(0, 2))
        one = Automaton(
            id=f"automaton/{name}", artefact=draw(ids), address=draw(_DIGESTS), replicas=replicas, given=given
        )
        nodes.append(one)
        nodes += [
            Instance(
                id=f"instance/{name}/{number}",
                automaton=one.id,
                ordinal=number,
                host=draw(st.sampled_from(["", *(item.id for item in hosts)])),
                why=draw(st.text(max_size=8)),
            )
            for number in range(replicas)
        ]
    whole = graph(nodes)
    references = {layer_id(f"/store/{number}"): number for number in range(draw(st.integers(0, 3)))}
    paths = [
        Layer(id=node_id, role=Role.PATH, references=tuple(key for key, other in references.items() if other < number))
        for node_id, number in references.items()
    ]
    return graph(whole.nodes.values(), paths)
