"""How long it takes to choose from a large index, and to check many images on many hosts; growth beside it.

    .venv/bin/python benchmarks/choosing.py

Every host differs from every other in what it has, so that few can be judged together. Times are medians; the checks
run in processes of their own, whose peak memory is told.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from runtimeimg.oci import Descriptor, Digest, Index, Platform
from runtimeimg.oci.mediatypes import OCI_MANIFEST

ROOT = Path(__file__).parent.parent
RUNS = 7
ENTRIES = (1250, 2500, 5000, 10_000)
FLEETS = ((250, 1000), (500, 1000), (1000, 250), (1000, 500), (1000, 1000))
CHOICE_LIMIT = 0.2
FLEET_LIMIT, MEMORY_LIMIT = 10.0, 300.0
MODELS = ("A100", "H100", "L40S", "T4", "V100")


def index(entries: int) -> Index:
    """An index of entries for a few platforms, a fifth of them annotated."""
    names = [
        Platform.parse(text) for text in ("linux/amd64", "linux/amd64/v3", "linux/arm64", "linux/s390x", "linux/386")
    ]
    return Index.of(
        Descriptor(
            media_type=OCI_MANIFEST,
            digest=Digest.of(str(number).encode()),
            size=7143,
            platform=names[number % 5],
            annotations={"com.example.gpu": f"model-{number % 97}"} if number % 3 == 0 else {},
        )
        for number in range(entries)
    )


def layout(folder: Path, entries: int) -> str:
    """A layout that holds the index and nothing else."""
    found = index(entries)
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    (blobs / found.digest.encoded).write_bytes(found.raw)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_bytes(Index.of([found.descriptor]).raw)
    return f"oci:{folder}"


def process(*args: str) -> float:
    """Wall time of one command."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "runtimeimg", *args], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def choice(entries: int) -> tuple[float, float]:
    """Seconds of `index select` on an index of so many entries, and how much of them one of two entries takes too."""
    options = (
        "--platform",
        "linux/amd64/v3",
        "--prefer",
        "com.example.gpu=model-5:10",
        "--prefer",
        "com.example.gpu=model-9*",
    )
    with tempfile.TemporaryDirectory(prefix="runtimeimg-bench-") as folder:
        large, small = layout(Path(folder) / "large", entries), layout(Path(folder) / "small", 2)
        times = [
            (process("index", "select", large, *options), process("index", "select", small, *options))
            for _ in range(RUNS + 1)
        ][1:]
    return statistics.median(one for one, _ in times), statistics.median(two for _, two in times)


def fleet(images: int, hosts: int) -> None:
    """Check so many images on so many hosts, all different, and print seconds, MiB and the number of choices."""
    from runtimeimg.selection import mapping
    from runtimeimg.selection.candidates import candidates
    from runtimeimg.selection.criteria import Criteria
    from runtimeimg.selection.fleet import Fleet
    from runtimeimg.selection.hosts import Host
    from runtimeimg.selection.platforms import PlatformOrder

    machines = [
        Host(
            name=f"host-{number}",
            platform=Platform.parse(f"linux/amd64/v{1 + number % 4}" if number % 5 else "linux/arm64"),
            facts={
                "cpu.level": (f"v{1 + number % 4}",),
                "gpu.vendor": ("nvidia",),
                "gpu.model": (f"NVIDIA {MODELS[number % 5]}",),
                "cuda.driver.version": (f"{11 + number % 3}.{number % 10}",),
                "gpu.driver.version": (f"{450 + number % 150}.{number}",),
                "kernel.version": (f"{5 + number % 2}.{number % 20}.{number}",),
            },
        )
        for number in range(hosts)
    ]
    documents = [_image(number).raw for number in range(images)]
    began = time.perf_counter()
    asked = []
    for host in machines:
        required, preferred = mapping.wishes(host)
        asked.append(Criteria(platforms=PlatformOrder(host.platform), requirements=required, preferences=preferred))
    judged, told = Fleet(asked), 0
    kept = []
    for raw in documents:
        outcomes = judged.outcomes(candidates(Index(raw, "application/vnd.oci.image.index.v1+json")))
        told += sum(len(item.hosts) for item in outcomes)
        kept.append(outcomes)
    seconds = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "memory": memory, "told": told, "outcomes": sum(map(len, kept))}))


def _image(number: int) -> Index:
    """An index of eight entries: generic ones, a level, two cards, a kernel."""
    space = "dev.runtimeimg"
    kinds = [
        ("linux/amd64", {}),
        ("linux/amd64/v3", {}),
        ("linux/arm64", {}),
        ("linux/amd64", {f"{space}.cpu.level": f"v{2 + number % 3}"}),
        ("linux/amd64", {f"{space}.gpu.vendor": "nvidia", f"{space}.gpu.model": f"NVIDIA {MODELS[number % 5][:2]}*"}),
        ("linux/amd64", {f"{space}.gpu.vendor": "nvidia", f"{space}.cuda": f">={11 + number % 3}.{number % 7}"}),
        ("linux/amd64", {f"{space}.gpu.vendor": "amd"}),
        ("linux/amd64", {f"{space}.gpu.driver": f">={460 + number % 140}", f"{space}.kernel": f">=5.{number % 20}"}),
    ]
    return Index.of(
        Descriptor(
            media_type=OCI_MANIFEST,
            digest=Digest.of(f"{number} {place}".encode()),
            size=7143,
            platform=Platform.parse(platform),
            annotations=annotations,
        )
        for place, (platform, annotations) in enumerate(kinds)
    )


def main() -> int:
    """Print the tables; return 1 when a figure is over its limit."""
    over = False
    print("| entries | `index select` s | beyond two entries s |\n| --- | --- | --- |")
    for entries in ENTRIES:
        whole, start = choice(entries)
        print(f"| {entries} | {whole:.3f} | {whole - start:.3f} |")
        over |= entries == ENTRIES[-1] and whole - start > CHOICE_LIMIT
    print("\n| images | hosts | s | microseconds each | MiB |\n| --- | --- | --- | --- | --- |")
    for images, hosts in FLEETS:
        done = subprocess.run(
            [sys.executable, __file__, "fleet", str(images), str(hosts)], capture_output=True, text=True, check=True
        )
        found = json.loads(done.stdout)
        each = found["seconds"] / images / hosts * 1e6
        print(f"| {images} | {hosts} | {found['seconds']:.2f} | {each:.2f} | {found['memory']:.0f} |")
        over |= found["seconds"] > FLEET_LIMIT or found["memory"] > MEMORY_LIMIT
    return int(over)


if __name__ == "__main__":
    if sys.argv[1:2] == ["fleet"]:
        fleet(int(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(main())
