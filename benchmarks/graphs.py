"""How long a configuration graph takes to build, to ask and to place, and how that grows: `make bench-graph`.

    .venv/bin/python benchmarks/graphs.py [--sizes 1000 10000 100000] [--runs 3] [--out docs/plots]

For each number of automatons there are a hundredth of artefacts (an OCI layout each) and a tenth of hosts, at least ten
of both and at most 1,000 hosts.
Whole processes are timed; what a question takes on a graph of three automatons is its start-up, and is told apart.
Placement is of up to 10,000 instances. With --out writes `graph-growth.svg` and the figures beside it as JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from svg import Line, Plot, drawn

ROOT = Path(__file__).parent.parent
SIZES = (1000, 10_000, 100_000)
BASES = 10
HOSTS, PLACED = 1000, 10_000
LIMITS = {"build": 20.0, "params": 0.3, "closure": 0.3, "impact": 0.3, "place": 10.0}
"""Seconds at the largest size; of questions beyond start-up, of placement at 10,000 instances."""
MEMORY_LIMIT = 1500.0
"""MiB of a build at the largest size."""
QUESTIONS = ("params", "closure", "closure of a host", "impact of a layer", "impact of a base")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Seconds and MiB of one process; of several runs the median, and the lowest and highest seconds."""

    seconds: float
    low: float
    high: float
    memory: float

    @classmethod
    def of(cls, runs: Sequence[tuple[float, float]]) -> Figures:
        seconds = [one for one, _ in runs]
        return cls(
            seconds=statistics.median(seconds), low=min(seconds), high=max(seconds), memory=max(two for _, two in runs)
        )


class Images:
    """OCI layouts of images that share the layers of a few bases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bases = [self._image(f"base-{number}", [f"base {number}"]) for number in range(BASES)]

    def application(self, number: int) -> str:
        """Write an image on one of the bases, and return where it is."""
        base = number % BASES
        return self._image(f"app-{number}", [f"base {base}", f"lib {number // 3}", f"app {number}"], self.bases[base])

    def digest(self, name: str) -> str:
        """Return the digest of an image."""
        index = json.loads((self.folder / name / "index.json").read_text())
        return str(index["manifests"][0]["digest"])

    def _image(self, name: str, layers: list[str], base: str = "") -> str:
        place = self.folder / name
        blobs = place / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        said = {"org.opencontainers.image.base.digest": self.digest(Path(base).name.split(":")[0])} if base else {}
        ids = [f"sha256:{hashlib.sha256(text.encode()).hexdigest()}" for text in layers]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Entrypoint": ["/bin/app"], "WorkingDir": "/srv", "Labels": said},
            "rootfs": {"type": "layers", "diff_ids": ids},
        }
        kind = "application/vnd.oci.image"
        listed = [
            {"mediaType": f"{kind}.layer.v1.tar+gzip", "digest": digest, "size": 1_000_000 + number}
            for number, digest in enumerate(ids)
        ]
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{kind}.manifest.v1+json",
            "config": self._blob(blobs, config, f"{kind}.config.v1+json"),
            "layers": listed,
        }
        entry = self._blob(blobs, manifest, f"{kind}.manifest.v1+json")
        (place / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        named = {**entry, "annotations": {"org.opencontainers.image.ref.name": "1"}}
        (place / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
        return f"oci:{place}:1"

    def _blob(self, blobs: Path, data: dict[str, object], kind: str) -> dict[str, object]:
        raw = json.dumps(data).encode()
        digest = hashlib.sha256(raw).hexdigest()
        (blobs / digest).write_bytes(raw)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(raw)}


HEAD = "apiVersion: runtimeimg.dev/v1\n"


def documents(folder: Path, automatons: int) -> None:
    """Write the documents of a graph, a thousand a file, and the images that they are about."""
    folder.mkdir(parents=True)
    others = max(BASES, automatons // 100)
    images = Images(folder / "images")
    texts = [f"kind: Artefact\nname: base-{number}\nimage: {place}\n" for number, place in enumerate(images.bases)]
    texts += [f"kind: Artefact\nname: app-{number}\nimage: {images.application(number)}\n" for number in range(others)]
    _write(folder / "artefacts", texts)
    hosts = max(BASES, min(HOSTS, automatons // 10))
    _write(folder / "hosts", [_host(number, images) for number in range(hosts)])
    _write(folder / "automatons", [_automaton(number, others) for number in range(automatons)])


def _write(place: Path, texts: list[str]) -> None:
    for at in range(0, len(texts), 1000):
        text = "---\n".join(f"{HEAD}{text}" for text in texts[at : at + 1000])
        place.with_name(f"{place.name}-{at // 1000:03}.yaml").write_text(text)


def _host(number: int, images: Images) -> str:
    return (
        f"kind: Host\nname: host-{number}\nplatform: linux/amd64\n"
        f"facts: {{zone: z{number % 7}, kernel.version: 6.{number % 9}.{number % 4}}}\n"
        f"resources: {{cpu: '64', memory: 256Gi}}\nimages: [{images.bases[number % BASES]}]\n"
    )


def _automaton(number: int, others: int) -> str:
    text = (
        f"kind: Automaton\nname: automaton-{number}\nartefact: app-{number % others}\n"
        f"process:\n  env: {{LOG: info, SHARD: '{number}'}}\n"
        f"resources: {{cpu: {(1 + number % 8) * 100}m, memory: {128 << number % 4}Mi}}\n"
    )
    if number % 5 == 0:
        text += f"ports: [{{port: 8080, hostPort: {20_000 + number % 500}}}]\n"
    if number % 4 == 0:
        text += f"placement:\n  prefer: ['zone=z{number % 7}:5']\n  spread: zone\n"
    return text


def process(*args: str | Path) -> tuple[float, float]:
    """Run one command, and return its seconds and MiB."""
    began = time.perf_counter()
    argv = [sys.executable, "-m", "runtimeimg", "graph", *map(str, args)]
    running = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(running.pid, 0)
    running.returncode = os.waitstatus_to_exitcode(status)
    assert running.returncode == 0, (argv, running.returncode)
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def questions(folder: Path, automatons: int) -> dict[str, Callable[[], tuple[float, float]]]:
    """The commands that ask a graph something."""
    graph = ("-g", folder / "graph.json")
    middle = automatons // 2
    layer = f"sha256:{hashlib.sha256(b'lib 1').hexdigest()}"
    return {
        "params": lambda: process("params", f"automaton-{middle}", *graph),
        "closure": lambda: process("closure", f"automaton-{middle}", "--have", "host-1", *graph),
        "closure of a host": lambda: process("closure", "host-1", "--have", "host-2", *graph),
        "impact of a layer": lambda: process("impact", layer, *graph),
        "impact of a base": lambda: process("impact", "base-3", *graph),
    }


def measured(folder: Path, automatons: int, runs: int) -> dict[str, Figures]:
    """Build a graph of so many automatons, ask it, place it."""
    documents(folder / "documents", automatons)
    paths = sorted((folder / "documents").glob("*.yaml"))
    graph = folder / "graph.json"
    found = {"build": Figures.of([process("build", *paths, "-o", graph) for _ in range(runs)])}
    for name, ask in questions(folder, automatons).items():
        found[name] = Figures.of([ask() for _ in range(runs + 1)][1:])
    if automatons <= PLACED:
        placed = ("place", "-g", graph, "-o", folder / "placed.json")
        found["place"] = Figures.of([process(*placed) for _ in range(runs)])
        first = (folder / "placed.json").read_bytes()
        process(*placed)
        assert (folder / "placed.json").read_bytes() == first, "placed otherwise than before"
    return found


def startup(folder: Path, runs: int) -> dict[str, float]:
    """Return the seconds of each question on a small graph."""
    documents(folder / "documents", 3)
    process("build", *sorted((folder / "documents").glob("*.yaml")), "-o", folder / "graph.json")
    asked = questions(folder, 3)
    return {name: statistics.median([ask()[0] for _ in range(runs + 1)][1:]) for name, ask in asked.items()}


def plot(sizes: Sequence[int], found: dict[int, dict[str, Figures]], start: dict[str, float]) -> Plot:
    """Return the seconds over the thousands of automatons."""
    lines = []
    for name in ("build", *QUESTIONS):
        each = [found[size][name] for size in sizes]
        less = start.get(name, 0.0)
        middle, low, high = (
            [round(max(value - less, 0.0), 3) for value in values]
            for values in zip(*((item.seconds, item.low, item.high) for item in each), strict=True)
        )
        lines.append(Line(name=name, middle=middle, low=low, high=high))
    thousands = [size / 1000 for size in sizes]
    return Plot(
        title="A configuration graph: built, and asked beyond start-up",
        x_label="thousands of automatons",
        y_label="s",
        x=thousands,
        lines=lines,
    )


def over(size: int, figures: dict[str, Figures], start: dict[str, float]) -> list[str]:
    """Return what is over its limit."""
    found = []
    for name, item in figures.items():
        limit = LIMITS[name.partition(" ")[0]]
        if item.seconds - start.get(name, 0.0) > limit:
            found.append(f"{name} of {size}: {item.seconds:.2f} s, allowed are {limit} beyond start-up")
    if figures["build"].memory > MEMORY_LIMIT:
        found.append(f"build of {size}: {figures['build'].memory:.0f} MiB, allowed are {MEMORY_LIMIT:.0f}")
    return found


def main() -> int:
    """Print the table, write the plot; return 1 when a figure is over its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, help="folder for the plot and the figures")
    options = parser.parse_args()
    found: dict[int, dict[str, Figures]] = {}
    with tempfile.TemporaryDirectory(prefix="runtimeimg-bench-") as name:
        os.environ["XDG_CACHE_HOME"] = f"{name}/cache"
        start = startup(Path(name) / "small", options.runs)
        print("| automatons | what | s | beyond start-up s | MiB |\n| --- | --- | --- | --- | --- |")
        for size in options.sizes:
            found[size] = measured(Path(name) / str(size), size, options.runs)
            for what, item in found[size].items():
                beyond = f"{item.seconds - start[what]:.2f}" if what in start else ""
                print(f"| {size:,} | {what} | {item.seconds:.2f} | {beyond} | {item.memory:.0f} |", flush=True)
    if options.out is not None:
        made = plot(options.sizes, found, start)
        (options.out / "graph-growth.svg").write_text(drawn(made))
        figures = {str(size): {key: asdict(item) for key, item in each.items()} for size, each in found.items()}
        text = json.dumps({"startup": start, "sizes": figures}, indent=2)
        (options.out / "graph-growth.json").write_text(f"{text}\n")
    wrong = [line for size, figures in found.items() for line in over(size, figures, start)]
    print("\n".join(wrong), file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
