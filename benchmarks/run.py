"""The same runtime image made by the native builder and its peers, registry to registry.

One command, as root on Debian (services are started by `scripts/services with`):

    make bench

It makes real builder images and a base, pushes them to the local registry, and then times every tool in each of the
scenes, one after the other; each run has an Engine or storage of its own, empty at first. A tool takes part when its
programs are there: a standalone BuildKit those that the variables BUILDKITD and BUILDCTL name.
The floor is what one core needs to gunzip and hash the builder's layers and to hash and compress the new layer,
measured in the same run. Ratios are of medians of this run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

import report
from floor import floor
from images import layer_bytes, prepare, temporary
from link import Running
from peers import TOOLS, Sample
from scenes import NAMES, REGISTRY, SERIES, Scene, Series


def asked_for(options: argparse.Namespace) -> list[Series]:
    """Return the series that scenes and tools were chosen of."""
    return [each for each in SERIES if each.until(options.scenes) and each.taking_part(options.tools)]


def possible(options: argparse.Namespace, lacking: Mapping[str, str]) -> list[tuple[Series, dict[str, Scene]]]:
    """Return the series to run with their scenes, but for the scenes that an image is missing for."""
    result = []
    for series in asked_for(options):
        scenes = series.until(options.scenes)
        for name, scene in [*scenes.items()]:
            for image in {scene.builder, scene.base} & lacking.keys():
                said(f"not measured: {name}: no {image}: {lacking[image]}")
                scenes.pop(name, None)
        result.append((series, scenes))
    return [(series, scenes) for series, scenes in result if scenes]


def built(name: str, scenes: Mapping[str, Scene], link: Running | None) -> dict[str, Sample]:
    """Build scenes one after the other with a tool whose storage is empty at first."""
    samples = {}
    registry = link.address if link else REGISTRY
    with temporary() as folder, TOOLS[name](folder, registry) as tool:
        target = f"{registry}/benchmark/out-{name}-{folder.name.rpartition('-')[2].replace('_', '')}"
        for at, (scene, what) in enumerate(scenes.items()):
            before = link.moved() if link else (0, 0)
            sample = tool.build(what, f"{target}:{max(at, 1)}")
            after = link.moved() if link else (0, 0)
            samples[scene] = replace(sample, down=after[0] - before[0], up=after[1] - before[1])
            said(f"{name}, {scene}: {sample.seconds:.2f} s")
    return samples


def measure(options: argparse.Namespace, lacking: Mapping[str, str]) -> dict[str, dict[str, list[Sample]]]:
    """Run every series, its tools in turn, so that a change of the machine's speed touches all of them."""
    results: dict[str, dict[str, list[Sample]]] = {name: {} for name in NAMES if name in options.scenes}
    several = possible(options, lacking)
    with ExitStack() as stack:
        over_link = any(series.link for series, _ in several)
        link = stack.enter_context(Running(REGISTRY, options.mbit, options.round_trip)) if over_link else None
        for number in range(options.runs):
            said(f"run {number + 1} of {options.runs}")
            for series, scenes in several:
                for name in series.taking_part(options.tools):
                    for scene, sample in built(name, scenes, link if series.link else None).items():
                        if scene in results:
                            results[scene].setdefault(name, []).append(sample)
    return {scene: tools for scene, tools in results.items() if tools}


def printed(results: report.Results, options: argparse.Namespace) -> None:
    """Print the result as Markdown."""
    print("\n".join([*report.times(results), *report.wire(results, options.mbit), *report.moved(results)]))
    if "native" in results.get("cold", {}):
        lowest = statistics.median(floor(REGISTRY, "benchmark/builder", "1") for _ in range(options.runs))
        ratio = report.median(results["cold"]["native"]) / lowest
        print(f"\nfloor: {lowest:.2f} s of one core; native cold is {ratio:.2f} times that")
    sizes = {image: layer_bytes(image) for image in ("builder:1", "base:1")}
    print("\nBytes of layers, packed: " + ", ".join(f"{image} {size}" for image, size in sizes.items()))


def said(line: str) -> None:
    """Tell how far the run is."""
    print(line, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    """Return what is asked for; say which peers are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tools", nargs="+", choices=list(TOOLS), help="all whose programs are there by default")
    scenes = f"those before one in its series are built too; of: {', '.join(NAMES)}"
    parser.add_argument("--scenes", nargs="+", choices=NAMES, metavar="SCENE", help=scenes)
    parser.add_argument("--large", action="store_true", help="the file of 5 GB too; it takes minutes and 30 GB of disk")
    parser.add_argument("--mbit", type=float, default=100.0, help="megabits a second of the slow link, each direction")
    parser.add_argument("--round-trip", type=float, default=20.0, help="its milliseconds there and back")
    parser.add_argument("--prepared", action="store_true", help="take the images as the registry has them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    options = parser.parse_args()
    missing = {name: tool.missing() for name, tool in TOOLS.items() if name in (options.tools or TOOLS)}
    for name, what in missing.items():
        if what:
            said(f"not measured: {name}: not there: {', '.join(what)}")
    options.tools = [name for name, what in missing.items() if not what]
    if not options.scenes:
        options.scenes = [name for series in SERIES for name in series.scenes if options.large or not series.large]
    return options


def main() -> None:
    """Prepare, measure and print."""
    options = arguments()
    needed = set().union(*(series.images(options.scenes) for series in asked_for(options)))
    results = measure(options, prepare(needed, make=not options.prepared))
    printed(results, options)
    if options.json:
        found = [
            {"scene": scene, "tool": tool, "samples": [asdict(sample) for sample in samples]}
            for scene, tools in results.items()
            for tool, samples in tools.items()
        ]
        options.json.write_text(json.dumps({"cores": os.cpu_count(), "results": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
