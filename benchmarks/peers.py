"""The tools that are measured, each with a storage of its own that begins empty."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from scenes import REGISTRY, Scene

ROOT = Path(__file__).parent.parent
MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
BRIDGE = "rtimgbench0"
SETTLE = 3.0  # seconds of rest between builds


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One build: wall seconds, peak memory in MiB (of the largest process that was seen), and what was moved."""

    seconds: float
    peak_mib: float
    moved: Mapping[str, int] = field(default_factory=dict)
    """As the tool says."""
    down: int = 0
    """Bytes that the slow link carried from the registry."""
    up: int = 0


class Tool:
    """A tool with a folder for its state; a context, so that what it starts is stopped."""

    programs: ClassVar[Sequence[str]] = ()
    daemon: subprocess.Popen[bytes] | None = None

    def __init__(self, folder: Path, registry: str = REGISTRY) -> None:
        self.folder = folder
        self.registry = registry

    @classmethod
    def missing(cls) -> list[str]:
        """Return what the tool needs and does not find: programs, or variables that name them."""
        return [name for name in cls.programs if not shutil.which(name)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        pass

    def build(self, scene: Scene, target: str) -> Sample:
        """Build the runtime image of a scene and push it as `target`."""
        commands, environment = self.commands(scene, target), self.environment()
        os.sync()  # what the tool before has written or removed is not this one's to wait for
        time.sleep(SETTLE)
        began = time.perf_counter()
        peaks = [finished(command, environment) for command in commands]
        seconds = time.perf_counter() - began
        if self.daemon:
            peaks += [resident(pid) for pid in (self.daemon.pid, *descendants(self.daemon.pid))]
        return Sample(seconds=seconds, peak_mib=max(peaks), moved=self.moved())

    def commands(self, scene: Scene, target: str) -> Sequence[Sequence[str]]:
        """The commands of one build."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Environment of the commands."""
        return {**os.environ}

    def moved(self) -> Mapping[str, int]:
        """What the last build moved, where the tool says so."""
        return {}

    def spec(self, scene: Scene) -> Path:
        """The spec of a scene; it names tags that are moved to the images, as a tag is when it is built anew."""
        text = (ROOT / "benchmarks" / "build.yaml").read_text()
        for name, image in (("builder:1", scene.builder), ("base:1", scene.base)):
            text = text.replace(f"{REGISTRY}/benchmark/{name}", f"{self.registry}/benchmark/{now(image)}")
        path = self.folder / "build.yaml"
        path.write_text(text.replace("directories: [/app]", f"directories: [{', '.join(scene.directories)}]"))
        return path

    def context(self, scene: Scene) -> Path:
        """A folder with the Dockerfile.runtime alone."""
        folder = self.folder / "context"
        folder.mkdir(exist_ok=True)
        render = [sys.executable, "-m", "runtimeimg", "render", str(self.spec(scene))]
        text = subprocess.run(render, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        (folder / "Dockerfile.runtime").write_text(text)
        return folder


class Native(Tool):
    """runtimeimg's own builder."""

    options: Sequence[str] = ()

    def commands(self, scene: Scene, target: str) -> Sequence[Sequence[str]]:
        """Build and push in one."""
        # The others do not look at what they made either.
        command = [sys.executable, "-m", "runtimeimg", "build", str(self.spec(scene)), "--check", "off"]
        command += ["--builder", "native", "-t", target, "--push", *self.options]
        return [[*command, "--progress", "quiet", "--metadata-file", str(self.folder / "metadata.json")]]

    def environment(self) -> dict[str, str]:
        """A cache of its own, and Python as it is installed."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {**kept, "XDG_CACHE_HOME": str(self.folder / "cache"), "PYTHONPATH": str(ROOT)}

    def moved(self) -> Mapping[str, int]:
        """The account of the build."""
        moved: Mapping[str, int] = json.loads((self.folder / "metadata.json").read_text())["moved"]
        return moved


class NativeZstd(Native):
    """The same with layers packed by zstd."""

    options = ("--compression", "zstd")


class NativeIndexed(Native):
    """The same by the index that another machine, which is nearer, has put beside the builder image."""

    options = ("--share-index",)

    def __enter__(self) -> Self:
        registry, self.registry = self.registry, REGISTRY
        self.build(Scene(), f"{REGISTRY}/benchmark/out-index:1")
        self.registry = registry
        shutil.rmtree(self.folder / "cache")
        return self


class Docker(Tool):
    """The classic builder of an Engine of its own."""

    programs = ("dockerd", "/usr/bin/docker", "ip")
    buildkit = "0"

    def __enter__(self) -> Self:
        self.socket = f"unix://{self.folder}/docker.sock"
        command = ["dockerd", "--host", self.socket, "--data-root", str(self.folder / "data")]
        command += ["--exec-root", str(self.folder / "exec"), "--pidfile", str(self.folder / "pid")]
        # A bridge of its own: with `--bridge none` a second Engine would delete the first one's docker0.
        subprocess.run(["ip", "link", "add", BRIDGE, "type", "bridge"], check=True)
        subprocess.run(["ip", "address", "add", "172.31.254.1/24", "dev", BRIDGE], check=True)
        command += ["--bridge", BRIDGE, "--iptables=false"]
        self.daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(100):
            answered = subprocess.run(["docker", "-H", self.socket, "version"], capture_output=True, check=False)
            if answered.returncode == 0:
                return self
            time.sleep(0.2)
        self.daemon.kill()
        sys.exit("a second Docker Engine does not start")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait(60)
        subprocess.run(["ip", "link", "delete", BRIDGE], check=True)
        unmount_below(self.folder)

    def commands(self, scene: Scene, target: str) -> Sequence[Sequence[str]]:
        """Build and push."""
        context = str(self.context(scene))
        # The client of Debian's docker.io has BuildKit built in; a newer one on PATH may not.
        client = ["/usr/bin/docker", "-H", self.socket]
        build = [*client, "build", "--quiet", "-t", target, "-f", f"{context}/Dockerfile.runtime", context]
        return [build, [*client, "push", "--quiet", target]]

    def environment(self) -> dict[str, str]:
        """Which of the Engine's two builders."""
        return {**os.environ, "DOCKER_BUILDKIT": self.buildkit}


class BuildKit(Docker):
    """BuildKit, in an Engine of its own."""

    buildkit = "1"


class BuildKitDaemon(Tool):
    """BuildKit as a daemon of its own, which pushes by itself: the programs `BUILDKITD` and `BUILDCTL` name."""

    output = "push=true"
    link = False

    @classmethod
    def missing(cls) -> list[str]:
        """Return the variables that name no program."""
        return [name for name in ("BUILDKITD", "BUILDCTL") if not shutil.which(os.environ.get(name, ""))]

    def __enter__(self) -> Self:
        self.socket = f"unix://{self.folder}/buildkitd.sock"
        config = self.folder / "buildkitd.toml"
        config.write_text(f'[registry."{self.registry}"]\n  http = true\n[worker.containerd]\n  enabled = false\n')
        command = [os.environ["BUILDKITD"], "--addr", self.socket, "--root", str(self.folder / "root")]
        command += ["--config", str(config), "--oci-worker-net", "host"]
        self.daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        client = [os.environ["BUILDCTL"], "--addr", self.socket, "debug", "workers"]
        for _ in range(100):
            if subprocess.run(client, capture_output=True, check=False).returncode == 0:
                return self
            time.sleep(0.2)
        self.daemon.kill()
        sys.exit("buildkitd does not start")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait(60)
        unmount_below(self.folder)

    def commands(self, scene: Scene, target: str) -> Sequence[Sequence[str]]:
        """Build and push in one."""
        context = self.context(scene)
        if self.link:
            path = context / "Dockerfile.runtime"
            path.write_text(re.sub(r"^COPY ", "COPY --link ", path.read_text(), flags=re.MULTILINE))
        build = [os.environ["BUILDCTL"], "--addr", self.socket, "build", "--progress", "quiet"]
        build += ["--frontend", "dockerfile.v0", "--opt", "filename=Dockerfile.runtime"]
        build += ["--local", f"context={context}", "--local", f"dockerfile={context}"]
        return [[*build, "--output", f"type=image,name={target},{self.output}"]]


class BuildKitLink(BuildKitDaemon):
    """The same with `COPY --link` and layers packed by zstd."""

    output = "push=true,compression=zstd"
    link = True


class Buildah(Tool):
    """buildah, with a storage of its own."""

    programs = ("buildah",)

    def commands(self, scene: Scene, target: str) -> Sequence[Sequence[str]]:
        """Build and push."""
        context = str(self.context(scene))
        buildah = ["buildah", "--root", str(self.folder / "root"), "--runroot", str(self.folder / "run")]
        buildah += ["--storage-driver", "overlay"]
        build = [
            *buildah,
            "bud",
            "--layers",
            "--tls-verify=false",
            "-t",
            target,
            "-f",
            f"{context}/Dockerfile.runtime",
            context,
        ]
        return [build, [*buildah, "push", "--tls-verify=false", target, f"docker://{target}"]]

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        unmount_below(self.folder)


TOOLS: Mapping[str, type[Tool]] = {
    "native": Native,
    "native-zstd": NativeZstd,
    "native-index": NativeIndexed,
    "docker": Docker,
    "buildkit": BuildKit,
    "buildkitd": BuildKitDaemon,
    "buildkitd-link": BuildKitLink,
    "buildah": Buildah,
}


def now(image: str) -> str:
    """Move the tag `now` of an image's repository to it, and return the name with that tag."""
    repository, _, tag = image.partition(":")
    url = f"http://{REGISTRY}/v2/benchmark/{repository}/manifests"
    with urllib.request.urlopen(urllib.request.Request(f"{url}/{tag}", headers={"Accept": MANIFESTS})) as found:
        raw, kind = found.read(), found.headers["Content-Type"]
    put = urllib.request.Request(f"{url}/now", data=raw, method="PUT", headers={"Content-Type": kind})
    urllib.request.urlopen(put).close()
    return f"{repository}:now"


def unmount_below(folder: Path) -> None:
    """Unmount what a tool has left mounted in its folder."""
    mounts = re.findall(rf"^\S+ ({re.escape(str(folder))}\S*)", Path("/proc/mounts").read_text(), re.MULTILINE)
    for mount in sorted(mounts, reverse=True):
        subprocess.run(["umount", mount], check=False)


def finished(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Run a command and return the peak resident set of it and of what it waited for, in MiB."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            sys.exit(f"{command}: {said.read()[-2000:].decode(errors='replace')}")
    return usage.ru_maxrss / 1024


def descendants(parent: int) -> list[int]:
    """Process ids below `parent`."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [parent]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def resident(pid: int) -> float:
    """Peak resident set of a process so far, in MiB; 0 when it is gone."""
    with contextlib.suppress(OSError):
        match = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        if match:
            return int(match[1]) / 1024
    return 0.0
