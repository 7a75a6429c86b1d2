"""Documents of images given by every transport: they name what their reader can get, and it starts them."""

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runtimeimg.errors import UsageError
from runtimeimg.export.images import image_for
from runtimeimg.oci import Location
from runtimeimg.runtimegraph import ExposeItem, RuntimeGraph

from .conftest import PATIENCE, PREFIX, fetch, runtimeimg

ALL = ("docker", "podman", "compose", "systemd-quadlet", "pod", "deployment", "cri")
NAMES = [
    ("web:1", ALL, "web:1"),
    ("h.example:5000/a/web", ALL, "h.example:5000/a/web"),
    ("docker://h.example/web", ALL, "h.example/web:latest"),
    ("docker://web:1", ("docker", "compose"), "web:1"),
    ("docker://web:1", ("pod", "deployment", "cri", "podman", "systemd-quadlet"), "docker.io/library/web:1"),
    ("docker-daemon:web:1", ("docker", "podman", "compose", "systemd-quadlet"), "web:1"),
]
NOT = [
    ("docker-daemon:web:1", ("pod", "deployment", "cri")),
    ("oci:web.oci:1", ALL),
    ("oci-archive:web.tar", ALL),
    ("docker-archive:web.tar", ALL),
]


@pytest.mark.parametrize(("image", "targets", "said"), NAMES)
def test_a_document_holds_a_name_and_no_transport(image: str, targets: tuple[str, ...], said: str) -> None:
    for target in targets:
        assert image_for(Location.parse(image), target) == said


@pytest.mark.parametrize(("image", "targets"), NOT)
def test_what_a_reader_cannot_get_is_refused_with_the_way_out(image: str, targets: tuple[str, ...]) -> None:
    for target in targets:
        with pytest.raises(UsageError) as raised:
            image_for(Location.parse(image), target)
        assert f"runtimeimg copy {image} docker" in (raised.value.hint or "")
        assert "--image NAME" in (raised.value.hint or "")


# ---- started by their readers


class Made:
    """A web server's image, and where it is, by transport."""

    def __init__(self, engine_name: str, registry: str, folder: Path) -> None:
        self.local = engine_name
        self.pushed = f"{registry}/{PREFIX}/names:1"
        self.layout = f"oci:{folder}/names.oci:1"
        runtimeimg("copy", f"docker-daemon:{self.local}", f"docker://{self.pushed}")
        runtimeimg("copy", f"docker-daemon:{self.local}", self.layout)


@pytest.fixture
def made(put: Callable[..., str], tiny: str, registry: str, tmp_path: Path) -> Made:
    graph = RuntimeGraph(expose=(ExposeItem(port=8080, host_port=18238, listening_addr="127.0.0.1"),))
    serve = ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/files"]
    return Made(put("names", tiny, graph, Entrypoint=serve), registry, tmp_path)


def answers() -> None:
    deadline = time.monotonic() + PATIENCE
    while (said := fetch("http://127.0.0.1:18238/own")) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert said == "own"


@pytest.mark.engine
@pytest.mark.registry
def test_compose_starts_an_image_of_every_transport(made: Made, tmp_path: Path) -> None:
    program = shutil.which("docker-compose")
    assert program, "docker-compose is not on PATH; run scripts/services install"
    runtimeimg("export", made.layout, "--to", "compose", code=2)
    ways = (
        [made.local],
        [f"docker-daemon:{made.local}"],
        [f"docker://{made.pushed}"],
        [made.layout, "--image", made.local],
    )
    file = tmp_path / "compose.yaml"
    compose = [program, "-p", f"{PREFIX}-names", "-f", str(file)]
    for way in ways:
        file.write_text(runtimeimg("export", *way, "--to", "compose", "--no-context")[0])
        subprocess.run([*compose, "up", "-d"], check=True, capture_output=True, timeout=300)
        try:
            answers()
        finally:
            subprocess.run([*compose, "down", "-v", "-t", "1"], check=True, capture_output=True, timeout=300)
    subprocess.run(["docker", "rmi", made.pushed], check=True, capture_output=True)


@pytest.mark.engine
@pytest.mark.registry
def test_command_lines_start_an_image_of_every_transport(made: Made, tmp_path: Path) -> None:
    def started(script: str) -> None:
        subprocess.run(["/bin/sh", "-c", script], check=True, capture_output=True, timeout=300, cwd=tmp_path)
        try:
            answers()
        finally:
            subprocess.run(["docker", "rm", "--force", f"{PREFIX}-lines"], check=True, capture_output=True)

    own = ["--no-context", "--name", f"{PREFIX}-lines"]
    for way in ([made.local], [f"docker://{made.pushed}"], [made.layout, "--image", made.local]):
        line = runtimeimg("export", *way, "--to", "docker", *own)[0]
        started(line.replace("docker run", "docker run --detach"))
    said = runtimeimg("run", "--dry-run", "--detach", *own, made.layout)[0]
    assert said.startswith(f"runtimeimg copy {made.layout} docker-daemon:localhost/names:1\n")
    assert " localhost/names:1" in said.splitlines()[-1]
    subprocess.run(["docker", "rmi", made.pushed], check=True, capture_output=True)
