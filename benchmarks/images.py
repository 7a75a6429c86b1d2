"""The images of the benchmark, in the local registry; each is made when a scene needs it."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peers import MANIFESTS, ROOT, BuildKitDaemon, Native
from scenes import REGISTRY

HERE = ROOT / "benchmarks"
LODASH = ('"lodash": "4.17.21"', '"lodash": "4.17.20"')
"""What a changed dependency is."""
DOCKERFILES = {
    "base:1": ("Dockerfile.base", 1),
    "base:apart": ("Dockerfile.base", 2),
    "builder:1": ("Dockerfile.builder", 1),
    "builder:2": ("Dockerfile.builder", 2),
    "builder:dependency": ("Dockerfile.builder", 2),
}
"""File and release of what Docker builds, in this order."""
LARGE = 5_000_000_000
LARGE_DISK = 6 * LARGE  # the file, the builder's layer and the new one in the registry, kept blobs, the daemon's rest
BLOCK = 1 << 20
WORDS = [f"{number * 2654435761 % (1 << 24):x}" for number in range(4096)]
"""What text is made of."""


def prepare(needed: set[str], *, make: bool) -> dict[str, str]:
    """Make and push the images that are needed; return those that cannot be had, each with the reason.

    Without `make` what the registry has is taken as it is, and what it has not cannot be had.
    """
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if "big:1" in needed and free < LARGE_DISK:
        reason = f"{LARGE_DISK / 1e9:.0f} GB of disk are needed, {free / 1e9:.0f} are free"
        return {"big:1": reason, **prepare(needed - {"big:1"}, make=make)}
    if not make:
        return {image: "it is not in the registry" for image in sorted(needed) if not config(image)}
    by_docker(image for image in DOCKERFILES if image in needed | {"base:1", "builder:1"})
    makers: dict[str, Callable[[], str]] = {
        "builder-estargz:1": estargz,
        "builder-chunked:1": chunked,
        "big:1": big,
    }
    reasons = {image: make() for image, make in makers.items() if image in needed}
    return {image: reason for image, reason in reasons.items() if reason}


def by_docker(names: Iterable[str]) -> None:
    """Build images with the Engine, which keeps their layers, and push them."""
    server, package = ((HERE / "app" / name).read_text() for name in ("server.js", "package.json"))
    with tempfile.TemporaryDirectory(prefix="runtimeimg-bench-") as folder:
        context = Path(folder)
        for name in names:
            dockerfile, release = DOCKERFILES[name]
            (context / "server.js").write_text(server.replace("release: 1", f"release: {release}"))
            changed = package.replace(*LODASH) if name.endswith(":dependency") else package
            (context / "package.json").write_text(changed)
            image = f"{REGISTRY}/benchmark/{name}"
            command = ["docker", "build", "--quiet", "--network", "host", "--build-arg", f"RELEASE={release}"]
            command += ["-t", image, "-f", str(HERE / dockerfile), folder]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            subprocess.run(["docker", "push", "--quiet", image], check=True, stdout=subprocess.DEVNULL)


def estargz() -> str:
    """Make the builder image with layers in eStargz by BuildKit; return why not, if so."""
    if same_history("builder-estargz:1", "builder:1"):
        return ""
    if absent := BuildKitDaemon.missing():
        return f"{' and '.join(absent)} name no program that makes eStargz"
    with temporary() as folder, BuildKitDaemon(folder) as tool:
        (folder / "Dockerfile").write_text(f"FROM {REGISTRY}/benchmark/builder:1\n")
        options = "push=true,compression=estargz,force-compression=true,oci-mediatypes=true"
        command = [os.environ["BUILDCTL"], "--addr", tool.socket, "build", "--progress", "quiet"]
        command += ["--frontend", "dockerfile.v0", "--local", f"context={folder}", "--local", f"dockerfile={folder}"]
        command += ["--output", f"type=image,name={REGISTRY}/benchmark/builder-estargz:1,{options}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return ""


def chunked() -> str:
    """Make the builder image with layers in zstd:chunked by skopeo; return why not, if so."""
    if same_history("builder-chunked:1", "builder:1"):
        return ""
    if not shutil.which("skopeo"):
        return "there is no skopeo, which makes zstd:chunked"
    with temporary() as folder:
        # To a layout first: a registry that has the layer as gzip would be told to use that.
        copy = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"]
        source, target = (f"docker://{REGISTRY}/benchmark/{name}:1" for name in ("builder", "builder-chunked"))
        between = f"oci:{folder}/layout:1"
        subprocess.run([*copy, "--dest-compress-format", "zstd:chunked", source, between], check=True)
        subprocess.run([*copy, between, target], check=True)
    return ""


def big() -> str:
    """Make an image with one file of 5 GB, half noise and half text."""
    if config("big:1"):
        return ""
    with temporary() as folder:
        (folder / "big").mkdir()
        with (folder / "big" / "file").open("wb") as out:
            for block in blocks(LARGE):
                out.write(block)
        compose(folder, "big:1", ["/big"])
    return ""


def blocks(size: int, seed: int = 1, block: int = BLOCK) -> Iterator[bytes]:
    """Yield `size` bytes, always the same ones for a seed: blocks of noise up to the middle, then of lines of text."""
    numbers = random.Random(seed)
    for at in range(0, size, block):
        length = min(block, size - at)
        yield numbers.randbytes(length) if at < size // 2 else text(numbers, length)


def text(numbers: random.Random, size: int) -> bytes:
    """Return lines of words."""
    lines: list[str] = []
    have = 0
    while have < size:
        lines.append(" ".join(numbers.choices(WORDS, k=512)) + "\n")
        have += len(lines[-1])
    return "".join(lines).encode()[:size]


def compose(files: Path, name: str, directories: list[str]) -> None:
    """Make an image of a local folder with runtimeimg itself, a layer for each of the folders, and push it."""
    document = {
        "apiVersion": "runtimeimg.dev/v1",
        "kind": "Build",
        "metadata": {"name": "benchmark"},
        "spec": {
            "builder": {"image": f"dir:{files}"},
            "output": {"image": f"{REGISTRY}/benchmark/{name}"},
            "runtime": {"base": {"image": "scratch"}, "directories": directories},
        },
    }
    with temporary() as folder:
        spec = folder / "build.yaml"
        spec.write_text(json.dumps(document))
        command = [sys.executable, "-m", "runtimeimg", "build", str(spec), "--builder", "native", "--layers", "copy"]
        command += ["-t", f"{REGISTRY}/benchmark/{name}", "--push", "--progress", "quiet"]
        subprocess.run(command, env=Native(folder).environment(), check=True, stdout=subprocess.DEVNULL)


@contextmanager
def temporary() -> Iterator[Path]:
    """Give a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="runtimeimg-bench-") as folder:
        yield Path(folder)


def same_history(one: str, other: str) -> bool:
    """Tell whether two images come of the same build, whatever their layers are packed by."""
    first, second = config(one), config(other)
    return bool(first) and first.get("history") == second.get("history")


def config(image: str) -> dict[str, Any]:
    """Return the config of an image of the benchmark, empty when the registry does not have it."""
    repository, _, tag = image.partition(":")
    try:
        manifest = json.loads(fetched(f"{repository}/manifests/{tag}"))
        found: dict[str, Any] = json.loads(fetched(f"{repository}/blobs/{manifest['config']['digest']}"))
    except urllib.error.HTTPError:
        return {}
    return found


def layer_bytes(image: str) -> int:
    """Return the bytes of the layers of an image of the benchmark, as stored."""
    repository, _, tag = image.partition(":")
    return sum(layer["size"] for layer in json.loads(fetched(f"{repository}/manifests/{tag}"))["layers"])


def fetched(path: str) -> bytes:
    """Fetch a document below the benchmark's repositories."""
    request = urllib.request.Request(f"http://{REGISTRY}/v2/benchmark/{path}", headers={"Accept": MANIFESTS})
    with urllib.request.urlopen(request) as response:
        return bytes(response.read())
