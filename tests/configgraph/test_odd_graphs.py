"""Saved graphs in which something is of another kind than it should be: whatever is asked, an error of ours at most."""

import copy
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtimeimg.configgraph import saved
from runtimeimg.configgraph.model import Artefact, Automaton, HostNode, Node, Resources
from runtimeimg.configgraph.placement import place
from tests.configgraph.graphs import graph, shop
from tests.indexes.command import run

GIVEN = {
    "process": {
        "args": ["a"],
        "env": {"A": "b"},
        "user": {"name": "x"},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}],
        "capabilities": {"bounding": ["CAP_KILL"]},
    },
    "ports": [{"port": 80, "protocol": "tcp", "hostPort": 8080, "listeningAddr": "127.0.0.1"}],
    "resources": {"cpu": "1", "memory": "1Gi", "gpu": "1"},
    "placement": {"hosts": ["one", "two"], "require": ["zone=a"], "prefer": ["zone=a:5"], "spread": "zone"},
    "mounts": [{"destination": "/x", "type": "tmpfs", "source": "tmpfs", "options": []}],
    "state": [{"name": "a", "path": "/d", "size": "1Gi"}],
    "hooks": {"poststop": [{"path": "/a"}]},
}
RUNTIME = {
    "Env": ["A=1"],
    "Entrypoint": ["/a"],
    "Labels": {"a": "b"},
    "ExposedPorts": {"80/tcp": {}},
    "Volumes": {"/v": {}},
    "User": "1",
    "WorkingDir": "/w",
}
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 10**30, "", "x" * 5000, "\u202e\n", "sha256:zz", [], {}, [[]], [None], {"a": None},
    {"": ""}, [1], ["x", "x"], "linux/", "1e9999", "99999999999999999999Gi", "=", "::", "\ud800",
)  # fmt: skip
QUESTIONS = (
    ("params", "shop"),
    ("closure", "shop", "--have", "one", "--platform", "linux/amd64"),
    ("place",),
    ("place", "--partial", "--format", "json"),
    ("impact", "web"),
    ("impact", "openssl", "--offline"),
    ("show",),
    ("show", "one"),
    ("show", "--format", "html"),
    ("show", "--format", "dot"),
    ("export", "shop", "--to", "pod"),
)


def rich(node: Node) -> Node:
    match node:
        case Automaton():
            return replace(node, given=GIVEN)
        case Artefact():
            annotated = {"dev.runtimeimg.cpu.level": "v2"}
            variants = tuple(replace(item, runtime=RUNTIME, annotations=annotated) for item in node.variants)
            return replace(node, variants=variants)
        case HostNode():
            profile = {**node.profile, "facts": {"zone": "a", "cpu.level": "v3"}, "labels": {"x": "y"}}
            resources = Resources(cpu=4000, memory=1 << 33, others={"gpu": 2})
            return replace(node, profile=profile, resources=resources)
    return node


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values of nodes, those that say how nodes hang together aside."""
    if len(path) > 1:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if len(path) != 1 or key not in {"id", "out", "into"}:
            yield from places(item, (*path, key))


@pytest.mark.parametrize("seed", range(40))
def test_every_question_has_an_answer_or_an_error_of_ours(seed: int, tmp_path: Path) -> None:
    nodes = [rich(node) for node in shop().nodes.values()]
    whole = json.loads(b"".join(saved.dump(place(graph(nodes)).graph)))
    path, before = tmp_path / "graph.json", tmp_path / "before.json"
    before.write_text(json.dumps(whole))
    chance = random.Random(seed)
    for _ in range(3):
        document = copy.deepcopy(whole)
        *way, last = chance.choice(list(places(document["nodes"])))
        at = document["nodes"]
        for key in way:
            at = at[key]
        if chance.random() < 0.15:
            del at[last]
        else:
            at[last] = chance.choice(ODD)
        path.write_text(json.dumps(document))
        told = [run("graph", *question, "-g", path) for question in QUESTIONS]
        told.append(run("graph", "diff", before, path))
        for outcome in told:
            assert outcome.code in {0, 1, 2, 3}, (way, last, outcome.err)
            assert "internal error" not in outcome.err, (way, last)
