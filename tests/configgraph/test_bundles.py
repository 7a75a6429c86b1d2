"""`graph bundle`: every parameter's effective value, its default included, is in config.json."""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from runtimeimg.cli.main import cli
from runtimeimg.configgraph import saved
from runtimeimg.configgraph.effective import Effective, effective
from runtimeimg.configgraph.model import Artefact, Automaton
from runtimeimg.configgraph.parameter import Category
from runtimeimg.configgraph.parameters import OF_AUTOMATON
from runtimeimg.errors import IntegrityError, NotFoundError, RuntimeimgError, SpecError, UsageError

from .layouts import Layout

PASSWD = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n"
GROUP = "root:x:0:\napp:x:1001:\nmore:x:44:app\nstaff:x:50:\n"
CONFIG: Mapping[str, Any] = {
    "Entrypoint": ["/bin/app", "serve"],
    "Cmd": ["--all"],
    "Env": ["PATH=/bin", "LOG=info"],
    "WorkingDir": "/srv",
    "User": "app",
    "ExposedPorts": {"80/tcp": {}},
    "Volumes": {"/cache": {}},
    "Labels": {"org.example.team": "shop"},
}
BARE: Mapping[str, Any] = {"Entrypoint": ["/bin/app"]}
FILES = {"bin/app": "app", "etc/passwd": PASSWD, "etc/group": GROUP, "srv/x": "x", "cache/y": "y"}
HOST = "apiVersion: runtimeimg.dev/v1\nkind: Host\nname: here\nplatform: linux/amd64\n"
GIVEN: Mapping[str, str] = {
    "root.readonly": "root: {readonly: true}",
    "mounts": "mounts: [{destination: /etc/shop, source: /etc}, 'type=tmpfs,destination=/fast,mode=700']",
    "mounts in the place of a volume": "mounts: [{destination: /cache, source: /srv/cache, options: [ro]}]",
    "state": "state: [{name: orders, path: /data, size: 1Gi}, {name: cache, path: /cache}]",
    "process.terminal": "debug: true",
    "process.cwd": "process: {cwd: /tmp}",
    "process.env": "process: {env: {LOG: debug, NEW: 'a=b $c', HOME: /elsewhere}}",
    "process.args": "process: {args: [/bin/app, other, 'with space']}",
    "process.rlimits": "process: {rlimits: {nofile: 2048, core: {soft: 0, hard: 10}}}",
    "process.capabilities": "process: {capabilities: [NET_BIND_SERVICE, CAP_CHOWN]}",
    "process.capabilities by set": "process: {capabilities: {bounding: [CAP_KILL], permitted: [CAP_KILL]}}",
    "process.noNewPrivileges": "process: {noNewPrivileges: false}",
    "process.user": "process: {user: 'app:staff'}",
    "process.user by number": "process: {user: {uid: 7, gid: 8, additionalGids: [9, 10], umask: 0o077}}",
    "process.user with umask alone": "process: {user: {umask: 0o027}}",
    "process.user is root": "process: {user: root}",
    "hostname": "hostname: shop-1",
    **{
        f"hooks.{stage}": f"hooks: {{{stage}: [{{path: /usr/bin/tidy, args: [now], env: {{A: b}}, timeout: 5}}]}}"
        for stage in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    },
    "ports": "ports: [8080, 53/udp, {port: 80, hostPort: 8000}]",
    "debug": "debug: false",
    "replicas": "replicas: 3",
    "resources": "resources: {cpu: 500m, memory: 64Mi}",
    "placement": "placement: {hosts: [here], prefer: ['zone=a:2'], spread: host}",
    "nothing": "",
}  # fmt: skip


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return what writes a document of the automaton `shop` and the graph that it makes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    layout = Layout(tmp_path / "image")
    layout.image("1", config=CONFIG, layers=[FILES])
    layout.image("bare", config=BARE, layers=[FILES])

    def made(text: str, tag: str = "1") -> Path:
        folder = tmp_path / "documents"
        folder.mkdir(exist_ok=True)
        (folder / "host.yaml").write_text(HOST)
        head = f"apiVersion: runtimeimg.dev/v1\nkind: Automaton\nname: shop\nartefact: web\n{text}\n"
        artefact = f"apiVersion: runtimeimg.dev/v1\nkind: Artefact\nname: web\nimage: oci:{tmp_path}/image:{tag}\n"
        (folder / "shop.yaml").write_text(f"{artefact}---\n{head}")
        run("graph", "build", folder, "-o", tmp_path / "graph.json", "--lock", tmp_path / f"{tag}.lock")
        return tmp_path / "graph.json"

    return made


def run(*words: object) -> tuple[str, str]:
    """Run a command in this process and return its output; what it raises is raised."""
    done = CliRunner().invoke(cli, [str(word) for word in words], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    assert not done.return_value, done.stderr
    return done.stdout, done.stderr


def bundled(graph_file: Path, folder: Path, *words: object) -> dict[str, Any]:
    run("graph", "bundle", "shop", folder, "--host", "here", "-g", graph_file, *words)
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return found


def rows_of(graph_file: Path) -> dict[str, Effective]:
    view = saved.open(graph_file)
    automaton, artefact = view.get("automaton/shop"), view.get("artefact/web")
    assert isinstance(automaton, Automaton)
    assert isinstance(artefact, Artefact)
    found = effective(automaton, artefact, artefact.variants[0])
    return {row.parameter.path: row for row in found if row.parameter.kind == "Automaton"}


def at(config: Mapping[str, Any], path: str) -> Any:
    value: Any = config
    for key in re.findall(r"[^.\[\]]+|\[[^\]]*\]", path):
        value = value.get(key.strip("[]")) if isinstance(value, Mapping) else None
    return value


def landed(row: Effective, config: Mapping[str, Any]) -> None:
    """Assert that an effective value is in config.json, but for what was said to be found there."""
    path, value = row.parameter.path, row.value
    there = at(config, row.parameter.target)
    if path == "ports":
        text = at(config, "annotations").get("org.opencontainers.image.exposedPorts")
        assert (text or "") == ",".join(
            f"{item['port']}/{item['protocol']}" for item in sorted(value, key=lambda item: item["port"])
        )
    elif path == "state":
        places = {item["destination"]: item for item in config["mounts"]}
        assert all(places[item["path"]]["source"].endswith(f".state/{item['name']}") for item in value)
    elif path == "mounts":
        assert [item["destination"] for item in there] == [item["destination"] for item in value]
        for mine, theirs in zip(value, there, strict=True):
            if f"mounts.{mine['destination']}" not in row.pending:
                assert mine == theirs
    elif path == "process.user":
        known = {key: number for key, number in value.items() if key not in {"name", "group"}}
        assert {key: there[key] for key in known if f"process.user.{key}" not in row.pending} == {
            key: number for key, number in known.items() if f"process.user.{key}" not in row.pending
        }
        assert row.pending or there == value
    elif path == "process.env" and row.pending:
        assert [item for item in there if not item.startswith("HOME=")] == value
        assert sum(item.startswith("HOME=") for item in there) == 1
    elif path.startswith("hooks."):
        assert [item for item in there or () if item in value] == value
    else:
        assert (there or None) == (value or None), path


@pytest.mark.parametrize("name", sorted(GIVEN))
@pytest.mark.parametrize("tag", ["1", "bare"])
def test_every_effective_value_is_in_the_bundle(
    graph: Callable[..., Path], tmp_path: Path, tag: str, name: str
) -> None:
    graph_file = graph(GIVEN[name], tag)
    allow = ["--allow", "volumes"] if tag == "1" else []
    config = bundled(graph_file, tmp_path / "bundle", *allow)
    rows = rows_of(graph_file)
    assert rows.keys() == OF_AUTOMATON.keys()
    targeted = [row for row in rows.values() if row.parameter.target]
    assert len(targeted) > 25
    for row in targeted:
        landed(row, config)


def test_every_parameter_that_can_be_set_is_set_by_a_case_above() -> None:
    settable = {
        path for path, item in OF_AUTOMATON.items() if item.category is not Category.ENCAPSULATED and item.target
    }
    assert settable <= GIVEN.keys() | {"process.capabilities"}
    assert {"process.terminal", "state", "mounts"} <= GIVEN.keys()


def test_values_of_documents_are_those_of_the_bundle(graph: Callable[..., Path], tmp_path: Path) -> None:
    text = (
        "\n".join(
            GIVEN[name] for name in ("root.readonly", "mounts", "state", "hostname", "ports", "debug", "replicas")
        )
        + "\nprocess:\n  args: [/bin/app, x]\n  env: {LOG: debug, NEW: '1'}\n  cwd: /tmp\n  user: app:staff\n"
    )
    config = bundled(graph(text), tmp_path / "bundle")
    process = config["process"]
    assert process["args"] == ["/bin/app", "x"]
    assert process["env"] == ["PATH=/bin", "LOG=debug", "NEW=1", "HOME=/home/app"]
    assert (process["cwd"], config["hostname"], config["root"]["readonly"]) == ("/tmp", "shop-1", True)
    assert (process["user"]["uid"], process["user"]["gid"]) == (1000, 50)
    assert config["annotations"]["org.opencontainers.image.exposedPorts"] == "53/udp,80/tcp,8080/tcp"
    assert config["annotations"]["org.example.team"] == "shop"


def test_state_is_made_once_and_stays(graph: Callable[..., Path], tmp_path: Path) -> None:
    graph_file = graph(GIVEN["state"])
    bundled(graph_file, tmp_path / "one")
    orders = tmp_path / "one.state" / "orders"
    assert orders.is_dir()
    if os.geteuid() == 0:
        assert (orders.stat().st_uid, orders.stat().st_gid) == (1000, 1001)
    (orders / "kept").write_text("x")
    config = bundled(graph_file, tmp_path / "two", "--state", tmp_path / "one.state")
    assert (orders / "kept").read_text() == "x"
    assert {item["source"] for item in config["mounts"] if item["type"] == "bind"} == {
        str(orders), str(tmp_path / "one.state" / "cache")
    }  # fmt: skip


def test_an_image_whose_tag_has_moved_is_taken_by_its_digest(graph: Callable[..., Path], tmp_path: Path) -> None:
    graph_file = graph("")
    layout = Layout(tmp_path / "image")
    layout.image("1", config=BARE, layers=[FILES])
    config = bundled(graph_file, tmp_path / "bundle", "--allow", "volumes")
    assert config["process"]["args"] == ["/bin/app", "serve", "--all"]


def test_an_image_that_was_changed_since_is_refused(graph: Callable[..., Path], tmp_path: Path) -> None:
    graph_file = graph("")
    for blob in (tmp_path / "image" / "blobs" / "sha256").iterdir():
        blob.unlink()
    layout = Layout(tmp_path / "image")
    layout.image("1", config=BARE, layers=[FILES])
    with pytest.raises((IntegrityError, NotFoundError)):
        run("graph", "bundle", "shop", tmp_path / "bundle", "--host", "here", "-g", graph_file)
    assert not (tmp_path / "bundle").exists()
    assert not (tmp_path / "bundle.state").exists()


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (("nobody", "DIR", "--host", "here"), NotFoundError, "no automaton 'nobody'"),
        (("shop", "DIR", "--host", "there"), NotFoundError, "no host 'there'"),
        (("host/here", "DIR", "--host", "here"), UsageError, "is a node of the kind host"),
    ],
)
def test_names_that_are_none(
    graph: Callable[..., Path], tmp_path: Path, words: tuple[str, ...], error: type[RuntimeimgError], message: str
) -> None:
    graph_file = graph("")
    given = [tmp_path / "bundle" if word == "DIR" else word for word in words]
    with pytest.raises(error, match=re.escape(message)):
        run("graph", "bundle", *given, "-g", graph_file)


def test_a_host_that_no_variant_suits_is_told(graph: Callable[..., Path], tmp_path: Path) -> None:
    graph("")
    (tmp_path / "documents" / "host.yaml").write_text(HOST.replace("amd64", "s390x"))
    graph_file = tmp_path / "graph.json"
    run("graph", "build", tmp_path / "documents", "-o", graph_file, "--lock", tmp_path / "lock")
    with pytest.raises(NotFoundError, match="no variant for host 'here'"):
        run("graph", "bundle", "shop", tmp_path / "bundle", "--host", "here", "-g", graph_file)


ENCAPSULATED = sorted(path for path, item in OF_AUTOMATON.items() if item.category is Category.ENCAPSULATED)


@pytest.mark.parametrize("path", ENCAPSULATED)
def test_setting_what_is_encapsulated_is_refused_with_its_place(graph: Callable[..., Path], path: str) -> None:
    text = ""
    for depth, key in enumerate(path.split(".")):
        text += f"{'  ' * depth}{key}:\n"
    text = text.rstrip("\n") + " anything"
    with pytest.raises(SpecError, match=rf"shop\.yaml:\d+:\d+: .*'{re.escape(path)}' is encapsulated: .* sets it"):
        graph(text)
