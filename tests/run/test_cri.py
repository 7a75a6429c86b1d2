"""`export --to cri`: documents that crictl reads, with the fields of the CRI API and no others."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from ruamel.yaml import YAML

from runtimeimg.errors import UsageError
from runtimeimg.export import export, export_files
from runtimeimg.export.cri import command_lines
from runtimeimg.run import ContextChoice, Publish, RunOptions, RunPlan
from tests.compose.images import tar, write_layout

from .conftest import runtimeimg
from .images import AWKWARD, WEB, make_image
from .test_export import plans

TEXTS = {"*": str}
NAMESPACES = {"network": int, "pid": int, "ipc": int, "target_id": str, "userns_options": dict}
NUMBER = {"value": int}
SECCOMP = {"profile_type": int, "localhost_ref": str}
POD = {
    "metadata": {"name": str, "uid": str, "namespace": str, "attempt": int},
    "hostname": str,
    "log_directory": str,
    "dns_config": {"servers": [str], "searches": [str], "options": [str]},
    "port_mappings": [{"protocol": int, "container_port": int, "host_port": int, "host_ip": str}],
    "labels": TEXTS,
    "annotations": TEXTS,
    "linux": {
        "cgroup_parent": str,
        "security_context": {
            "namespace_options": NAMESPACES,
            "run_as_user": NUMBER,
            "run_as_group": NUMBER,
            "readonly_rootfs": bool,
            "supplemental_groups": [int],
            "privileged": bool,
            "seccomp": SECCOMP,
            "apparmor": SECCOMP,
        },
        "sysctls": TEXTS,
    },
}
CONTAINER = {
    "metadata": {"name": str, "attempt": int},
    "image": {"image": str, "annotations": TEXTS, "user_specified_image": str, "runtime_handler": str},
    "command": [str],
    "args": [str],
    "working_dir": str,
    "envs": [{"key": str, "value": str}],
    "mounts": [
        {"container_path": str, "host_path": str, "readonly": bool, "selinux_relabel": bool, "propagation": int}
    ],
    "devices": [{"container_path": str, "host_path": str, "permissions": str}],
    "labels": TEXTS,
    "annotations": TEXTS,
    "log_path": str,
    "stdin": bool,
    "stdin_once": bool,
    "tty": bool,
    "linux": {
        "resources": dict,
        "security_context": {
            "capabilities": {"add_capabilities": [str], "drop_capabilities": [str], "add_ambient_capabilities": [str]},
            "privileged": bool,
            "namespace_options": NAMESPACES,
            "run_as_user": NUMBER,
            "run_as_group": NUMBER,
            "run_as_username": str,
            "readonly_rootfs": bool,
            "supplemental_groups": [int],
            "no_new_privs": bool,
            "masked_paths": [str],
            "readonly_paths": [str],
            "seccomp": SECCOMP,
            "apparmor": SECCOMP,
        },
    },
}
"""The fields of two messages of the CRI API (runtime/v1) with their types, those that Linux has use for."""


def held_against(value: Any, shape: Any, path: str = "") -> list[str]:
    """What of a document crictl would refuse, or pass over without a word."""
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{path} is no list"]
        return [
            problem for index, item in enumerate(value) for problem in held_against(item, shape[0], f"{path}[{index}]")
        ]
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [f"{path} is no map"]
        return [
            problem
            for key, item in value.items()
            for problem in (
                held_against(item, shape.get(key, shape.get("*")), f"{path}.{key}")
                if key in shape or "*" in shape
                else [f"{path}.{key} is not known"]
            )
        ]
    return [] if type(value) is shape else [f"{path} is {value!r}, no {shape.__name__}"]


def read(text: str) -> Any:
    """What a document says, by YAML 1.1 and by YAML 1.2 alike."""
    found = yaml.safe_load(text)
    assert YAML(typ="safe").load(text) == found
    return found


def documents(plan: RunPlan, **options: Any) -> dict[str, Any]:
    return {name: read(text) for name, text in export_files(plan, "cri", **options).items()}


def test_the_shapes_find_what_is_wrong() -> None:
    assert held_against({"metadata": {"Name": "x"}, "envs": [{"key": 1}], "linux": []}, CONTAINER) == [
        ".metadata.Name is not known",
        ".envs[0].key is 1, no str",
        ".linux is no map",
    ]


@given(plan=plans())
def test_every_plan_gives_documents_of_known_fields_that_come_back(plan: RunPlan) -> None:
    found = documents(plan, read_only=True, uid=7)
    assert list(found) == ["pod.yaml", "container.yaml", *(f"container-{daemon.name}.yaml" for daemon in plan.sidecars)]
    pod, main, *daemons = found.values()
    assert held_against(pod, POD) == []
    for container in (main, *daemons):
        assert held_against(container, CONTAINER) == []
        assert [(item["key"], item["value"]) for item in container.get("envs", [])] == list(plan.env.items())
        assert container["image"] == {"image": plan.image}
        assert container["linux"]["security_context"]["readonly_rootfs"] is True
    assert tuple(main.get("command", ())) == (plan.argv or ())
    assert tuple(main.get("args", ())) == ((plan.args or ()) if plan.argv is None else ())
    assert [tuple(item["command"]) for item in daemons] == [daemon.argv for daemon in plan.sidecars]
    assert len({item["log_path"] for item in (main, *daemons)}) == 1 + len(daemons)
    assert len({item["metadata"]["name"] for item in (main, *daemons)}) == 1 + len(daemons)


@pytest.mark.parametrize("word", AWKWARD)
def test_words_stand_for_themselves(word: str) -> None:
    plan = RunPlan.of(make_image(), RunOptions(args=(word, "$(HOME)"), env={"A": word}))
    main = documents(plan)["container.yaml"]
    assert main["args"] == [word, "$(HOME)"]
    assert main["envs"] == [{"key": "A", "value": word}]


def test_ports_and_the_context() -> None:
    options = RunOptions(
        publish=(Publish(port=53, protocol="udp", host_port=5353, address="::1"),),
        context=ContextChoice(source="/srv/here", target="/work", read_only=True),
        daemons="sidecars",
    )
    found = documents(RunPlan.of(make_image(WEB), options))
    assert found["pod.yaml"]["port_mappings"] == [
        {"protocol": 0, "container_port": 8000, "host_port": 8000, "host_ip": "127.0.0.1"},
        {"protocol": 0, "container_port": 8443, "host_port": 443, "host_ip": "0.0.0.0"},
        {"protocol": 0, "container_port": 9000},
        {"protocol": 1, "container_port": 53, "host_port": 5353, "host_ip": "::1"},
    ]
    for name in ("container.yaml", "container-redis-server.yaml", "container-worker.yaml"):
        mount = {"container_path": "/work", "host_path": "/srv/here", "readonly": True}
        assert found[name]["mounts"] == [mount]


@pytest.mark.parametrize(
    ("user", "uid", "context"),
    [
        ("", None, {}),
        ("root", None, {}),
        ("0", None, {}),
        ("app", 0, {}),
        ("1000", None, {"capabilities": {"drop_capabilities": ["ALL"]}, "no_new_privs": True}),
        ("app", None, {"capabilities": {"drop_capabilities": ["ALL"]}, "no_new_privs": True}),
        (
            "app",
            7,
            {"run_as_user": {"value": 7}, "capabilities": {"drop_capabilities": ["ALL"]}, "no_new_privs": True},
        ),
    ],
)
def test_what_a_container_may_is_what_a_pods_may(user: str, uid: int | None, context: dict[str, Any]) -> None:
    main = documents(RunPlan.of(make_image(User=user)), uid=uid)["container.yaml"]
    always = {"namespace_options": {"network": 0, "pid": 1, "ipc": 0}, "seccomp": {"profile_type": 0}}
    assert main["linux"]["security_context"] == {**always, **context}


def test_one_text_holds_all_documents_apart() -> None:
    plan = RunPlan.of(make_image(WEB), RunOptions(daemons="sidecars"))
    text = export(plan, "cri")
    assert [*yaml.safe_load_all(text)] == [*documents(plan).values()]
    assert re.findall(r"^# (.*)$", text, re.MULTILINE) == [*documents(plan)]


def test_the_command_lines_name_the_files() -> None:
    plan = RunPlan.of(make_image(WEB), RunOptions(daemons="sidecars"))
    files = export_files(plan, "cri")
    words = [word for line in command_lines(files, plan.image) for word in re.findall(r"[\w-]+\.yaml", line)]
    assert set(words) == set(files)
    assert shlex.split(command_lines(files, "a b")[0]) == ["crictl", "pull", "a b"]


@pytest.mark.parametrize("option", [{"service": True}, {"affinity": {"a": "b"}}])
def test_what_only_pods_have_is_refused(option: dict[str, Any]) -> None:
    for write in (export, export_files):
        with pytest.raises(UsageError, match="are for pods and deployments, not for cri"):
            write(RunPlan.of(make_image(WEB)), "cri", **option)


def test_the_command_writes_files_and_says_how_to_start_them(tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", {"1": ([tar([])], {"Cmd": ["/app"], "User": "7"})})
    image = f"oci:{tmp_path}/layout:1"
    err = runtimeimg("export", image, "--to", "cri", code=2)[1]
    assert "is on this machine alone, where a CRI runtime cannot pull it" in err
    called = ("--image", "images.example/web:1")
    _, err = runtimeimg("export", image, "--to", "cri", *called, "-o", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"pod.yaml", "container.yaml"}
    assert '  crictl start "$(crictl create "$pod" container.yaml pod.yaml)"\n' in err
    assert read((tmp_path / "out" / "container.yaml").read_text())["image"] == {"image": "images.example/web:1"}
    assert "crictl pull images.example/web:1\n" in err
    text, _ = runtimeimg("export", image, "--to", "cri", *called)
    assert len([*yaml.safe_load_all(text)]) == 2
