"""Daemons as containers of their own, for an image on scratch with two static programs."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import docker
import pytest

from runtimeimg.runtimegraph import ExposeItem, RuntimeGraph

from .conftest import PATIENCE, PREFIX, Running, fetch, ours, runtimeimg

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("leaves_no_run")]

MAIN = ["/bin/busybox-main", "httpd", "-f", "-v", "-p", "8080", "-h", "/workspace/context"]
HELPER = ("/bin/busybox-helper", "httpd", "-f", "-v", "-p", "8081", "-h", "/files")
GRAPH = RuntimeGraph(
    daemons=(HELPER,), expose=(ExposeItem(port=8080, service_name="main"), ExposeItem(port=8081, service_name="helper"))
)


@pytest.fixture(scope="module")
def image(bare: str, put: Callable[..., str]) -> str:
    """Stamped without the wrapper: there is no shell."""
    return put("scratch", bare, GRAPH, Entrypoint=MAIN, supervise=False, Volumes={"/data": {}})


def _daemons(engine: docker.APIClient) -> list[str]:
    return [str(item["Id"]) for item in ours(engine) if "dev.runtimeimg.daemon" in item["Labels"]]


def _daemon(engine: docker.APIClient) -> str:
    (found,) = _daemons(engine)
    return found


def _started(running: Callable[..., Running], image: str, folder: Path, *options: str) -> Running:
    (folder / "page").write_text("context")
    run = running(image, *options, cwd=folder)
    assert run.fetch(run.url("main") + "/page") == "context"
    assert run.fetch(run.url("helper") + "/own") == "own"
    return run


def test_both_answer_and_stop_on_ctrl_c(
    image: str, running: Callable[..., Running], engine: docker.APIClient, tmp_path: Path
) -> None:
    run = _started(running, image, tmp_path, "--stop-timeout", "100")
    assert len(ours(engine)) == 2
    run.until(lambda: "busybox-helper | " in run.err)
    asked = time.monotonic()
    run.process.send_signal(signal.SIGINT)
    assert run.ends() == 130
    assert time.monotonic() - asked < 60
    assert ours(engine) == []


def test_a_dead_daemon_ends_the_rest(
    image: str, running: Callable[..., Running], engine: docker.APIClient, tmp_path: Path
) -> None:
    run = _started(running, image, tmp_path)
    engine.kill(_daemon(engine))
    assert run.ends() == 1
    assert (
        "runtimeimg: daemon 'busybox-helper' ended with exit code 137, and so did the rest; its last lines:" in run.err
    )
    assert "\n  | " in run.err


def test_a_dead_daemon_is_started_again(
    image: str, running: Callable[..., Running], engine: docker.APIClient, tmp_path: Path
) -> None:
    run = _started(running, image, tmp_path, "--restart-daemons", "1")
    first = _daemon(engine)
    engine.kill(first)
    run.until(lambda: set(_daemons(engine)) - {first})
    assert run.fetch(run.url("helper") + "/own") == "own"
    run.until(lambda: len(_daemons(engine)) == 1)
    engine.kill(_daemon(engine))
    assert run.ends() == 1


def test_the_end_of_the_main_command_ends_a_detached_run(image: str, engine: docker.APIClient, tmp_path: Path) -> None:
    name = f"{PREFIX}-side"
    out, err = runtimeimg("run", "-d", "--name", name, image, cwd=tmp_path)
    assert out == f"{name}\n"
    url = next(line.split()[2] for line in err.splitlines() if line.startswith("helper"))
    deadline = time.monotonic() + PATIENCE
    while fetch(f"{url}/own") != "own":
        assert time.monotonic() < deadline
    (run,) = json.loads(runtimeimg("ps", "--format", "json")[0])
    assert [daemon["name"] for daemon in run["daemons"]] == ["busybox-helper"]
    assert "busybox-helper | " in "".join(runtimeimg("logs", name))
    daemon = _daemon(engine)
    engine.kill(name)
    while engine.inspect_container(daemon)["State"]["Running"]:
        assert time.monotonic() < deadline
    assert "removed container" in runtimeimg("ps")[1]
    assert ours(engine) == []


def test_a_detached_run_is_stopped(image: str, engine: docker.APIClient, tmp_path: Path) -> None:
    runtimeimg("run", "-d", "--name", f"{PREFIX}-stop", image, cwd=tmp_path)
    assert len(ours(engine)) == 2
    runtimeimg("stop", "-t", "1", "--all")
    assert ours(engine) == []


def test_a_daemon_that_cannot_start_is_named(bare: str, put: Callable[..., str], tmp_path: Path) -> None:
    image = put("broken", bare, RuntimeGraph(daemons=(("/nosuch",),)), Entrypoint=MAIN, supervise=False)
    _, err = runtimeimg("run", image, code=1, cwd=tmp_path)
    assert "daemon 'nosuch' ended with exit code 127" in err


def test_a_main_command_that_ends_at_once_gives_its_code(bare: str, put: Callable[..., str], tmp_path: Path) -> None:
    image = put(
        "short", bare, RuntimeGraph(daemons=(HELPER,)), Entrypoint=["/bin/busybox-main", "false"], supervise=False
    )
    runtimeimg("run", image, code=1, cwd=tmp_path)


def test_stamping_without_a_shell_needs_a_word(bare: str, tmp_path: Path) -> None:
    graph = tmp_path / "graph.json"
    graph.write_text(json.dumps(GRAPH.to_json()))
    assert "--no-supervise" in runtimeimg("stamp", bare, "--graph", graph, "-o", f"oci:{tmp_path}/x", code=2)[1]
    runtimeimg("stamp", bare, "--graph", graph, "--no-supervise", "-o", f"oci:{tmp_path}/x")
    shown = json.loads(runtimeimg("inspect", f"oci:{tmp_path}/x", "--format", "json")[0])
    assert shown["graph"] == GRAPH.to_json()
    assert shown["config"].get("Entrypoint") is None


def test_docker_command_lines_start_the_same(image: str, engine: docker.APIClient, tmp_path: Path) -> None:
    name = f"{PREFIX}-exported"
    (tmp_path / "page").write_text("context")
    publish = ("-p", "18233:8080", "-p", "18234:8081")
    out, _ = runtimeimg("export", image, "--to", "docker", "--name", name, *publish)
    subprocess.run(["/bin/sh", "-ec", out], check=True, capture_output=True, cwd=tmp_path)
    try:
        deadline = time.monotonic() + PATIENCE
        while (fetch("http://127.0.0.1:18233/page"), fetch("http://127.0.0.1:18234/own")) != ("context", "own"):
            assert time.monotonic() < deadline
    finally:
        engine.stop(name, timeout=1)
    while engine.containers(all=True, filters={"name": name}):
        assert time.monotonic() < deadline + PATIENCE
