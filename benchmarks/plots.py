"""Plots of time against the size of the builder image and against the part of it that is wanted.

    BUILDKITD=... BUILDCTL=... .venv/bin/python benchmarks/plots.py

Cold builds, registry to registry, from builder images that runtimeimg makes of generated files; the tools take turns.
Writes `docs/plots/*.svg` and the figures beside each as JSON; with --drawn, draws the figures that are there again.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from images import blocks, compose, config, temporary
from peers import ROOT, TOOLS
from scenes import REGISTRY, Scene
from svg import Line, Plot, drawn

MB = 1_000_000
SIZES = (100, 300, 1000)
PARTS = {1: ("/data/a",), 10: ("/data/a", "/data/b"), 50: ("/data/a", "/data/b", "/data/c"), 100: ("/data",)}
"""Percent of the image and the folders that hold so much."""
FOLDERS = {"a": 1, "b": 9, "c": 40, "d": 50}
"""Percent that each folder holds; each is a layer."""
FILE = 100_000  # bytes of a file, on average
TARGET = "benchmark/out-plots"


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A series of measurements: what is varied, and the scene at each value."""

    name: str
    title: str
    label: str
    scenes: dict[int, Scene]


def scene(size: int, part: int) -> Scene:
    """A part of the synthetic builder image of a size; the base has nothing to do with it."""
    return Scene(builder=f"made-{size}:1", directories=PARTS[part])


AXES = (
    Axis(
        name="size",
        title="Cold build, 10 % of the builder image wanted",
        label="MB of the builder image, unpacked",
        scenes={size: scene(size, 10) for size in SIZES},
    ),
    Axis(
        name="part",
        title="Cold build, builder image of 300 MB",
        label="% of the builder image wanted",
        scenes={part: scene(300, part) for part in PARTS},
    ),
)


def make(size: int) -> None:
    """Make the synthetic builder image of a size in MB, if the registry does not have it."""
    if config(f"made-{size}:1"):
        return
    with temporary() as folder:
        for at, (name, percent) in enumerate(FOLDERS.items()):
            fill(folder / "data" / name, size * MB * percent // 100, seed=at)
        compose(folder, f"made-{size}:1", [f"/data/{name}" for name in FOLDERS])


def fill(folder: Path, size: int, seed: int) -> None:
    """Write files of `size` bytes altogether, always the same ones for a seed: each half noise and half text."""
    folder.mkdir(parents=True)
    lengths = random.Random(seed)
    number = 0
    while size > 0:
        length = min(size, lengths.randrange(1, 2 * FILE))
        # Noise up to the middle: a block for each half.
        data = b"".join(blocks(length, seed=seed << 32 | number, block=length // 2 + 1))
        (folder / f"{number:05}").write_bytes(data)
        size -= length
        number += 1


def measured(axes: Sequence[Axis], tools: Sequence[str], runs: int) -> dict[str, dict[str, dict[int, list[float]]]]:
    """Return the seconds of every cold build by axis, tool and value."""
    seconds: dict[str, dict[str, dict[int, list[float]]]] = {
        axis.name: {tool: {value: [] for value in axis.scenes} for tool in tools} for axis in axes
    }
    for number in range(runs):
        for axis, value, name in turns(axes, tools):
            with temporary() as folder, TOOLS[name](folder) as tool:
                target = f"{REGISTRY}/{TARGET}-{name}-{folder.name.rpartition('-')[2].replace('_', '')}:1"
                sample = tool.build(axis.scenes[value], target)
            seconds[axis.name][name][value].append(sample.seconds)
            print(f"run {number + 1}: {name}, {axis.name} {value}: {sample.seconds:.2f} s", file=sys.stderr, flush=True)
    return seconds


def turns(axes: Sequence[Axis], tools: Sequence[str]) -> Iterator[tuple[Axis, int, str]]:
    """Yield what is measured, the tools in turn at each value."""
    for axis in axes:
        for value in axis.scenes:
            for tool in tools:
                yield axis, value, tool


def plot(axis: Axis, seconds: dict[str, dict[int, list[float]]]) -> Plot:
    """Return the figures of an axis as medians with their spread."""
    lines = []
    for tool, values in seconds.items():
        kinds = (statistics.median, min, max)
        middle, low, high = ([round(of(several), 2) for several in values.values()] for of in kinds)
        lines.append(Line(name=tool, middle=middle, low=low, high=high))
    return Plot(title=axis.title, x_label=axis.label, y_label="s", x=[float(x) for x in axis.scenes], lines=lines)


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tools", nargs="+", choices=list(TOOLS), default=["native", "buildkitd"])
    parser.add_argument("--axes", nargs="+", choices=[axis.name for axis in AXES], default=[axis.name for axis in AXES])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "plots")
    parser.add_argument("--drawn", action="store_true", help="measure nothing, draw the figures that are there")
    options = parser.parse_args()
    axes = [axis for axis in AXES if axis.name in options.axes]
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.drawn:
        for name in options.tools:
            if absent := TOOLS[name].missing():
                sys.exit(f"{name} is not there: {', '.join(absent)}")
        for size in {int(each.builder[5:-2]) for axis in axes for each in axis.scenes.values()}:
            make(size)
        seconds = measured(axes, options.tools, options.runs)
        for axis in axes:
            figures = json.dumps(asdict(plot(axis, seconds[axis.name])), indent=2)
            (options.out / f"{axis.name}.json").write_text(figures + "\n")
    for axis in axes:
        figures = json.loads((options.out / f"{axis.name}.json").read_text())
        lines = [Line(**line) for line in figures.pop("lines")]
        (options.out / f"{axis.name}.svg").write_text(drawn(Plot(**figures, lines=lines)))


if __name__ == "__main__":
    main()
