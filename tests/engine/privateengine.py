"""A Docker Engine of the tests' own, that may be stopped and killed, and builds on it."""

import io
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import docker
import pytest

from runtimeimg.builders.base import BuildRequest
from runtimeimg.plan import Facts, resolve
from runtimeimg.spec import load_spec_text
from runtimeimg.stores.base import StoreOptions

APPLETS = (
    "sh",
    "sleep",
    "cat",
    "echo",
    "ls",
    "touch",
    "mkdir",
    "dd",
    "env",
    "seq",
    "ln",
    "true",
    "false",
    "id",
    "grep",
)
TINY = "tiny:1"
BARE = "bare:1"


def tar_of(files: dict[str, bytes | str | None], mode: int = 0o755) -> bytes:
    """An archive of files (bytes), symlinks (str) and folders (None)."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.mode = mode
            if content is None:
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
            elif isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return data.getvalue()


class OwnEngine:
    """A dockerd without network, its data in a folder that goes with it.

    `listener` is a socket to listen on besides, which is where it was opened, and `more` are further options.
    """

    def __init__(self, listener: socket.socket | None = None, more: Sequence[str] = ()) -> None:
        self._listener = listener
        self._more = tuple(more)
        # Not pytest's folder: the path of a unix socket must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="runtimeimg-dockerd-"))
        self.url = f"unix://{self.folder}/docker.sock"
        self.options = StoreOptions(environ={"DOCKER_HOST": self.url, "PATH": os.environ["PATH"]})
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # In a network of its own: with --bridge=none dockerd removes docker0, which is the other Engine's.
        argv = [
            *_passing_on(self._listener),
            "unshare",
            "--net",
            "dockerd",
            *self._more,
            "--data-root",
            self.folder / "data",
            "--exec-root",
            self.folder / "exec",
            "-H",
            self.url,
        ]
        argv += ["--pidfile", self.folder / "pid", "--bridge=none", "--iptables=false", "--ip-forward=false"]
        passed = () if self._listener is None else (self._listener.fileno(),)
        with (self.folder / "log").open("ab") as log:
            # Out of our process group: a Ctrl-C on the tests ends it through `close` alone.
            self.process = subprocess.Popen([*argv], stdout=log, stderr=log, start_new_session=True, pass_fds=passed)
        limit = time.monotonic() + 120
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
            assert time.monotonic() < limit, "dockerd did not start"
            time.sleep(0.1)

    def _answers(self) -> bool:
        if not (self.folder / "docker.sock").exists():
            return False
        argv = ["curl", "-sf", "--unix-socket", self.folder / "docker.sock", "http://docker/_ping"]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def client(self) -> docker.APIClient:
        return docker.APIClient(base_url=self.url, version="1.41", timeout=60)

    def signal(self, number: int) -> None:
        assert self.process is not None
        containerd = self.folder / "exec" / "containerd" / "containerd.pid"
        helper = int(containerd.read_text())
        self.process.send_signal(number)
        self.process.wait(60)
        # A dockerd that is killed leaves its containerd behind, which the next one then does not get hold of.
        if number == signal.SIGKILL:
            os.kill(helper, signal.SIGKILL)
            containerd.unlink()

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        for line in reversed([line for line in mounts if str(self.folder) in line]):
            subprocess.run(["umount", "-l", line.split()[1]], check=False)
        shutil.rmtree(self.folder)

    def images(self) -> set[str]:
        """The IDs of all images, those that only others build on among them."""
        with self.client() as client:
            return {image["Id"] for image in client.images(all=True)}

    def dangling(self) -> set[str]:
        with self.client() as client:
            return {image["Id"] for image in client.images(filters={"dangling": True})}

    def containers(self) -> set[str]:
        with self.client() as client:
            return {container["Id"] for container in client.containers(all=True)}

    def volumes(self) -> set[str]:
        with self.client() as client:
            return {volume["Name"] for volume in client.volumes()["Volumes"] or []}

    def add(self, name: str, files: dict[str, bytes | str | None], changes: list[str] | None = None) -> None:
        with self.client() as client:
            repository, tag = name.split(":")
            client.import_image_from_data(tar_of(files), repository, tag, changes=changes)


def _passing_on(listener: socket.socket | None) -> list[str]:
    """The words before a command that hand a socket over to it as systemd does."""
    if listener is None:
        return []
    return ["bash", "-c", f'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" -H fd:// 3<&{listener.fileno()}', "bash"]


def own_engine(listener: socket.socket | None = None, more: Sequence[str] = ()) -> Iterator[OwnEngine]:
    """A running Engine with two images: `tiny:1` (a shell and some files) and `bare:1` (files only)."""
    engine = OwnEngine(listener, more)
    try:
        engine.start()
        applets: dict[str, bytes | str | None] = {f"bin/{name}": "busybox" for name in APPLETS}
        tiny = {"bin/busybox": Path("/bin/busybox").read_bytes(), **applets, "etc/passwd": b"root:x:0:0::/:/bin/sh\n"}
        engine.add(TINY, {**tiny, "tmp": None}, ["ENV PATH=/bin", "VOLUME /data"])
        engine.add(BARE, {"app/a": b"a", "app/sub/b": b"b", "etc/issue": b"issue"})
        yield engine
    finally:
        engine.close()


def request_of(text: str, options: StoreOptions, workspace: Path, **more: Any) -> BuildRequest:
    """A request to build the spec whose `runtime` is `text` (YAML, indented by four)."""
    head = "apiVersion: runtimeimg.dev/v1\nkind: Build\nmetadata: {name: x}\nspec:\n"
    names = "  builder: {image: 'bare:1'}\n  output: {image: 'out:1'}\n  runtime:\n"
    loaded = load_spec_text((head + names + text).encode(), "build.yaml")
    plan = resolve(loaded.spec, Facts())
    return BuildRequest(
        plan=plan, stores=options, workspace=workspace, place=loaded.place, **{"network": "none", **more}
    )


pytestmark = pytest.mark.engine
