"""How long it takes to choose from a large index, and to check many images on many hosts; growth beside it.

    .venv/bin/python benchmarks/choosing.py

Whole processes are timed. Every host differs from every other in what it has, so that few can be judged together.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
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


def fleet(images: int, hosts: int) -> tuple[float, float]:
    """Seconds and MiB of `index check` of so many images on so many hosts, all of them different."""
    with tempfile.TemporaryDirectory(prefix="runtimeimg-bench-") as name:
        folder = Path(name)
        (folder / "hosts").mkdir()
        for number in range(hosts):
            (folder / "hosts" / f"host-{number}.yaml").write_text(_host(number))
        blobs, entries = folder / "layout" / "blobs" / "sha256", []
        blobs.mkdir(parents=True)
        for number in range(images):
            found = _image(number)
            (blobs / found.digest.encoded).write_bytes(found.raw)
            tag = {"org.opencontainers.image.ref.name": f"image-{number}"}
            entries.append(replace(found.descriptor, annotations=tag))
        (folder / "layout" / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (folder / "layout" / "index.json").write_bytes(Index.of(entries).raw)
        listed = "".join(f"oci:{folder}/layout:image-{number}\n" for number in range(images))
        (folder / "images").write_text(listed)
        argv = [sys.executable, "-m", "runtimeimg", "index", "check", "--images", str(folder / "images")]
        began = time.perf_counter()
        running = subprocess.Popen([*argv, "--host", str(folder / "hosts")], cwd=ROOT, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
        assert running.returncode == 0, running.returncode
        return time.perf_counter() - began, usage.ru_maxrss / 1024


def _host(number: int) -> str:
    facts = {
        "cpu.level": f"v{1 + number % 4}",
        "gpu.vendor": "nvidia",
        "gpu.model": f"NVIDIA {MODELS[number % 5]}",
        "cuda.driver.version": f"{11 + number % 3}.{number % 10}",
        "gpu.driver.version": f"{450 + number % 150}.{number}",
        "kernel.version": f"{5 + number % 2}.{number % 20}.{number}",
    }
    platform = f"linux/amd64/v{1 + number % 4}" if number % 5 else "linux/arm64"
    return "\n".join([f"platform: {platform}", "facts:", *(f"  {name}: {value}" for name, value in facts.items()), ""])


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
        print(f"| {entries} | {whole:.2f} | {whole - start:.2f} |")
        over |= entries == ENTRIES[-1] and whole - start > CHOICE_LIMIT
    print("\n| images | hosts | `index check` s | microseconds for each pair | MiB |\n| --- | --- | --- | --- | --- |")
    for images, hosts in FLEETS:
        seconds, memory = fleet(images, hosts)
        print(f"| {images} | {hosts} | {seconds:.1f} | {seconds / images / hosts * 1e6:.1f} | {memory:.0f} |")
        over |= seconds > FLEET_LIMIT or memory > MEMORY_LIMIT
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
