"""The same runtime image made by the native builder, docker, BuildKit and buildah, registry to registry.

One command, as root on Debian (services are started by `scripts/services with`):

    make bench

It builds a real builder image and a base, pushes both to the local registry, and then times every tool in each of the
scenes below, one after the other; each run has an Engine or storage of its own, empty at first.
The floor is what one core needs to gunzip and hash the builder's layers and to hash and compress the new layer,
measured in the same run. Ratios are of medians of this run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import peers
from floor import floor, manifest

ROOT = Path(__file__).parent.parent
REGISTRY = "127.0.0.1:5000"
TOOLS = {
    "native": peers.Native,
    "docker": peers.Docker,
    "buildkit": peers.BuildKit,
    "buildah": peers.Buildah,
}
SCENES = {
    "cold": peers.Scene(),
    "unchanged": peers.Scene(),
    "top layer changed": peers.Scene(builder="2"),
    "base changed": peers.Scene(builder="2", base="apart"),
    "other service": peers.Scene(builder="2", base="apart", directories="/usr/share/nodejs"),
}
"""In the order in which they are built."""


def prepare() -> None:
    """Build and push the base, the builder, and the builder with another top layer."""
    here = ROOT / "benchmarks"
    server = (here / "app" / "server.js").read_text()
    with tempfile.TemporaryDirectory(prefix="runtimeimg-bench-") as folder:
        context = Path(folder)
        (context / "package.json").write_text((here / "app" / "package.json").read_text())
        for name, dockerfile, release in (
            ("base:1", "Dockerfile.base", 1),
            ("base:apart", "Dockerfile.base", 2),
            ("builder:1", "Dockerfile.builder", 1),
            ("builder:2", "Dockerfile.builder", 2),
        ):
            text = server.replace("release: 1", f"release: {release}")
            (context / "server.js").write_text(text)
            image = f"{REGISTRY}/benchmark/{name}"
            command = ["docker", "build", "--quiet", "--network", "host", "--build-arg", f"RELEASE={release}"]
            command += ["-t", image, "-f", here / dockerfile, context]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            subprocess.run(["docker", "push", "--quiet", image], check=True, stdout=subprocess.DEVNULL)


def measure(names: list[str], runs: int) -> dict[str, dict[str, list[peers.Sample]]]:
    """Time every tool `runs` times, in turn, so that a change of the machine's speed touches all of them."""
    samples: dict[str, dict[str, list[peers.Sample]]] = {name: {scene: [] for scene in SCENES} for name in names}
    for number in range(runs):
        for name in names:
            with tempfile.TemporaryDirectory(prefix="runtimeimg-bench-") as folder, TOOLS[name](Path(folder)) as tool:
                target = f"{REGISTRY}/benchmark/out-{name}-{Path(folder).name.lower()}"
                for at, (scene, what) in enumerate(SCENES.items()):
                    samples[name][scene].append(tool.build(what, f"{target}:{max(at, 1)}"))
            print(f"run {number + 1}: {name} {samples[name]['cold'][-1].seconds:.2f} s cold", file=sys.stderr)
    return samples


def median(samples: list[peers.Sample], what: str) -> float:
    """Median of one figure."""
    return statistics.median(getattr(sample, what) for sample in samples)


def table(samples: dict[str, dict[str, list[peers.Sample]]], lowest: float) -> str:
    """The result as Markdown."""
    lines = [
        f"| builder | peak MiB, cold | {' | '.join(f'{scene}, s | ratio' for scene in SCENES)} |",
        f"| --- | --- |{' --- | --- |' * len(SCENES)}",
    ]
    native = samples.get("native")
    for name, cases in samples.items():
        cells = [name, f"{median(cases['cold'], 'peak_mib'):.0f}"]
        for scene, several in cases.items():
            seconds = median(several, "seconds")
            cells += [f"{seconds:.2f}", f"{seconds / median(native[scene], 'seconds'):.1f}" if native else ""]
        lines.append(f"| {' | '.join(cells)} |")
    if native:
        ratio = median(native["cold"], "seconds") / lowest
        lines.append(f"\nfloor: {lowest:.2f} s of one core; native cold is {ratio:.2f} times that")
    for name, cases in samples.items():
        for case, several in cases.items():
            if several[-1].moved:
                lines.append(f"\n{name}, {case}: `{json.dumps(several[-1].moved)}`")
    lines.append(f"\nThe builder's layers are {layer_bytes('builder:1')} bytes, the base's {layer_bytes('base:1')}.")
    return "\n".join(lines)


def layer_bytes(name: str) -> int:
    """Bytes of the layers of a benchmark image as stored."""
    repository, _, tag = name.partition(":")
    return sum(layer["size"] for layer in manifest(REGISTRY, f"benchmark/{repository}", tag)["layers"])


def main() -> None:
    """Prepare, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tools", nargs="*", default=list(TOOLS), choices=list(TOOLS))
    options = parser.parse_args()
    prepare()
    samples = measure(options.tools, options.runs)
    lowest = statistics.median(floor(REGISTRY, "benchmark/builder", "1") for _ in range(options.runs))
    print(table(samples, lowest))


if __name__ == "__main__":
    main()
