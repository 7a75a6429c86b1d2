"""Small images and runs of the command line through runc and crun, without an Engine."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compose.images import Item, file, folder, symlink, tar, write_layout

BUSYBOX = Path("/bin/busybox")
APPLETS = (
    "sh",
    "cat",
    "sleep",
    "ls",
    "httpd",
    "id",
    "env",
    "stty",
    "touch",
    "kill",
    "mkdir",
    "wget",
    "false",
    "seq",
    "chown",
    "su",
    "grep",
)
PATIENCE = 120.0


def base(*more: Item) -> list[Item]:
    """A root file system with the static busybox."""
    return [
        folder("bin"),
        file("bin/busybox", BUSYBOX.read_bytes(), 0o755),
        *(symlink(f"bin/{name}", "busybox") for name in APPLETS),
        folder("tmp", 0o1777),
        folder("etc"),
        file("etc/passwd", b"root:x:0:0::/root:/bin/sh\napp:x:7:8::/home/app:/bin/sh\n"),
        file("etc/group", b"root:x:0:\napp:x:8:\n"),
        *more,
    ]


ENV = {"Env": ["PATH=/bin", "A=b"]}
SERVE = ["/bin/httpd", "-f", "-h", "/etc", "-p"]


def images() -> dict[str, tuple[list[bytes], dict[str, Any]]]:
    return {
        "shell": ([tar(base())], {"Cmd": ["/bin/sh"], **ENV}),
        "user": ([tar(base())], {"Cmd": ["/bin/id"], "User": "app", **ENV}),
        "scratch": ([tar([file("cat", BUSYBOX.read_bytes(), 0o755)])], {"Entrypoint": ["/cat"]}),
        "files": ([tar(base(folder("workspace"), folder("workspace/context"), file("workspace/context/own")))], ENV),
        "links": ([tar(base(symlink("etc/resolv.conf", "../tmp/stub"), symlink("workspace", "/tmp")))], ENV),
        "etc": (
            [tar([*base()[:-3], folder("inner"), symlink("etc", "/inner")])],
            {"Cmd": ["/bin/ls", "/inner"], **ENV},
        ),
        "volume": ([tar(base())], {"Cmd": ["/bin/sh"], "Volumes": {"/data": {}}, **ENV}),
        "odd": ([tar(base(symlink("proc", "/tmp")))], {"Cmd": ["/bin/id"], **ENV}),
    }


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What stands before an image's name: `oci:FOLDER:`."""
    folder = tmp_path_factory.mktemp("runtime-images")
    write_layout(folder / "layout", images())
    return f"oci:{folder}/layout:"


class Machine:
    """Runs of one runtime, their state in a folder of the test's own."""

    def __init__(self, runtime: str, folder: Path, place: str) -> None:
        self.runtime = runtime
        self.folder = folder
        self.state = folder / "state"
        self.place = place
        self._started: list[Running] = []

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "runtimeimg", *arguments]

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "RUNTIMEIMG_STATE": str(self.state), "DOCKER_HOST": "unix:///nowhere"}

    def __call__(self, *arguments: str, code: int = 0, stdin: bytes = b"", cwd: Path | None = None) -> tuple[str, str]:
        """Run the command line to its end and return its two outputs."""
        done = subprocess.run(
            self.argv(*arguments), env=self.env, capture_output=True, input=stdin, cwd=cwd, check=False, timeout=300
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert done.returncode == code, f"{arguments} ended with {done.returncode}:\n{out}{err}"
        return out, err

    def run(
        self, image: str, *arguments: str, code: int = 0, stdin: bytes = b"", context: bool = False
    ) -> tuple[str, str]:
        """Run an image to its end."""
        own = () if context else ("--no-context",)
        words = ("run", "--runtime", self.runtime, *own, self.place + image, *arguments)
        return self(*words, code=code, stdin=stdin, cwd=self.folder)

    def start(self, image: str, *arguments: str, **options: Any) -> "Running":
        """Start a run in the foreground."""
        words = self.argv("run", "--runtime", self.runtime, "--no-context", self.place + image, *arguments)
        self._started.append(Running(self, words, self.folder / f"run-{len(self._started)}", **options))
        return self._started[-1]

    def groups(self) -> set[Path]:
        """The control groups of runs that nothing is in: others may be those of another test."""
        found = set()
        for group in (*Path("/sys/fs/cgroup").glob("runtimeimg-*"), *Path("/sys/fs/cgroup").glob("*/runtimeimg-*")):
            with contextlib.suppress(OSError):
                if not (group / "cgroup.procs").read_text():
                    found.add(group)
        return found

    def left(self) -> list[str]:
        """What there is of runs."""
        found = [str(path) for path in self.state.glob("runs/*")] if self.state.exists() else []
        found += [str(path) for path in self.groups()]
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and entry.name != str(os.getpid()):
                try:
                    words = (entry / "cmdline").read_bytes().decode(errors="replace")
                except OSError:
                    continue
                if str(self.state) in words:
                    found.append(f"process {entry.name}: {words}")
        return found + [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(self.state) in line]

    def close(self) -> None:
        for run in self._started:
            run.close()


class Running:
    """A run in the foreground, its outputs in files."""

    def __init__(self, machine: Machine, argv: list[str], folder: Path, **options: Any) -> None:
        folder.mkdir()
        self._out, self._err = folder / "stdout", folder / "stderr"
        streams = {"stdin": subprocess.DEVNULL, **options}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                argv, env=machine.env, cwd=machine.folder, **{"stdout": out, "stderr": err, **streams}
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def until(self, condition: Callable[[], Any]) -> Any:
        """Wait for something to happen, and return it."""
        return wait_for(condition, lambda: self.out + self.err)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self) -> int:
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def wait_for(condition: Callable[[], Any], told: Callable[[], str] = str) -> Any:
    until = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < until, told()
        time.sleep(0.05)
    return found


@pytest.fixture(params=[pytest.param("runc", marks=pytest.mark.runc), pytest.param("crun", marks=pytest.mark.crun)])
def machine(request: pytest.FixtureRequest, tmp_path: Path, place: str) -> Iterator[Machine]:
    """Runs through each of the runtimes; what a test leaves after the next command has looked fails it."""
    made = Machine(request.param, tmp_path, place)
    yield made
    made.close()
    if made.state.exists():
        made("stop", "--all", "-t", "0")
    assert made.left() == []


@pytest.fixture
def runc(tmp_path: Path, place: str) -> Iterator[Machine]:
    """Runs through runc alone, for what does not depend on the runtime."""
    made = Machine("runc", tmp_path, place)
    yield made
    made.close()
    if made.state.exists():
        made("stop", "--all", "-t", "0")
    assert made.left() == []
