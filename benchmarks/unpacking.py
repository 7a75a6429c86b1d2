"""A bundle of the benchmark's builder image, by runtimeimg and by its peers: `make bench-unpack`.

From a layout already on the disk `runtimeimg bundle` stands beside `umoci unpack` and `umoci raw unpack` (which makes
the root file system alone); from the registry beside `skopeo copy` to a layout and `umoci unpack` of that. Tools take
turns, each on a disk that has nothing left to write, so that a change of the machine's speed touches all of them; the
bundles are compared once. Seconds are of whole processes, memory is the largest one's. All that is made stays up to the
end, as ext4 is slow at making files when as many were removed in the minutes before.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import report
from images import prepare
from peers import ROOT, SETTLE, Sample, finished
from scenes import REGISTRY

IMAGE = "builder:1"
PROGRAMS = ("umoci", "skopeo")
LAYOUT, REMOTE = "from a layout", "from the registry"
SPACE = 2_000_000_000
"""Bytes of disk for one bundle and what is on the way to it."""
RATIO = 1.5
"""How many times as fast as each peer this is to be."""


def ways(folder: Path, place: Path) -> Mapping[str, Mapping[str, Sequence[Sequence[str]]]]:
    """The commands of each tool in each scene: `bundle` is made in `place`, and `copied`, a layout on the way."""
    ours = [sys.executable, "-m", "runtimeimg", "bundle"]
    layout, copied, bundle = f"oci:{folder}/layout:1", f"oci:{place}/copied:1", str(place / "bundle")
    remote = f"docker://{REGISTRY}/benchmark/{IMAGE}"
    copy = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", remote, copied]
    return {
        LAYOUT: {
            "runtimeimg": [[*ours, layout, bundle]],
            "umoci": [["umoci", "unpack", "--image", layout.removeprefix("oci:"), bundle]],
            "umoci raw": [["umoci", "raw", "unpack", "--image", layout.removeprefix("oci:"), bundle]],
        },
        REMOTE: {
            "runtimeimg": [[*ours, remote, bundle]],
            "skopeo, umoci": [copy, ["umoci", "unpack", "--image", copied.removeprefix("oci:"), bundle]],
        },
    }


def measured(folder: Path, scene: str, tool: str) -> tuple[Sample, Path]:
    """Run the commands of a tool on a settled disk; return the figures and where the bundle is."""
    place = Path(tempfile.mkdtemp(dir=folder))
    commands = ways(folder, place)[scene][tool]
    os.sync()
    time.sleep(SETTLE)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.perf_counter()
    peaks = [finished(command, environment) for command in commands]
    return Sample(seconds=time.perf_counter() - began, peak_mib=max(peaks)), place / "bundle"


def listing(root: Path) -> list[str]:
    """Types, modes, owners, times, links and sizes of all that is below a folder."""
    form = r"%P\0%y %m %U %G %T@ %n %s %l\0"
    found = subprocess.run(["find", str(root), "-printf", form], capture_output=True, check=True).stdout
    parts = found.decode(errors="surrogateescape").split("\0")
    return sorted(f"{name}: {what}" for name, what in zip(parts[::2], parts[1::2], strict=False) if " d " not in name)


def compare(folder: Path) -> int:
    """Return how many files are in the bundle, which has to be the same by both."""
    found = {tool: listing(measured(folder, LAYOUT, tool)[1] / "rootfs") for tool in ("runtimeimg", "umoci")}
    if found["runtimeimg"] != found["umoci"]:
        differ = set(found["runtimeimg"]) ^ set(found["umoci"])
        sys.exit(f"the bundles differ: {sorted(differ)[:10]}")
    return len(found["umoci"])


def main() -> None:
    """Prepare, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    if missing := [name for name in PROGRAMS if not shutil.which(name)]:
        sys.exit(f"not there: {', '.join(missing)}")
    needed = (5 * options.runs + 3) * SPACE
    if (free := shutil.disk_usage(tempfile.gettempdir()).free) < needed:
        sys.exit(f"{needed / 1e9:.0f} GB of disk are needed, {free / 1e9:.0f} are free")
    if reason := prepare({IMAGE}, make=True):
        sys.exit(str(reason))
    results: dict[str, dict[str, list[Sample]]] = {LAYOUT: {}, REMOTE: {}}
    with tempfile.TemporaryDirectory(prefix="runtimeimg-bench-") as name:
        folder = Path(name)
        copy = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", f"docker://{REGISTRY}/benchmark/{IMAGE}"]
        subprocess.run([*copy, f"oci:{folder}/layout:1"], check=True)
        files = compare(folder)
        for number in range(options.runs):
            for scene, tools in ways(folder, folder).items():
                for tool in tools:
                    sample, _ = measured(folder, scene, tool)
                    results[scene].setdefault(tool, []).append(sample)
                    print(f"run {number + 1}: {tool} {scene}: {sample.seconds:.2f} s", file=sys.stderr, flush=True)
    print("\n".join(rows(results)))
    print(f"\n{files} files; the bundles are the same.")
    if slow := [f"{tool} {scene}" for scene, tool in too_close(results)]:
        sys.exit(f"not {RATIO} times as fast as {', '.join(slow)}")


def rows(results: report.Results) -> list[str]:
    """Return a table: seconds, the median of the pairs' ratios, memory."""
    body = []
    for scene, tools in results.items():
        for tool, samples in tools.items():
            peak = report.median(samples, lambda sample: sample.peak_mib)
            body.append([scene, tool, report.spread(samples), f"{ratio(tools, tool):.1f}", f"{peak:.0f}"])
    return report.rows("scene | tool | s (lowest-highest) | times runtimeimg's | peak MiB", body)


def ratio(tools: Mapping[str, list[Sample]], tool: str) -> float:
    """Return how many times as long a tool took as runtimeimg, the median over the runs."""
    pairs = zip(tools[tool], tools["runtimeimg"], strict=True)
    return statistics.median(theirs.seconds / ours.seconds for theirs, ours in pairs)


def too_close(results: report.Results) -> list[tuple[str, str]]:
    """Return scenes and peers that are not slow enough beside this."""
    return [
        (scene, tool)
        for scene, tools in results.items()
        for tool in tools
        if tool != "runtimeimg" and ratio(tools, tool) < RATIO
    ]


if __name__ == "__main__":
    main()
