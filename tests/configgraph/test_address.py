"""Addresses: the same for what behaves the same however it is written, another for whatever a process can tell."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as some

from runtimeimg.configgraph import combining, facts, grounds, reading
from runtimeimg.configgraph.address import Addresses
from runtimeimg.configgraph.build import build
from runtimeimg.configgraph.model import Artefact, Automaton
from runtimeimg.configgraph.resolve import Ways
from runtimeimg.oci import Location
from runtimeimg.stores import StoreOptions, open_image
from tests.configgraph.layouts import COMMAND, Layout

HEAD = {"apiVersion": "runtimeimg.dev/v1", "kind": "Automaton", "name": "shop", "artefact": "web"}
WHOLE: Mapping[str, Any] = {
    "process": {
        "args": ["/bin/app", "-v"],
        "env": {"B": "2", "A": "1"},
        "cwd": "/app",
        "user": "1000:1000",
        "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}, {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}],
        "capabilities": ["CAP_KILL", "CAP_CHOWN"],
        "noNewPrivileges": False,
    },
    "root": {"readonly": True},
    "mounts": [{"destination": "/b"}, {"destination": "/a", "source": "/srv", "options": ["ro"]}],
    "state": [{"name": "one", "path": "/c"}, {"name": "two", "path": "/c/d"}],
    "hooks": {"poststop": [{"path": "/bin/tidy"}]},
    "hostname": "shop",
    "ports": [53, "53/udp"],
    "debug": True,
}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    layout = Layout(tmp_path_factory.mktemp("layout"))
    amd, arm = (
        layout.image(),
        layout.image(architecture="arm64", config={**COMMAND, "User": "app", "Volumes": {"/v": {}}}),
    )
    layout.index("web", ("linux/amd64", amd), ("linux/arm64", arm))
    reference = f"oci:{layout.root}:web"
    found = facts.of(open_image(Location.parse(reference), StoreOptions()), reference)
    return Artefact(
        id="artefact/web", reference=reference, digest=found.digest, index=found.index, variants=found.variants
    )


def written(document: Mapping[str, Any]) -> dict[str, Any]:
    (found,) = reading.load(yaml.safe_dump({**HEAD, **document}, sort_keys=False).encode())
    return {key: value for key, value in found.given.items() if key != "artefact"}


def address(artefact: Artefact, document: Mapping[str, Any]) -> str:
    return Addresses().of(artefact, written(document))


def shuffled(value: Any, order: Any) -> Any:
    """Return a value with the keys of its maps, and its lists whose order means nothing, in another order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key], order) for key in order(sorted(value))}
    if isinstance(value, list) and value and (isinstance(value[0], dict) or str(value[0]).startswith("CAP_")):
        return order([shuffled(item, order) for item in value])
    return value


@settings(max_examples=50)
@given(some.data())
def test_order_does_not_matter(web: Artefact, data: some.DataObject) -> None:
    other = shuffled(WHOLE, lambda items: data.draw(some.permutations(items)))
    assert address(web, other) == address(web, WHOLE)


CHANGES: Mapping[str, Any] = {
    "process.args": ["/bin/app"],
    "process.env.A": "2",
    "process.cwd": "/other",
    "process.user": "1000:1001",
    "process.rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 1}],
    "process.capabilities": ["CAP_KILL"],
    "process.noNewPrivileges": True,
    "root.readonly": False,
    "mounts": [{"destination": "/b"}],
    "state": [{"name": "one", "path": "/c"}],
    "hooks": {"poststop": [{"path": "/bin/tidy", "timeout": 5}]},
    "hostname": "other",
    "ports": [53],
    "debug": False,
}


@pytest.mark.parametrize("path", CHANGES)
def test_whatever_a_process_can_tell_counts(web: Artefact, path: str) -> None:
    changed = json.loads(json.dumps(WHOLE))
    *parents, last = path.split(".")
    place = changed
    for key in parents:
        place = place[key]
    place[last] = CHANGES[path]
    assert address(web, changed) != address(web, WHOLE)


@pytest.mark.parametrize(
    "further",
    [
        {"replicas": 5},
        {"resources": {"cpu": 2, "memory": "1Gi"}},
        {"placement": {"spread": "host", "platform": "linux/amd64"}},
        {"state": [{"name": "other", "path": "/c", "size": "1Gi"}, {"name": "two", "path": "/c/d"}]},
        {"ports": [{"port": 53, "hostPort": 5353, "listeningAddr": "127.0.0.1"}, {"port": 53, "protocol": "udp"}]},
    ],
)
def test_where_and_how_often_it_runs_does_not_count(web: Artefact, further: Mapping[str, Any]) -> None:
    assert address(web, {**WHOLE, **further}) == address(web, WHOLE)


def test_saying_what_holds_anyway_changes_nothing(web: Artefact) -> None:
    said = {
        "process": {"args": ["/bin/app"], "cwd": "/srv", "env": {"LOG": "info"}, "noNewPrivileges": True},
        "hostname": "web",
        "debug": False,
        "ports": [],
    }
    assert address(web, said) == address(web, {})


def test_what_only_the_files_tell_is_not_taken_for_what_a_document_says(web: Artefact) -> None:
    """HOME by default is that of /etc/passwd, whatever that is, and so is the group of a user without one."""
    assert address(web, {"process": {"env": {"HOME": "/"}}}) != address(web, {})
    assert address(web, {"process": {"user": "0"}}) != address(web, {"process": {"user": "0:0"}})


def test_each_variant_counts(web: Artefact) -> None:
    one = Artefact(id=web.id, reference=web.reference, digest=web.digest, variants=web.variants[:1])
    assert address(one, {}) != address(web, {})
    other = Artefact(id=web.id, reference=web.reference, digest=web.variants[1].manifest, variants=web.variants)
    assert address(other, {}) != address(web, {})


def test_what_is_written_in_short_is_what_is_written_out(web: Artefact) -> None:
    for variant in web.variants:
        base = grounds.ground(variant, "web")
        short = combining.combine(written(WHOLE), base)
        long = {
            **WHOLE,
            "process": {
                **WHOLE["process"],
                "env": ["A=1", "B=2"],
                "user": {"name": "1000", "group": "1000"},
                "rlimits": {"nofile": {"soft": 1, "hard": 2}, "CORE": 0},
                "capabilities": {
                    name: ["kill", "chown"] for name in ("bounding", "effective", "inheritable", "permitted", "ambient")
                },
            },
            "mounts": ["type=bind,source=/srv,destination=/a,ro", {"destination": "/b", "type": "tmpfs"}],
            "ports": [{"port": 53, "protocol": "tcp"}, {"port": 53, "protocol": "udp"}],
        }
        assert set(short.of) == set(combining.combine(written(long), base).of)
    assert address(web, long) == address(web, WHOLE)


DOCUMENTS = """\
apiVersion: runtimeimg.dev/v1
kind: Artefact
name: web
image: oci:images:web
---
apiVersion: runtimeimg.dev/v1
kind: Automaton
name: shop
artefact: web
process: {env: {A: "1", B: "2"}, cwd: /app}
ports: [80, 443]
"""
ELSEWHERE = {
    "b.yaml": "kind: Artefact\nimage: oci:../images:web # the same\nname: web\napiVersion: runtimeimg.dev/v1\n",
    "a.yaml": """\
# comments
x: &env {B: "2", A: "1"}
""",
    "c.yaml": """\
artefact: web
ports: [443, 80]
name: shop
kind: Automaton

process:
  cwd: &place /app
  env:
    <<: &env {B: "2"}
    A: "1"
apiVersion: runtimeimg.dev/v1
""",
}


def test_documents_split_over_files_with_comments_and_anchors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Layout(tmp_path / "images").image("web")
    Path("one.yaml").write_text(DOCUMENTS)
    folder = Path("many")
    folder.mkdir()
    for name, text in ELSEWHERE.items():
        (folder / name).write_text(text)
    found = []
    for path in (Path("one.yaml"), folder):
        graph = build(reading.read_all([path]), Ways(options=StoreOptions(), lock={})).graph
        node = graph.nodes["automaton/shop"]
        assert isinstance(node, Automaton)
        found.append(node.address)
    assert found[0] == found[1]
