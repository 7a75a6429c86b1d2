"""The table of parameters: complete, the same as the models have it, and the same as what bundles come to."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import yaml

from runtimeimg.bundle.assembly import assemble
from runtimeimg.bundle.values import STAGES, BundleOptions, Mount
from runtimeimg.configgraph import combining, documents, grounds, reading
from runtimeimg.configgraph.effective import Effective, Where, at, effective
from runtimeimg.configgraph.model import Artefact, Automaton, Instance, Origin, Variant
from runtimeimg.configgraph.parameter import Category, Combine
from runtimeimg.configgraph.parameters import OF_ARTEFACT, OF_AUTOMATON, PARAMETERS
from runtimeimg.errors import SpecError
from runtimeimg.image import Image
from runtimeimg.oci import ImageConfig
from tests.configgraph.layouts import COMMAND

# The discussion's parameters, as it spells them.
_DISCUSSION = """
    drv imageName imageDigest sha256 node artefact ociVersion root.path root.readonly mounts process.terminal
    process.consoleSize process.cwd process.env process.args process.rlimits process.apparmorProfile
    process.capabilities process.noNewPrivileges process.oomScoreAdj process.selinuxLabel process.user hostname
    hooks.prestart hooks.poststart hooks.poststop namespaces annotations name contents
"""
DISCUSSION = _DISCUSSION.split()
RUNTIME: Mapping[str, Any] = {
    **COMMAND,
    "User": "1000:1000",
    "ExposedPorts": {"8080/tcp": {}, "53/udp": {}},
    "Volumes": {"/data": {}},
    "Labels": {"org.example.team": "web"},
    "os": "linux",
    "architecture": "amd64",
    "author": "somebody",
}
DOCUMENT = """\
apiVersion: runtimeimg.dev/v1
kind: Automaton
name: shop
artefact: web
process:
  args: [/bin/other]
  env:
    LOG: debug
    EXTRA: "1"
  rlimits: {NOFILE: 10, CORE: 0}
  cwd: /work
mounts:
  - {destination: /data, source: /srv/data}
state:
  - {name: orders, path: /orders}
ports:
  - {port: 8080, hostPort: 80}
  - 443
hooks:
  poststop:
    - {path: /bin/tidy, args: [-v]}
"""
BARE = "apiVersion: runtimeimg.dev/v1\nkind: Automaton\nname: shop\nartefact: web\n"


def variant(runtime: Mapping[str, Any]) -> Variant:
    return Variant(manifest="sha256:m", platform="linux/amd64", config="sha256:c", layers=(), runtime=runtime)


def automaton(text: str) -> Automaton:
    (found,) = reading.load(text.encode(), "shop.yaml")
    given = {key: value for key, value in found.given.items() if key != "artefact"}
    return Automaton(
        id="automaton/shop", artefact="artefact/web", address="", given=given, lines=found.lines, origin=found.origin
    )


def rows(text: str, runtime: Mapping[str, Any] = RUNTIME, instance: Instance | None = None) -> dict[str, Effective]:
    node = Artefact(id="artefact/web", reference="web:1", digest="sha256:m", variants=(variant(runtime),))
    found = effective(automaton(text), node, node.variants[0], instance)
    return {item.parameter.path: item for item in found if item.parameter.kind == "Automaton"}


@pytest.mark.parametrize("name", DISCUSSION)
def test_every_parameter_of_the_discussion_has_a_row(name: str) -> None:
    (row,) = [item for item in PARAMETERS if item.formerly == name]
    assert row.meaning
    assert row.category is Category.REQUIRED or row.default
    assert bool(row.setter) == (row.category is Category.ENCAPSULATED)


def test_the_models_have_the_rows_and_no_other_keys() -> None:
    def keys(schema: Mapping[str, Any], part: Mapping[str, Any], path: str, depth: int) -> list[str]:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
        if "properties" not in part or not depth:
            return [path]
        found = [
            keys(schema, inner, f"{path}.{key}" if path else key, depth - 1)
            for key, inner in part["properties"].items()
        ]
        return [item for each in found for item in each]

    def nested(schema: Mapping[str, Any]) -> set[str]:
        top = schema["properties"]
        inner = {"process", "root", "hooks", "placement", "store"}
        return {item for key, part in top.items() for item in keys(schema, part, key, 1 if key in inner else 0)}

    heads = {"apiVersion", "kind"}
    settable = {path for path, item in OF_AUTOMATON.items() if item.category is not Category.ENCAPSULATED}
    assert nested(documents.automaton_schema()) - heads == settable
    words = {"imageName", "imageDigest", "contents", "store.kind"}
    assert nested(documents.artefact_schema()) - heads - words == set(OF_ARTEFACT)


def test_descriptions_of_the_schema_are_those_of_the_table() -> None:
    schema = documents.automaton_schema()
    assert schema["$defs"]["Process"]["properties"]["cwd"]["description"] == OF_AUTOMATON["process.cwd"].meaning
    assert schema["properties"]["replicas"]["description"] == OF_AUTOMATON["replicas"].meaning


ENCAPSULATED = [path for path, item in OF_AUTOMATON.items() if item.category is Category.ENCAPSULATED]


@pytest.mark.parametrize("path", ENCAPSULATED)
def test_setting_an_encapsulated_one_is_refused_where_it_stands(path: str) -> None:
    document: Any = "x"
    for key in reversed(path.split(".")):
        document = {key: document}
    text = BARE + yaml.safe_dump(document)
    with pytest.raises(SpecError) as caught:
        reading.load(text.encode(), "shop.yaml")
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == ("shop.yaml", 5 + path.count("."))
    assert problem.message == f"'{path}' is encapsulated: {OF_AUTOMATON[path].setter} sets it; remove it here"


def options(found: Mapping[str, Effective]) -> BundleOptions:
    """Return what makes the bundle of effective values, as far as options go."""
    values = {path: item.value for path, item in found.items()}
    own = {part.key: part.value for part in found["process.env"].parts if part.source.where is Where.DOCUMENT}
    mounts = [part.value for part in found["mounts"].parts if part.source.where is Where.DOCUMENT]
    return BundleOptions(
        argv=tuple(values["process.args"]),
        env=own,
        readonly=values["root.readonly"],
        hostname=values["hostname"],
        terminal=values["process.terminal"],
        hooks=tuple(
            combining.hook(stage, {**item, "args": item.get("args", [""])[1:]})
            for stage in STAGES
            for item in values[f"hooks.{stage}"]
        ),
        mounts=tuple(
            Mount(
                destination=item["destination"],
                kind=item["type"],
                source=item.get("source", ""),
                options=tuple(item.get("options", ())),
            )
            for item in mounts
        ),
        annotations={key: value for key, value in values["annotations"].items() if "exposedPorts" in key},
        name="web",
    )


@pytest.mark.parametrize("text", [BARE, DOCUMENT, BARE + "debug: true\n", BARE + "state: [{name: a, path: /a}]\n"])
@pytest.mark.parametrize(
    "extra", [{}, {"Env": ["HOME=/root", "A=b", "PATH=/x"]}, {"Volumes": None}, {"Entrypoint": ["/e"], "Cmd": ["c"]}]
)
def test_effective_values_are_those_of_a_bundle(text: str, extra: Mapping[str, Any]) -> None:
    runtime = {key: value for key, value in {**RUNTIME, **extra}.items() if value is not None}
    found = rows(text, runtime)
    head = {key: runtime[key] for key in ("os", "architecture", "author")}
    config = ImageConfig.from_json({**head, "config": {key: runtime[key] for key in runtime.keys() - head.keys()}})
    image = Image(config=config, layers=(), name="web:1")
    bundle = assemble(image, grounds.NO_FILES, options(found)).config
    known = {"process.cwd", "process.rlimits"} if text is DOCUMENT else set()  # `--set` has these, which come later
    for path, item in found.items():
        target = item.parameter.target
        if not target or path in known or path in {"mounts", "state", "ports", "process.env"}:
            continue
        assert (at(bundle, target) or None) == (item.value or None), path
    env = [
        item
        for item in bundle["process"]["env"]
        if not item.startswith("HOME=") or "process.env.HOME" not in found["process.env"].pending
    ]
    assert env == found["process.env"].value
    assert [item["destination"] for item in bundle["mounts"]] == [item["destination"] for item in found["mounts"].value]
    for real, told in zip(bundle["mounts"], found["mounts"].value, strict=True):
        if f"mounts.{told['destination']}" not in found["mounts"].pending:
            assert real == told


def test_where_each_value_comes_from() -> None:
    found = rows(DOCUMENT)
    sources = {path: str(item.source) for path, item in found.items()}
    assert sources["process.args"] == "shop.yaml:6"
    assert sources["process.cwd"] == "shop.yaml:11"
    assert sources["process.user"] == "image: Config.User"
    assert sources["hostname"] == "default"
    assert sources["annotations"] == "image: Config.Labels"
    assert sources["artefact"] == "shop.yaml:4"
    parts = {path: {part.key: str(part.source) for part in item.parts} for path, item in found.items()}
    assert parts["process.env"] == {
        "PATH": "image: Config.Env",
        "LOG": "shop.yaml:8",
        "EXTRA": "shop.yaml:9",
    }
    assert parts["process.rlimits"] == {"RLIMIT_NOFILE": "shop.yaml:10", "RLIMIT_CORE": "shop.yaml:10"}
    assert parts["ports"] == {
        "53/udp": "image: Config.ExposedPorts",
        "8080/tcp": "shop.yaml:17",
        "443/tcp": "shop.yaml:18",
    }
    assert parts["mounts"]["/data"] == "shop.yaml:13"
    assert parts["mounts"]["/orders"] == "shop.yaml:15"
    assert parts["mounts"]["/proc"] == "default"
    bare = rows(BARE)
    assert str(bare["process.args"].source) == "image: Config.Entrypoint, Config.Cmd"
    assert {part.key: str(part.source) for part in bare["mounts"].parts}["/data"] == "image: Config.Volumes"
    assert rows(BARE, {})["process.args"].source.where is Where.NOBODY
    placed = Instance(id="instance/shop/0", automaton="automaton/shop", ordinal=0, host="host/node-1")
    assert rows(BARE, instance=placed)["node"].value == "node-1"


def test_what_is_found_at_the_bundle() -> None:
    assert set(rows(BARE)["process.env"].pending) == {"process.env.HOME"}
    assert set(rows(BARE)["mounts"].pending) == {"mounts./data"}
    assert not rows(BARE)["process.user"].pending
    named = rows(BARE, {**RUNTIME, "User": "app"})["process.user"]
    assert named.value == {"name": "app", "umask": 0o22}
    assert set(named.pending) == {"process.user"}
    numbered = rows(BARE, {**RUNTIME, "User": "1000"})["process.user"]
    assert (numbered.value["uid"], set(numbered.pending)) == (1000, {"process.user.gid"})
    said = rows(BARE + "process: {user: {uid: 5, gid: 6, umask: 63}}\n", {**RUNTIME, "User": "app"})["process.user"]
    assert (said.value, dict(said.pending)) == ({"uid": 5, "gid": 6, "umask": 63}, {})


def test_rows_as_json() -> None:
    found = rows(DOCUMENT)
    assert found["process.cwd"].to_json() == {
        "path": "process.cwd",
        "kind": "Automaton",
        "category": "Optional",
        "stage": "automaton",
        "combine": "replaces",
        "value": "/work",
        "source": {"where": "document", "file": "shop.yaml", "line": 11},
    }
    assert found["process.env"].to_json()["parts"][0] == {
        "key": "PATH",
        "value": "/bin",
        "source": {"where": "image", "field": "Config.Env"},
    }


def test_ways_of_combining_are_told_truly() -> None:
    """What merges keeps what the document does not name; what replaces does not."""
    found, bare = rows(DOCUMENT), rows(BARE)
    for path in ("process.env", "process.rlimits", "ports", "mounts"):
        assert found[path].parameter.combine not in {Combine.REPLACE, Combine.FIXED}
        assert {part.key for part in bare[path].parts} <= {part.key for part in found[path].parts}
    for path in ("process.args", "process.cwd"):
        assert found[path].parameter.combine is Combine.REPLACE
        assert found[path].value == at(automaton(DOCUMENT).given, path)


def test_a_document_has_a_file_and_lines() -> None:
    node = automaton(DOCUMENT)
    assert node.origin == Origin("shop.yaml", 1)
    assert node.lines["process.env.EXTRA"] == 9
    assert replace(node).lines["ports[1]"] == 18
    assert all(re.match(r"[a-z]", path) for path in node.lines)
