"""Exported documents and commands: whatever a value holds, the reader of the target gets that very value."""

import re
import shlex
import string
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from runtimeimg.errors import UsageError
from runtimeimg.export import TARGETS, export
from runtimeimg.export.commandline import command_lines, daemon_command, main_command
from runtimeimg.export.quadlet import quadlets
from runtimeimg.image import Image
from runtimeimg.oci import ImageConfig
from runtimeimg.plan import Facts, resolve
from runtimeimg.run import ContextChoice, Publish, RunOptions, RunPlan
from runtimeimg.runtimegraph import ExposeItem, RuntimeGraph
from runtimeimg.spec import load_spec
from runtimeimg.stamp import apply, configure, stamp_of
from tests.pods import problems

from .images import AWKWARD, WEB, commands, make_image, values

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)


@st.composite
def plans(draw: st.DrawFn) -> RunPlan:
    """Plans with awkward words everywhere: daemons, main command, arguments, environment."""
    daemons = draw(st.lists(commands, max_size=3))
    ports = draw(st.lists(st.integers(1, 65535), max_size=3, unique=True))
    services = draw(st.lists(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"])), max_size=3))
    expose = [
        ExposeItem(port=port, host_port=port, service_name=service[:50])
        for port, service in zip(ports, [*services, "", "", ""], strict=False)
    ]
    image = make_image(
        RuntimeGraph(daemons=tuple(daemons), expose=tuple(expose)),
        wrapped=draw(st.booleans()) and bool(daemons),
        entrypoint=draw(commands),
        cmd=draw(st.lists(values, max_size=3)),
        User=draw(st.sampled_from(["", "0", "app", "1000", "1000:1000", "root"])),
        Volumes=draw(st.sampled_from([None, {"/data": {}, "/var/lib/data": {}, "/Data": {}}])),
    )
    options = RunOptions(
        args=tuple(draw(st.lists(values, max_size=3))),
        env=draw(st.dictionaries(names, values, max_size=3)),
        daemons=draw(st.sampled_from(["auto", "sidecars", "wrapper"])),
    )
    return RunPlan.of(image, options)


def whole(plan: RunPlan) -> tuple[str, ...] | None:
    return plan.argv if plan.argv is not None else plan.args


# ---- docker and podman


@given(plans())
def test_command_lines_come_back_from_shlex(plan: RunPlan) -> None:
    expected = main_command(plan, "docker")
    for daemon in plan.sidecars:
        expected += daemon_command(plan, daemon, "docker")
    assert shlex.split(command_lines(plan)) == expected


@settings(max_examples=60)
@given(plans())
def test_command_lines_come_back_from_a_shell(plan: RunPlan) -> None:
    script = 'docker() { printf "%s\\0" "$@"; printf "\\0"; }\n' + command_lines(plan)
    out = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True).stdout.decode()
    ran = [["docker", *call.split("\0")] for call in _calls(out)]
    assert ran == [main_command(plan, "docker"), *(daemon_command(plan, item, "docker") for item in plan.sidecars)]


def _calls(out: str) -> Iterator[str]:
    """Split the words that the shell printed: an image's name begins no option, so calls begin with `run`."""
    words = out.split("\0")[:-1]
    call: list[str] = []
    for at, word in enumerate(words):
        ends = not word and (at + 1 == len(words) or words[at + 1 : at + 3] == ["run", "--detach"])
        if ends:
            yield "\0".join(call)
            call = []
        else:
            call.append(word)


@given(plans())
def test_docker_reads_the_options_as_meant(plan: RunPlan) -> None:
    """Read as docker reads: options until the first word that is none, which is the image; the rest is the command."""
    options, rest = _docker_options(main_command(plan, "docker")[2:])
    assert rest[0] == plan.image
    assert [item for key, item in options if key == "--env"] == [f"{key}={value}" for key, value in plan.env.items()]
    entrypoints = [item for key, item in options if key == "--entrypoint"]
    assert tuple(entrypoints + rest[1:]) == (whole(plan) or ())
    for daemon in plan.sidecars:
        options, rest = _docker_options(daemon_command(plan, daemon, "docker")[2:])
        assert tuple([item for key, item in options if key == "--entrypoint"] + rest[1:]) == daemon.argv


def _docker_options(words: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    options = []
    at = 0
    while words[at].startswith("--"):
        key, equals, value = words[at].partition("=")
        if not equals and key not in {"--rm", "--detach"}:
            at += 1
            value = words[at]
        options.append((key, value))
        at += 1
    return options, words[at:]


def test_the_callers_directory_is_the_shells() -> None:
    plan = RunPlan.of(make_image(), RunOptions(context=ContextChoice(source=".", target="/a,b")))
    line = command_lines(plan)
    assert """--mount 'type=bind,"source='"$PWD"'","target=/a,b"'""" in line
    assert shlex.split(line)[-2] == 'type=bind,"source=$PWD","target=/a,b"'


def test_an_entrypoint_that_podman_would_take_for_json_is_refused() -> None:
    plan = RunPlan.of(make_image(RuntimeGraph(daemons=(('["a"]',),))))
    assert "'--entrypoint=[\"a\"]'" in command_lines(plan, "docker")
    with pytest.raises(UsageError, match="--entrypoint of podman"):
        command_lines(plan, "podman")


# ---- compose


@given(plans())
def test_compose_comes_back(plan: RunPlan) -> None:
    text = export(plan, "compose")
    read = yaml.safe_load(text)
    assert YAML(typ="safe", pure=True).load(text) == read, "YAML 1.1 and 1.2 differ"
    read = _interpolated(read)
    services = list(read["services"].values())
    main = services[0]
    assert main["image"] == plan.image
    assert main.get("environment", {}) == plan.env
    assert tuple(main.get("entrypoint", ())) == (plan.argv or ())
    assert tuple(main.get("command", ())) == ((plan.args or ()) if plan.argv is None else ())
    assert [tuple(item["entrypoint"]) for item in services[1:]] == [daemon.argv for daemon in plan.sidecars]
    assert [item["target"] for item in main.get("volumes", ())] == list(plan.volumes)
    assert main.get("ports", []) == [f"127.0.0.1:{port.port}:{port.port}" for port in plan.ports]


def _interpolated(value: Any) -> Any:
    """Do what Compose does to values: `$$` is a dollar, anything else after a dollar would be replaced."""
    if isinstance(value, dict):
        return {key: _interpolated(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_interpolated(item) for item in value]
    return string.Template(value).substitute() if isinstance(value, str) else value


def test_a_name_that_compose_would_read_otherwise_is_refused() -> None:
    with pytest.raises(UsageError, match="holds a '\\$'"):
        export(RunPlan.of(make_image(), RunOptions(env={"A$B": "x"})), "compose")


# ---- pods


SAMPLES = [
    path
    for path in sorted((Path(__file__).parents[2] / "samples").glob("*/build.yaml"))
    if "  runtime:" in path.read_text()
]


@pytest.mark.parametrize("target", ["pod", "deployment"])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.parent.name)
def test_the_samples_are_admitted_under_the_restricted_profile(sample: Path, target: str) -> None:
    built = resolve(load_spec(sample).spec, Facts())
    empty = Image(config=ImageConfig.from_json({"os": "linux", "architecture": "amd64", "config": {}}), layers=())
    stamped = apply(replace(empty, config=configure(empty.config, built)), stamp_of(built))
    plan = RunPlan.of(replace(stamped, name="registry.example.com/sample:1"), RunOptions())
    number = None if plan.user.partition(":")[0].isdecimal() else 1000  # of a name, as the Engine finds it
    read = list(yaml.safe_load_all(export(plan, target, service=bool(plan.ports), uid=number)))
    spec = read[-1]["spec"] if target == "pod" else read[-1]["spec"]["template"]["spec"]
    assert problems(spec) == []
    assert problems({**spec, "hostNetwork": True}) == ["pod: hostNetwork"]


WORSE: dict[str, tuple[dict[str, Any], str]] = {
    "privileged": ({"securityContext": {"privileged": True}}, "main: privileged"),
    "root": ({"securityContext": {"runAsUser": 0}}, "main: runAsUser is 0"),
    "seccomp": ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, "main: seccompProfile Unconfined"),
    "capability": (
        {"securityContext": {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE", "DAC_OVERRIDE"]}}},
        "main: capabilities DAC_OVERRIDE",
    ),
    "proc": ({"securityContext": {"procMount": "Unmasked"}}, "main: procMount"),
    "port": ({"ports": [{"containerPort": 1, "hostPort": 1}]}, "main: hostPort 1"),
    "probe": ({"livenessProbe": {"httpGet": {"host": "h"}}}, "main: livenessProbe of another host"),
    "hook": ({"lifecycle": {"preStop": {"tcpSocket": {"host": "h"}}}}, "main: preStop of another host"),
}


@pytest.mark.parametrize("name", WORSE)
def test_the_rules_of_the_restricted_profile_refuse_what_breaks_one(name: str) -> None:
    change, said = WORSE[name]
    spec = yaml.safe_load(export(RunPlan.of(make_image(User="1000"), RunOptions()), "pod"))["spec"]
    (main,) = spec["containers"]
    context = {**main["securityContext"], **change.get("securityContext", {})}
    assert problems({**spec, "containers": [{**main, **change, "securityContext": context}]}) == [said]
    assert problems({**spec, "volumes": [{"name": "v", "hostPath": {}}]}) == ["volume v: hostPath"]


def test_a_user_who_is_known_by_name_alone_or_root_is_all_that_is_left() -> None:
    for user, left in (
        ("app", ["main: runAsNonRoot is not true"]),
        (
            "0",
            [
                "main: allowPrivilegeEscalation is not false",
                "main: runAsNonRoot is not true",
                "main: capabilities are not all dropped",
            ],
        ),
    ):
        plan = RunPlan.of(make_image(entrypoint=("/bin/a",), User=user), RunOptions())
        assert problems(yaml.safe_load(export(plan, "pod"))["spec"]) == left


@given(plans(), st.sampled_from(["pod", "deployment"]), st.booleans())
def test_pods_come_back(plan: RunPlan, target: str, read_only: bool) -> None:
    read = list(yaml.safe_load_all(export(plan, target, read_only=read_only)))
    spec = read[-1]["spec"] if target == "pod" else read[-1]["spec"]["template"]["spec"]
    (main,) = spec["containers"]
    assert main["image"] == plan.image
    assert {item["name"]: expanded(item["value"]) for item in main.get("env", ())} == plan.env
    assert tuple(map(expanded, main.get("command", ()))) == (plan.argv or ())
    assert tuple(map(expanded, main.get("args", ()))) == ((plan.args or ()) if plan.argv is None else ())
    daemons = spec.get("initContainers", [])
    assert [tuple(map(expanded, item["command"])) for item in daemons] == [daemon.argv for daemon in plan.sidecars]
    assert all(item["restartPolicy"] == "Always" for item in daemons)
    for container in [main, *daemons]:
        security = container.get("securityContext", {})
        assert security.get("runAsNonRoot", False) == (plan.user.partition(":")[0] == "1000")
        assert security.get("readOnlyRootFilesystem", False) == read_only
        assert ("capabilities" in security) == (plan.user not in {"", "0", "root"})
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    if plan.user.partition(":")[0] == "1000":
        assert problems(spec) == []


def expanded(text: str) -> str:
    """Do what the kubelet does to commands, arguments and values (Kubernetes' third_party/forked/golang/expansion)."""
    out, at = "", 0
    while at < len(text):
        if text[at] == "$" and at + 1 < len(text):
            if text[at + 1] == "$":
                out += "$"
                at += 2
                continue
            assert text[at + 1] != "(", f"{text!r} refers to a variable"
        out += text[at]
        at += 1
    return out


@settings(max_examples=25)
@given(plans(), st.sampled_from(["pod", "deployment"]))
def test_pods_validate(plan: RunPlan, target: str) -> None:
    for document in yaml.safe_load_all(export(plan, target, service=bool(plan.ports))):
        kubernetes_validate.validate(document, "1.37.0", strict=True)


def test_pods_name_their_ports_by_service() -> None:
    documents = list(yaml.safe_load_all(export(RunPlan.of(make_image(WEB)), "pod", service=True)))
    service, pod = documents
    ports = pod["spec"]["containers"][0]["ports"]
    assert [(item["name"], item["containerPort"]) for item in ports] == [
        ("web", 8000),
        ("https", 8443),
        ("tcp-9000", 9000),
    ]
    assert [(item["port"], item["targetPort"]) for item in service["spec"]["ports"]] == [
        (8000, "web"), (443, "https"), (9000, "tcp-9000"),
    ]  # fmt: skip
    assert service["spec"]["selector"] == pod["metadata"]["labels"]


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_port_names_are_valid_and_their_own(services: list[str]) -> None:
    from runtimeimg.export.pod import container_ports

    found = container_ports(tuple(Publish(port=at + 1, service=item) for at, item in enumerate(services)))
    assert len({item["name"] for item in found}) == len(services)
    for item in found:
        assert re.fullmatch(r"(?=.*[a-z])[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?", item["name"])
        assert "--" not in item["name"]


def test_a_user_whose_number_is_known_is_not_root() -> None:
    plan = RunPlan.of(make_image(User="app"))
    assert "runAsNonRoot" not in export(plan, "pod")
    assert "runAsUser: 1001" in export(plan, "pod", uid=1001)
    assert "runAsNonRoot" not in export(plan, "pod", uid=0)


# ---- quadlets


@given(plans())
def test_quadlets_come_back(plan: RunPlan) -> None:
    files = [text for name, text in quadlets(plan).items() if name.endswith(".container")]
    main, *daemons = [_unit(text) for text in files]
    assert main["Image"] == [plan.image]
    assert [words(line)[0] for line in main.get("Environment", ())] == [f"{k}={v}" for k, v in plan.env.items()]
    assert _quadlet_command(main) == (whole(plan) or ())
    assert [_quadlet_command(unit) for unit in daemons] == [daemon.argv for daemon in plan.sidecars]


def _quadlet_command(unit: dict[str, list[str]]) -> tuple[str, ...]:
    return (*unit.get("Entrypoint", ()), *(word for line in unit.get("Exec", ()) for word in words(line)))


def _unit(text: str) -> dict[str, list[str]]:
    """Read the [Container] section as systemd.syntax says: a key and a value a line."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in text.split("\n"):
        assert not line.endswith("\\")
        if line.startswith("["):
            section = line
        elif line and section == "[Container]":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)', re.DOTALL)
_ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|.)", re.DOTALL)
_NAMED = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"'}


def words(line: str) -> list[str]:
    """Split and unquote as systemd does for commands, with C escapes, then specifiers and variables."""
    found = []
    for match in _WORD.finditer(line):
        text = match[2] if match[1] is None else _ESCAPE.sub(_unescaped, match[1])
        assert not re.search(r"(?<!%)(%%)*%(?!%)", text), f"{text!r} holds a specifier"
        assert not re.search(r"(?<!\$)(\$\$)*\$(?!\$)", text), f"{text!r} refers to a variable"
        found.append(text.replace("%%", "%").replace("$$", "$"))
    return found


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1][1:], 16)) if match[1].startswith("x") else _NAMED[match[1]]


def test_quadlets_of_sidecars_hang_together() -> None:
    files = quadlets(RunPlan.of(make_image(WEB, Volumes={"/data": {}}), RunOptions(restart_daemons=2)))
    assert list(files) == ["web.container", "web-redis-server.container", "web-worker.container", "web-data.volume"]
    assert "Wants=web-redis-server.service web-worker.service\n" in files["web.container"]
    assert "Network=container:web\n" in files["web-worker.container"]
    assert "Requires=web.service\n" in files["web-worker.container"]
    assert "Volume=web-data.volume:/data\n" in files["web-worker.container"]


# ---- all of them


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("word", AWKWARD)
def test_every_awkward_word_can_be_exported_twice_alike(target: str, word: str) -> None:
    plan = RunPlan.of(make_image(RuntimeGraph(daemons=(("d", word),))), RunOptions(args=("x", word), env={"A": word}))
    assert export(plan, target) == export(plan, target)


@pytest.mark.parametrize("target", ["compose", "docker", "podman", "systemd-quadlet"])
def test_what_only_pods_have_is_refused_elsewhere(target: str) -> None:
    with pytest.raises(UsageError, match="for pods and deployments"):
        export(RunPlan.of(make_image()), target, service=True)
    with pytest.raises(UsageError, match="for pods and deployments"):
        export(RunPlan.of(make_image()), target, read_only=True)


def test_a_pod_takes_no_folder_of_the_caller() -> None:
    plan = RunPlan.of(make_image(), RunOptions(context=ContextChoice(source="/x")))
    with pytest.raises(UsageError, match="pod cannot mount"):
        export(plan, "pod")
