"""Images on the Engine and runs of the command line, for the tests of `run` on a real Engine."""

import io
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import docker
import pytest

from runtimeimg import stamp
from runtimeimg.image import Image
from runtimeimg.oci import Location
from runtimeimg.run.bodies import RUN_LABEL
from runtimeimg.runtimegraph import RuntimeGraph
from runtimeimg.stores import StoreOptions
from runtimeimg.stores.engine.images import DaemonDestination, DaemonSource

PREFIX = "runtimeimg-run-test"
COMMAND = [sys.executable, "-m", "runtimeimg"]


PATIENCE = 120.0  # seconds until what should happen counts as not happening: a busy machine takes its time


def runtimeimg(*arguments: str | Path, cwd: Path | None = None, code: int = 0, stdin: bytes = b"") -> tuple[str, str]:
    """Run the command line to its end and return its two outputs."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, cwd=cwd, input=stdin, check=False, timeout=300
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == code, f"{arguments} ended with {done.returncode}:\n{out}{err}"
    return out, err


class Running:
    """A `runtimeimg run` in the foreground, its outputs in files of `folder`."""

    def __init__(self, folder: Path, *arguments: str, cwd: Path | None = None) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [*COMMAND, "run", *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def until(self, condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        """Wait until `condition` is true, and return what it returned; fail when the run ends before."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.out}{self.err}"
            assert time.monotonic() < deadline, f"not in {seconds} s:\n{self.out}{self.err}"
            time.sleep(0.05)
        return found

    def url(self, service: str) -> str:
        """The URL that the table of services prints."""

        def row() -> list[list[str]]:
            return [line.split() for line in self.err.splitlines() if line.split()[:1] == [service]]

        return str(self.until(row)[0][2])

    def fetch(self, url: str) -> str:
        """What the URL answers, as soon as it does."""
        return str(self.until(lambda: fetch(url)))

    def ends(self, seconds: float = PATIENCE) -> int:
        """Wait for the end and return the exit code."""
        return self.process.wait(seconds)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def fetch(url: str) -> str | None:
    """What a URL answers, None while nothing does."""
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=5) as answer:
            text: str = answer.read().decode()
    except OSError:
        return None
    return text


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts runs in an empty directory, and ends what is left of them."""
    started: list[Running] = []

    def start(*arguments: str, cwd: Path | None = None) -> Running:
        folder = tmp_path / f"run-{len(started)}"
        empty = folder / "empty"
        empty.mkdir(parents=True)
        started.append(Running(folder, *arguments, cwd=cwd or empty))
        return started[-1]

    yield start
    for run in started:
        run.close()
    runtimeimg("ps")


def busybox_tar(*names: str) -> bytes:
    """A tar of the static busybox under each of `names`, as a program or (`->`) a link to the first."""
    program = shutil.which("busybox")
    assert program, "busybox-static is not installed"
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name in names:
            if "->" in name:
                link, _, target = name.partition("->")
                entry = tarfile.TarInfo(link)
                entry.type, entry.linkname = tarfile.SYMTYPE, target
                archive.addfile(entry)
            else:
                entry = archive.gettarinfo(program, name)
                with Path(program).open("rb") as file:
                    archive.addfile(entry, file)
        for folder in ("tmp", "files"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            archive.addfile(entry)
        entry = tarfile.TarInfo("files/own")
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b"own"))
    return data.getvalue()


@pytest.fixture(scope="session")
def put(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Puts an image into the Engine: a base of the Engine's with another config and stamp; removed at the end."""
    client = docker.from_env()
    options = StoreOptions(environ={})
    made: list[str] = []

    def make(name: str, base: str, graph: RuntimeGraph | None = None, **config: Any) -> str:
        supervise = config.pop("supervise", True)
        image: Image = DaemonSource(Location.parse(base), options).open()
        image = image.with_config(image.config.with_config(**config))
        stamped = stamp.apply(image, stamp.Stamp(graph=graph, supervise=supervise))
        tag = f"{PREFIX}/{name}:1"
        made.append(tag)
        DaemonDestination(Location.parse(tag), options).write(stamped)
        return tag

    yield make
    for tag in dict.fromkeys(made):
        client.images.remove(tag, force=True)
    client.close()


def _imported(data: bytes, name: str) -> str:
    tag = f"{PREFIX}/{name}"
    subprocess.run(["docker", "import", "-", f"{tag}:1"], input=data, check=True, capture_output=True)
    return f"{tag}:1"


@pytest.fixture(scope="session")
def tiny() -> Iterator[str]:
    """A base with a busybox shell."""
    name = _imported(busybox_tar("bin/busybox", *(f"bin/{item}->busybox" for item in APPLETS)), "tiny")
    yield name
    subprocess.run(["docker", "rmi", "-f", name], check=True, capture_output=True)


APPLETS = (
    "sh",
    "sleep",
    "cat",
    "echo",
    "ls",
    "touch",
    "env",
    "kill",
    "stty",
    "printf",
    "tr",
    "id",
    "pwd",
    "test",
    "nc",
)


@pytest.fixture(scope="session")
def bare() -> Iterator[str]:
    """A base of two static programs and no shell."""
    name = _imported(busybox_tar("bin/busybox-main", "bin/busybox-helper"), "bare")
    yield name
    subprocess.run(["docker", "rmi", "-f", name], check=True, capture_output=True)


def ours(engine: docker.APIClient) -> list[dict[str, Any]]:
    """The containers of runs, whatever their state."""
    found: list[dict[str, Any]] = engine.containers(all=True, filters={"label": RUN_LABEL})
    return found


@pytest.fixture
def leaves_no_run(engine: docker.APIClient) -> Iterator[None]:
    """Fail a test that leaves a container of a run, a network or a volume."""

    def there() -> set[str]:
        volumes = {item["Name"] for item in engine.volumes()["Volumes"] or ()}
        return volumes | {item["Id"] for item in [*ours(engine), *engine.networks()]}

    before = there()
    yield
    assert there() - before == set()
