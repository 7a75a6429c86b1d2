"""Stamping and configuring: pure changes of a config, the same when done again."""

import json

import pytest

from runtimeimg import runtimegraph, stamp
from runtimeimg.errors import UsageError
from runtimeimg.image import Image
from runtimeimg.oci import Digest, ImageConfig
from runtimeimg.plan import DEFAULT_PATH, BuildPlan, Facts, resolve
from runtimeimg.runtimegraph import ExposeItem, RuntimeGraph
from runtimeimg.spec import load_spec_text
from runtimeimg.supervisor import unwrap

BASE = {
    "architecture": "amd64",
    "os": "linux",
    "config": {
        "Env": ["PATH=/usr/bin:/bin", "LANG=C"],
        "Cmd": ["bash"],
        "Labels": {"a": "base", "b": "base"},
        "ExposedPorts": {"53/udp": {}},
        "Own": 1,
    },
    "rootfs": {"type": "layers", "diff_ids": []},
}


SPEC = """\
apiVersion: runtimeimg.dev/v1
kind: Build
spec:
  output: {image: web}
  runtime:
    base: {image: debian:12}
"""


def plan_of(runtime: str, **facts: str) -> BuildPlan:
    return resolve(load_spec_text((SPEC + runtime).encode()).spec, Facts(**facts))  # type: ignore[arg-type]


def image(config: ImageConfig) -> Image:
    return Image(config=config, layers=(), name="web")


def test_configure_follows_the_instructions_of_a_dockerfile() -> None:
    plan = plan_of(
        """
    env: {PATH: "/app/bin:$PATH", HOME_OF: "${LANG:+x}-${NONE:-y}", LANG: C.UTF-8, PRICE: '\\$5'}
    labels: {a: mine, c: "3"}
    workDir: /app
    user: {name: app, group: "1001"}
    entrypoint: [java, -jar]
    expose: [8080, 443]
    volumes: [/data]
    stopSignal: SIGINT
"""
    )
    config = stamp.configure(ImageConfig.from_json(BASE), plan)
    assert dict(config.config) == {
        "Env": ["PATH=/app/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME_OF=x-y", "PRICE=$5"],
        "Labels": {"a": "mine", "b": "base", "c": "3"},
        "ExposedPorts": {"443/tcp": {}, "53/udp": {}, "8080/tcp": {}},
        "Own": 1,
        "Volumes": {"/data": {}},
        "WorkingDir": "/app",
        "User": "app:1001",
        "StopSignal": "SIGINT",
        "Entrypoint": ["java", "-jar"],
    }
    assert stamp.configure(config, plan, again=True).raw == config.raw


def test_without_an_entrypoint_the_base_command_stays() -> None:
    assert stamp.configure(ImageConfig.from_json(BASE), plan_of("")).strings("Cmd") == ("bash",)
    assert stamp.configure(ImageConfig.from_json(BASE), plan_of("    cmd: []\n")).config.get("Cmd") is None


def test_the_environment_of_the_base_stays_as_it_is() -> None:
    base = ImageConfig.from_json({**BASE, "config": {"Env": ["A=1", "B", "A=2", "C=", "PATH=/x"]}})
    plan = plan_of('    env: {D: "$A$B", A: "3", E: "$A", B: "4"}\n')
    env = stamp.configure(base, plan).config["Env"]
    assert env == ["A=3", "B=4", "A=2", "C=", "PATH=/x", "D=2", "E=2"]
    assert stamp.configure(base, plan_of("")).config["Env"] == base.config["Env"]


def test_an_environment_that_no_program_can_be_started_with_is_refused() -> None:
    large = "x" * 100_000
    base = ImageConfig.from_json({**BASE, "config": {"Env": [f"V{number}={large}" for number in range(9)]}})
    with pytest.raises(UsageError, match="the environment is larger than 1 MiB"):
        stamp.configure(base, plan_of("    env: {A: $V1, B: $V2}\n"))
    with pytest.raises(UsageError, match=r"spec.runtime.env.A: expands to more than 131071 bytes"):
        stamp.configure(base, plan_of("    env: {A: $V1$V2}\n"))


@pytest.mark.parametrize("first", ["$PATH", "x", "${NONE:-xx}"])
def test_doublings_are_refused_before_any_builder_sees_them(first: str) -> None:
    env = "".join(f"      V{number + 1}: $V{number}$V{number}\n" for number in range(60))
    with pytest.raises(UsageError, match=r"spec.runtime.env.V1[67]: expands to more than"):
        plan_of(f"    env:\n      V0: {first}\n{env}")


def test_a_base_without_path_gets_the_default_one() -> None:
    empty = ImageConfig.from_json({"os": "linux", "architecture": "amd64"})
    assert stamp.configure(empty, plan_of("")).env == {"PATH": DEFAULT_PATH}


def test_stamping_twice_is_stamping_once() -> None:
    plan = plan_of(
        "    daemons: [[redis-server, --port, '6379']]\n    expose: [{port: 80, hostPort: 8080}]\n"
        "    annotations: {x: y}\n    labels: {org.opencontainers.image.version: mine}\n",
        version="9",
        revision="abc",
        created="2026-01-01T00:00:00Z",
    )
    found = stamp.stamp_of(plan, base_digest=Digest.of(b""))
    once = stamp.apply(image(stamp.configure(ImageConfig.from_json(BASE), plan)), found)
    assert stamp.apply(once, found) == once
    assert unwrap(once.config.strings("Entrypoint")) == ()
    assert once.config.strings("Cmd") == ("bash",)
    assert runtimegraph.decode(once.config.labels) == RuntimeGraph(
        daemons=(("redis-server", "--port", "6379"),), expose=(ExposeItem(port=80, host_port=8080),)
    )
    assert (
        once.config.labels
        | {
            "org.opencontainers.image.base.name": "docker.io/library/debian:12",
            "org.opencontainers.image.base.digest": str(Digest.of(b"")),
            "org.opencontainers.image.revision": "abc",
            "org.opencontainers.image.created": "2026-01-01T00:00:00Z",
            "org.opencontainers.image.version": "mine",
        }
        == once.config.labels
    )
    assert once.annotations == {"x": "y"}
    assert "80/tcp" in once.config.config["ExposedPorts"]


def test_a_new_graph_replaces_the_old_one_and_its_wrapper() -> None:
    first = stamp.apply(image(ImageConfig.from_json(BASE)), stamp.Stamp(graph=RuntimeGraph(daemons=(("a", "b"),))))
    second = stamp.apply(first, stamp.Stamp(graph=RuntimeGraph(daemons=(("c",),)), graph_format="envd"))
    assert "c" in second.config.strings("Entrypoint")
    assert "a" not in second.config.strings("Entrypoint")
    assert json.loads(second.config.labels[runtimegraph.ENVD_LABEL])["daemon"] == [["c"]]
    assert not set(runtimegraph.GRAPH_LABELS) & set(second.config.labels)
    third = stamp.apply(second, stamp.Stamp(graph=RuntimeGraph()))
    assert third.config.config.get("Entrypoint") is None


def test_an_image_that_already_says_so_stays_itself() -> None:
    found = stamp.Stamp(labels={"a": "base"})
    before = image(ImageConfig.from_json(BASE))
    assert stamp.apply(before, found) is before


def test_daemons_without_a_main_command_are_refused() -> None:
    config = ImageConfig.from_json({"os": "linux", "architecture": "amd64"})
    with pytest.raises(UsageError, match="no main command"):
        stamp.apply(image(config), stamp.Stamp(graph=RuntimeGraph(daemons=(("a",),))))


def test_instructions_need_the_base_only_for_its_own_command() -> None:
    daemons = "    daemons: [[redis-server]]\n"
    plan = plan_of(daemons + "    entrypoint: [main]\n    cmd: [x]\n")
    assert plan.graph.daemons
    made = stamp.stamp_instructions(plan, stamp.stamp_of(plan), None)
    applied = stamp.apply(image(stamp.configure(ImageConfig.from_json(BASE), plan)), stamp.stamp_of(plan))
    assert made.entrypoint == applied.config.strings("Entrypoint")
    assert made.cmd == ("x",)
    bare = plan_of(daemons)
    with pytest.raises(UsageError, match="not known here"):
        stamp.stamp_instructions(bare, stamp.stamp_of(bare), None)
    made = stamp.stamp_instructions(bare, stamp.stamp_of(bare), ImageConfig.from_json(BASE))
    assert made.cmd == ("bash",)
