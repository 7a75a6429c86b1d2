"""Exported documents are started by podman itself: `podman kube play`, and its systemd generator reads the quadlets.

RUNTIMEIMG_TEST_PODMAN and RUNTIMEIMG_TEST_QUADLET are their command lines, on the images of the engine at hand.
"""

import os
import re
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from onengines import KIND, Cli
from test_features import page

from runtimeimg.export.quadlet import quadlets
from runtimeimg.run import RunPlan
from runtimeimg.run.operated import Bound, Limit, Operated, Volume

pytestmark = [
    pytest.mark.engine,
    pytest.mark.registry,
    pytest.mark.skipif(KIND != "podman", reason="podman's own documents; scripts/test --engines runs them on podman"),
]

Ways = tuple[list[str], ...]


@pytest.fixture
def pushed(cli: Cli, spec: Path, image_name: str, registry: str) -> str:
    """The name in a registry of an image that serves a page; it is in the engine and in a layout, too."""
    name = f"{registry}/engines/{uuid.uuid4().hex}:1"
    served = "trap 'exit 0' TERM; httpd -f -p 8080 -h /srv & wait"  # ends at once, as a first process
    spec.write_text(re.sub(r"entrypoint: .*", f'entrypoint: [sh, -c, "{served}"]', spec.read_text()))
    cli("build", str(spec), "-t", image_name, "--builder", "native")
    cli("copy", f"docker-daemon:{image_name}", f"docker://{name}")
    cli("copy", f"docker-daemon:{image_name}", "oci:layout:1")
    return name


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[[str, int], None]]:
    """Start a pod's document with `podman kube play`, its port at one of this machine."""
    podman = shlex.split(os.environ["RUNTIMEIMG_TEST_PODMAN"])
    played: list[str] = []

    def start(text: str, port: int) -> None:
        document = yaml.safe_load(text)
        played.append(f"engines-{port}")
        document["metadata"]["name"] = played[-1]
        for container in document["spec"]["containers"]:
            for item in container["ports"]:
                item.update(hostPort=port, hostIP="127.0.0.1")  # a cluster has a Service for this
        (tmp_path / "pod.yaml").write_text(yaml.safe_dump(document))
        done = subprocess.run(
            [*podman, "kube", "play", str(tmp_path / "pod.yaml")],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    yield start
    for name in played:
        argv = [*podman, "pod", "rm", "--force", "--time", "1", name]
        subprocess.run(argv, capture_output=True, check=False, timeout=300)


@pytest.mark.feature("export")
def test_kube_play_starts_the_pod(cli: Cli, pushed: str, play: Callable[[str, int], None]) -> None:
    ways = ([f"docker://{pushed}"], ["oci:layout:1", "--image", pushed], [pushed])
    for number, way in enumerate(ways):
        play(cli("export", *way, "--to", "pod").stdout, 18081 + number)
        assert page(18081 + number) == "a page\n"


@pytest.mark.feature("export")
def test_the_generator_makes_services_of_the_quadlets(cli: Cli, pushed: str, image_name: str, tmp_path: Path) -> None:
    generator = shlex.split(os.environ["RUNTIMEIMG_TEST_QUADLET"])
    ways = ([f"docker://{pushed}"], ["oci:layout:1", "--image", pushed], [f"docker-daemon:{image_name}"])
    for way in ways:
        folder = tmp_path / "units"
        cli("export", *way, "--to", "systemd-quadlet", "-o", str(folder))
        environ = {**os.environ, "QUADLET_UNIT_DIRS": str(folder)}
        done = subprocess.run(
            [*generator, "--dryrun"], capture_output=True, text=True, check=False, timeout=60, env=environ
        )
        assert done.returncode == 0, done.stderr
        starts = [line for line in done.stdout.splitlines() if line.startswith("ExecStart=")]
        name = image_name if way[0].startswith("docker-daemon:") else pushed
        assert starts, done.stdout
        assert all(name in line for line in starts)
        shutil.rmtree(folder)


@pytest.mark.feature("export")
def test_the_generator_knows_every_key_of_what_an_operator_wants(pushed: str, tmp_path: Path) -> None:
    wishes = Operated(
        cwd="/srv", uid=1000, gid=2000, groups=(5,), hostname="shop", read_only=True, capabilities=("CAP_KILL",),
        no_new_privileges=True, terminal=True, limits=(Limit(name="nofile", soft=1024, hard=4096),),
        bound=(Bound(target="/etc/shop", source="/srv/conf", read_only=True), Bound(target="/fast")),
        state=(Volume(name="orders", path="/data"),), memory=1 << 20,
    )  # fmt: skip
    plan = RunPlan(
        image=pushed, name="shop", argv=None, args=None, env={}, ports=(), sidecars=(), wrapped=(), context=None,
        volumes=(), user="", restart_daemons=0, notes=(),
    )  # fmt: skip
    for name, text in quadlets(plan, wishes).items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [*shlex.split(os.environ["RUNTIMEIMG_TEST_QUADLET"]), "--dryrun"],
        capture_output=True, text=True, check=False, timeout=60, env={**os.environ, "QUADLET_UNIT_DIRS": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "unsupported key" not in done.stderr
    (start,) = [line for line in done.stdout.splitlines() if line.startswith("ExecStart=") and pushed in line]
    for part in (
        "--user 1000:2000",
        "--hostname shop",
        "--read-only",
        "--cap-drop all",
        "--cap-add",
        "--ulimit nofile",
    ):
        assert part in start, start
