"""Images that envd built: their entrypoint is a supervisor that starts the daemons in the label by itself."""

import json
from collections.abc import Callable

import docker
import pytest

from runtimeimg import stamp, supervisor
from runtimeimg.errors import UsageError
from runtimeimg.export import TARGETS, export
from runtimeimg.image import Image
from runtimeimg.oci import ImageConfig
from runtimeimg.run import RunOptions, RunPlan
from runtimeimg.run.plan import DAEMON_MODES
from runtimeimg.runtimegraph import ENVD_LABEL, ExposeItem, RuntimeGraph

from .conftest import Running

SCRIPT = "set -e; mkdir -p /tmp/x && exec /usr/local/bin/horust --services-path /etc/horust/services"
ENVDS = {
    "horust": ["horust"],
    "path": ["/usr/local/bin/horust", "--services-path", "/etc/horust/services"],
    "tini": ["tini", "--", "horust"],
    "script": ["tini", "--", "bash", "-c", SCRIPT],
    "options of tini": ["/usr/bin/tini", "-g", "--", "/bin/bash", "-c", SCRIPT],
    "last word": ["bash", "-c", "cd /home/envd; horust"],
}
OTHERS = {
    "none": [],
    "program": ["redis-server"],
    "tini": ["tini", "--", "redis-server"],
    "name within": ["/opt/horust-tools/run"],
    "script": ["bash", "-c", "exec /opt/horust/redis"],
    "argument": ["cat", "horust"],
}


def image_of(entrypoint: list[str]) -> Image:
    label = json.dumps({"commands": None, "daemon": [["redis-server", "--port", "6379"]], "expose": [{"EnvdPort": 80}]})
    config = {"Entrypoint": entrypoint, "Cmd": None, "Labels": {ENVD_LABEL: label}}
    return Image(
        config=ImageConfig.from_json({"os": "linux", "architecture": "amd64", "config": config, "rootfs": {}}),
        layers=(),
        name="env:dev",
    )


@pytest.mark.parametrize("entrypoint", ENVDS.values(), ids=ENVDS)
def test_daemons_are_started_once_by_the_images_own_entrypoint(entrypoint: list[str]) -> None:
    assert supervisor.is_envds(entrypoint)
    for options in (RunOptions(), RunOptions(daemons="wrapper"), RunOptions(args=("x",))):
        plan = RunPlan.of(image_of(entrypoint), options)
        assert (plan.argv, plan.args, plan.sidecars) == (None, options.args or None, ())
        assert [daemon.argv[0] for daemon in plan.wrapped] == ["redis-server"]
    for target in TARGETS:
        assert "redis-server" not in export(RunPlan.of(image_of(entrypoint)), target)


@pytest.mark.parametrize("entrypoint", OTHERS.values(), ids=OTHERS)
def test_other_entrypoints_start_none(entrypoint: list[str]) -> None:
    assert not supervisor.is_envds(entrypoint)
    if entrypoint:
        assert len(RunPlan.of(image_of(entrypoint)).sidecars) == 1


@pytest.mark.parametrize("mode", [mode for mode in DAEMON_MODES if mode in {"sidecars", "none"}])
def test_what_cannot_be_had_of_it_is_refused(mode: str) -> None:
    with pytest.raises(UsageError, match="started by its own entrypoint"):
        RunPlan.of(image_of(["horust"]), RunOptions(daemons=mode))


def test_restarts_are_its_own_business() -> None:
    with pytest.raises(UsageError, match="does not reach the daemons of envd's supervisor"):
        RunPlan.of(image_of(["horust"]), RunOptions(restart_daemons=3))


def test_stamping_the_same_daemons_leaves_the_entrypoint_and_others_are_added() -> None:
    same = RuntimeGraph(daemons=(("redis-server", "--port", "6379"),))
    once = stamp.apply(image_of(["horust"]), stamp.Stamp(graph=same))
    assert once.config.strings("Entrypoint") == ("horust",)
    assert ENVD_LABEL not in once.config.labels
    again = stamp.apply(once, stamp.Stamp(graph=same))
    assert again.config.strings("Entrypoint") == ("horust",)
    other = stamp.apply(image_of(["horust"]), stamp.Stamp(graph=RuntimeGraph(daemons=(("cron",),))))
    assert supervisor.unwrap(other.config.strings("Entrypoint")) == ("horust",)


@pytest.mark.engine
@pytest.mark.usefixtures("leaves_no_run")
def test_a_run_has_one_container_and_its_daemon_once(
    put: Callable[..., str], tiny: str, running: Callable[..., Running], engine: docker.APIClient
) -> None:
    # A function stands for horust: it starts the daemon of the label, the web server, as horust would.
    serve = ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/files"]
    script = f"horust() {{ exec {' '.join(serve)}; }}; horust"
    graph = RuntimeGraph(daemons=(tuple(serve),), expose=(ExposeItem(port=8080, service_name="web"),))
    image = put("envd", tiny, graph, Entrypoint=["/bin/sh", "-c", script], supervise=False)
    run = running(image, "-P")
    assert run.fetch(run.url("web") + "/own") == "own"
    containers = engine.containers(filters={"ancestor": image})
    assert len(containers) == 1
    processes = engine.top(containers[0]["Id"])["Processes"]
    assert sum("httpd" in " ".join(process) for process in processes) == 1
    run.process.terminate()
    run.ends()
