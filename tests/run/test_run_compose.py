"""The Compose file of an image, read and started by docker-compose itself."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
import yaml

from runtimeimg.export import export
from runtimeimg.run import RunOptions, RunPlan
from runtimeimg.runtimegraph import ExposeItem, RuntimeGraph

from .conftest import PATIENCE, PREFIX, fetch, runtimeimg
from .images import AWKWARD, make_image

pytestmark = [pytest.mark.engine]

WORDS = [word for word in AWKWARD if "\x1b" not in word]
SCRIPT = 'for word; do printf "%s\\n--\\n" "$word"; done >/data/words; exec /bin/busybox httpd -f -p 8080 -h /data'


@pytest.fixture(scope="module")
def compose() -> str:
    """The docker-compose program (1.29, which Debian has, or the plugin of later ones)."""
    if shutil.which("docker-compose"):
        return "docker-compose"
    if os.environ.get("RUNTIMEIMG_REQUIRE_SERVICES"):
        pytest.fail("docker-compose is not on PATH; run scripts/services install", pytrace=False)
    pytest.skip("docker-compose is not on PATH")


@pytest.fixture
def project(tmp_path: Path, compose: str) -> Iterator[Callable[..., str]]:
    """Runs docker-compose on compose.yaml of a folder; takes everything down at the end."""

    def call(*arguments: str) -> str:
        argv = [compose, "-p", f"{PREFIX}-compose", "-f", str(tmp_path / "compose.yaml"), *arguments]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    yield call
    call("down", "-v", "-t", "1")


def test_compose_reads_every_value_as_meant(project: Callable[..., str], tmp_path: Path) -> None:
    # What `config` prints holds this one as a line break of YAML; the test below has it in a real process.
    words = [word for word in WORDS if word != "\x85"]
    graph = RuntimeGraph(daemons=(("daemon", *words),), expose=(ExposeItem(port=80, host_port=18235),))
    options = RunOptions(args=("x", *words), env={f"V{number}": word for number, word in enumerate(words)})
    plan = RunPlan.of(make_image(graph, Volumes={"/data": {}}), options)
    (tmp_path / "compose.yaml").write_text(export(plan, "compose"))
    read = yaml.safe_load(project("config"))["services"]
    # What `config` prints is a Compose file again: its dollars are doubled.
    undone = json.loads(json.dumps(read).replace("$$", "$"))
    assert undone["web"]["environment"] == plan.env
    assert undone["web"]["command"] == ["x", *words]
    assert undone["web-daemon"]["entrypoint"] == ["daemon", *words]


@pytest.mark.usefixtures("leaves_no_run")
def test_compose_starts_the_same(
    tiny: str, put: Callable[..., str], project: Callable[..., str], tmp_path: Path, engine: docker.APIClient
) -> None:
    graph = RuntimeGraph(
        daemons=(("/bin/busybox", "httpd", "-f", "-p", "8081", "-h", "/workspace/context"),),
        expose=(ExposeItem(port=8080, host_port=18236), ExposeItem(port=8081, host_port=18237)),
    )
    image = put("compose", tiny, graph, Entrypoint=["sh", "-c", SCRIPT, "sh"], supervise=False, Volumes={"/data": {}})
    (tmp_path / "page").write_text("context")
    out, _ = runtimeimg("export", image, "--to", "compose", "-e", "A=$B", "--daemons=sidecars", "--", *WORDS)
    (tmp_path / "compose.yaml").write_text(out)
    project("up", "-d")
    deadline = time.monotonic() + PATIENCE
    expected = "".join(f"{word}\n--\n" for word in WORDS)
    while (found := fetch("http://127.0.0.1:18236/words")) is None:
        assert time.monotonic() < deadline
    assert found == expected
    # The context is the folder that the file lies in.
    assert fetch("http://127.0.0.1:18237/page") == "context"
