"""The sample's three automatons for real: built, placed, bundled, started by runc, asked and stopped."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bundle.starting import place

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.runc, pytest.mark.mounts, pytest.mark.slow]

SAMPLE = Path(__file__).parents[2] / "samples" / "graph"
IMAGES = {"nodejs": "web", "petclinic": "petclinic", "python": "counter"}
ANSWERS = {
    "links": (3000, "healthz", "Short links of the team"),
    "clinic": (8080, "", "Cats &amp; Dogs"),
    "visits": (8000, "", "Welcome to the team"),
}
PATIENCE = 60.0


def runtimeimg(*words: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "runtimeimg", *map(str, words)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def graph(samples: Path, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The placed graph of the sample, whose images were built and pushed as its README says."""
    folder = tmp_path_factory.mktemp("graph")
    for name, image in IMAGES.items():
        spec = samples / name / "build.yaml"
        runtimeimg("build", spec, "--check", "off", "-o", f"docker://{registry}/samples/{image}:1", "-q")
    made = folder / "graph.json"
    runtimeimg("graph", "build", SAMPLE, "-o", made, "--lock", folder / "graph.lock")
    runtimeimg("graph", "place", "-g", made, "-o", folder / "placed.json")
    return folder / "placed.json"


def fetch(port: int, path: str) -> str:
    """Return what a service answers, as soon as it does."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


@pytest.fixture
def started() -> Iterator[Callable[[Path, str], subprocess.Popen[bytes]]]:
    """Return what starts a bundle with runc; whatever still runs at the end is killed and removed."""
    running: dict[str, subprocess.Popen[bytes]] = {}

    def start(bundle: Path, name: str) -> subprocess.Popen[bytes]:
        with (bundle.parent / f"{bundle.name}.log").open("wb") as log:
            argv = ["runc", "run", "--bundle", str(bundle), name]
            running[name] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return running[name]

    yield start
    for name, process in running.items():
        if process.poll() is None:
            subprocess.run(["runc", "kill", name, "KILL"], check=False, capture_output=True)
            process.wait(PATIENCE)
        subprocess.run(["runc", "delete", "--force", name], check=False, capture_output=True)


def hosts_of(graph: Path) -> dict[str, list[str]]:
    nodes = json.loads(graph.read_text())["nodes"]
    found: dict[str, list[str]] = {}
    for node in nodes:
        if node["id"].startswith("instance/"):
            name = node["id"].split("/")[1]
            found.setdefault(name, []).extend(item.split("/")[1] for item in node["out"]["placed-on"])
    return found


def test_instances_are_where_their_documents_let_them(graph: Path) -> None:
    found = {name: sorted(hosts) for name, hosts in hosts_of(graph).items()}
    assert found == {"clinic": ["north"], "links": ["north", "south"], "visits": ["south"]}


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_an_automaton_is_bundled_started_asked_and_stopped(
    graph: Path, started: Callable[[Path, str], subprocess.Popen[bytes]], name: str
) -> None:
    port, path, expected = ANSWERS[name]
    with place() as folder:
        (host, *_) = hosts_of(graph)[name]
        runtimeimg("graph", "bundle", name, folder / name, "--host", host, "-g", graph, "--network", "host")
        container = f"graph-{name}-{folder.name[-8:]}"
        process = started(folder / name, container)
        assert expected in fetch(port, path), (folder / f"{name}.log").read_text()
        subprocess.run(["runc", "kill", container, "TERM"], check=True, capture_output=True)
        process.wait(PATIENCE)
        if name == "visits":  # what it has counted is there for the next bundle
            assert any((folder / "visits.state" / "counts").iterdir())


def test_the_documents_of_other_tools_say_what_the_graph_says(graph: Path, tmp_path: Path) -> None:
    for target in ("deployment", "compose", "systemd-quadlet"):
        runtimeimg("graph", "export", "--all", "--to", target, "-g", graph, "-o", tmp_path / target)
    written = {path.name for path in tmp_path.glob("*/*")}
    assert {"links.yaml", "clinic.compose.yaml", "visits.container", "clinic-records.volume"} <= written


def parameters(graph: Path, name: str) -> dict[str, Any]:
    rows = json.loads(runtimeimg("graph", "params", name, "-g", graph, "--format", "json"))["parameters"]
    return {row["path"]: row["value"] for row in rows if row["kind"] == "Automaton"}


def test_parameters_have_places(graph: Path) -> None:
    found = parameters(graph, "links")
    assert found["hostname"] == "links"
    assert "TITLE=Short links of the team" in found["process.env"]
