"""What an operator wants beside what an image says, in each kind of document, as the readers of these understand it."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from runtimeimg.errors import UsageError
from runtimeimg.export import export
from runtimeimg.run import RunOptions, RunPlan
from runtimeimg.run.operated import Bound, Limit, Operated, Volume
from tests.pods import problems

from .images import make_image
from .test_run_compose import compose  # noqa: F401 - a fixture

ALL = Operated(
    cwd="/srv/it's here",
    uid=1000,
    gid=2000,
    groups=(5, 6),
    hostname="shop",
    read_only=True,
    capabilities=("CAP_NET_BIND_SERVICE",),
    no_new_privileges=True,
    terminal=True,
    bound=(Bound(target="/etc/shop", source="/srv/$conf", read_only=True), Bound(target="/tmp/fast")),
    state=(Volume(name="orders", path="/data", size=5 << 30), Volume(name="logs", path="/logs")),
    cpu=1500,
    memory=256 << 20,
    hosts=("node-1",),
)
PLAN = RunPlan.of(make_image(Volumes={"/data": {}, "/cache": {}}), RunOptions(name="shop"))


def documents(target: str, operated: Operated, **more: Any) -> list[dict[str, Any]]:
    found = list(yaml.safe_load_all(export(PLAN, target, operated=operated, **more)))
    for document in found:
        kubernetes_validate.validate(document, "1.37.0", strict=True)
    return found


def one_pod(operated: Operated, **more: Any) -> dict[str, Any]:
    return documents("pod", operated, **more)[-1]["spec"]


def test_a_pod_has_every_wish() -> None:
    spec = one_pod(ALL)
    main = spec["containers"][0]
    assert spec["hostname"] == "shop"
    assert spec["securityContext"] == {"supplementalGroups": [5, 6], "fsGroup": 2000}
    assert main["workingDir"] == "/srv/it's here"
    assert main["tty"] is True
    assert main["resources"] == {"requests": {"cpu": "1500m", "memory": str(256 << 20)}}
    security = main["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"], security["runAsNonRoot"]) == (1000, 2000, True)
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    places = {item["mountPath"]: item["name"] for item in main["volumeMounts"]}
    volumes = {item["name"]: item for item in spec["volumes"]}
    assert volumes[places["/etc/shop"]]["hostPath"] == {"path": "/srv/$conf"}
    assert volumes[places["/tmp/fast"]]["emptyDir"] == {"medium": "Memory"}
    assert volumes[places["/data"]]["persistentVolumeClaim"] == {"claimName": "shop-orders"}
    assert volumes[places["/cache"]]["emptyDir"] == {}
    assert len(places) == len(volumes) == 5
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms == [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]}]}]


def test_a_pod_without_paths_of_the_node_is_admitted_as_restricted() -> None:
    spec = one_pod(Operated(uid=1000, capabilities=(), no_new_privileges=True, state=ALL.state))
    assert problems(spec) == []


def test_state_is_claimed_and_shared_by_replicas() -> None:
    *claims, deployment = documents("deployment", Operated(replicas=3, state=ALL.state))
    assert [claim["metadata"]["name"] for claim in claims] == ["shop-orders", "shop-logs"]
    assert claims[0]["spec"]["resources"]["requests"]["storage"] == str(5 << 30)
    assert {mode for claim in claims for mode in claim["spec"]["accessModes"]} == {"ReadWriteMany"}
    assert deployment["spec"]["replicas"] == 3
    assert documents("pod", Operated(state=ALL.state))[0]["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_pins_go_into_every_term_of_an_affinity() -> None:
    key = "requiredDuringSchedulingIgnoredDuringExecution"
    terms = [{"matchExpressions": [{"key": name, "operator": "In", "values": ["true"]}]} for name in ("a", "b")]
    spec = one_pod(Operated(hosts=("one", "two")), affinity={key: {"nodeSelectorTerms": terms}})
    found = spec["affinity"]["nodeAffinity"][key]["nodeSelectorTerms"]
    assert [[item["key"] for item in term["matchExpressions"]] for term in found] == [
        ["a", "kubernetes.io/hostname"],
        ["b", "kubernetes.io/hostname"],
    ]


def test_devices_are_asked_for_and_limited_alike() -> None:
    found = one_pod(Operated(others={"nvidia.com/gpu": 2}))["containers"][0]["resources"]
    assert found == {"requests": {"nvidia.com/gpu": "2"}, "limits": {"nvidia.com/gpu": "2"}}


@pytest.mark.parametrize(
    ("target", "operated", "message"),
    [
        ("pod", Operated(limits=(Limit(name="nofile", soft=1, hard=2),)), "cannot set limits of its process: nofile"),
        ("pod", Operated(user="app"), "takes a user's number, and 'app' is a name"),
        ("pod", Operated(replicas=2), "a pod is one replica"),
        ("compose", Operated(others={"nvidia.com/gpu": 1}), "cannot keep nvidia.com/gpu free"),
        ("compose", Operated(hosts=("one", "two")), "cannot choose among the hosts one, two"),
        ("systemd-quadlet", Operated(others={"nvidia.com/gpu": 1}), "cannot keep nvidia.com/gpu free"),
        ("systemd-quadlet", Operated(cwd="/a b"), "cannot be written in a quadlet"),
        ("docker", Operated(cwd="/a"), "not written for docker"),
    ],
)
def test_what_a_target_cannot_say_is_an_error(target: str, operated: Operated, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        export(PLAN, target, operated=operated)


@pytest.mark.parametrize("target", ["pod", "deployment", "compose", "systemd-quadlet"])
def test_no_wish_changes_nothing(target: str) -> None:
    assert export(PLAN, target, operated=Operated()) == export(PLAN, target)


@pytest.mark.engine
def test_compose_reads_every_wish_as_meant(compose: str, tmp_path: Path) -> None:  # noqa: F811 - the fixture
    limited = replace(ALL, limits=(Limit(name="nofile", soft=1024, hard=4096),), replicas=2)
    (tmp_path / "compose.yaml").write_text(export(PLAN, "compose", operated=limited))
    done = subprocess.run(
        [compose, "-f", str(tmp_path / "compose.yaml"), "config"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    service = yaml.safe_load(done.stdout)["services"]["shop"]
    assert service["working_dir"] == "/srv/it's here"
    assert service["user"] == "1000:2000"
    assert [str(item) for item in service["group_add"]] == ["5", "6"]
    assert (service["hostname"], service["tty"], service["read_only"]) == ("shop", True, True)
    assert (service["cap_drop"], service["cap_add"]) == (["ALL"], ["NET_BIND_SERVICE"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["ulimits"] == {"nofile": {"soft": 1024, "hard": 4096}}
    assert service["deploy"]["replicas"] == 2
    assert {item["target"]: item["type"] for item in service["volumes"]} == {
        "/data": "volume",
        "/logs": "volume",
        "/cache": "volume",
        "/etc/shop": "bind",
        "/tmp/fast": "tmpfs",
    }
    assert "/srv/$$conf" in done.stdout


def test_a_quadlet_says_every_wish() -> None:
    text = export(PLAN, "systemd-quadlet", operated=Operated(
        cwd="/srv/app", uid=1000, gid=2000, groups=(5,), hostname="shop", read_only=True, capabilities=("CAP_KILL",),
        no_new_privileges=True, terminal=True, limits=(Limit(name="nofile", soft=1024, hard=4096),),
        bound=(Bound(target="/etc/shop", source="/srv/conf", read_only=True), Bound(target="/tmp/fast")),
        state=ALL.state, memory=1 << 20,
    ))  # fmt: skip
    lines = text.splitlines()
    for line in (
        "WorkingDir=/srv/app", "User=1000", "Group=2000", "GroupAdd=5", "HostName=shop", "ReadOnly=true",
        "DropCapability=all", "AddCapability=CAP_KILL", "NoNewPrivileges=true", "Ulimit=nofile=1024:4096",
        "Volume=/srv/conf:/etc/shop:ro", "Tmpfs=/tmp/fast", "Volume=shop-orders.volume:/data",
        "Volume=shop-cache.volume:/cache", "PodmanArgs=--memory-reservation=1048576",
    ):  # fmt: skip
        assert line in lines
    assert text.count(":/data") == 1
