"""What a run found, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping

from peers import Sample

Results = Mapping[str, Mapping[str, list[Sample]]]
"""Samples by scene and tool."""
MOVED = ("downloadedBytes", "uploadedBytes", "mountedBytes", "readBytes", "unpackedBytes", "takenBytes")


def median(samples: Iterable[Sample], figure: Callable[[Sample], float] = lambda sample: sample.seconds) -> float:
    """Return the median of one figure."""
    return statistics.median(map(figure, samples))


def spread(samples: Iterable[Sample]) -> str:
    """Return the median of the seconds with the lowest and the highest."""
    seconds = [sample.seconds for sample in samples]
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f}-{max(seconds):.2f})"


def rows(head: str, body: Iterable[Iterable[str]]) -> list[str]:
    """Return a table."""
    columns = head.count("|") + 1
    lines = [f"| {head} |", f"|{' --- |' * columns}"]
    return [*lines, *(f"| {' | '.join(cells)} |" for cells in body)]


def times(results: Results) -> list[str]:
    """Return seconds, what they are of native's, and memory."""
    body = []
    for scene, tools in results.items():
        native = median(tools["native"]) if "native" in tools else None
        for tool, samples in tools.items():
            ratio = f"{median(samples) / native:.1f}" if native else ""
            peak = median(samples, lambda sample: sample.peak_mib)
            body.append([scene, tool, spread(samples), ratio, f"{peak:.0f}"])
    return rows("scene | builder | s (lowest-highest) | times native | peak MiB", body)


def wire(results: Results, mbit: float) -> list[str]:
    """Return what the link carried, and the seconds that a full line needs for it beside those of the build."""
    body = []
    for scene, tools in results.items():
        for tool, samples in tools.items():
            down, up = median(samples, lambda sample: sample.down), median(samples, lambda sample: sample.up)
            if down:
                least = (down + up) * 8 / mbit / 1e6
                cells = [f"{down:.0f}", f"{up:.0f}", f"{least:.2f}", f"{median(samples):.2f}"]
                ratio = f"{median(samples) / least:.2f}" if least > 0.1 else ""
                body.append([scene, tool, *cells, ratio])
    if not body:
        return []
    head = "scene | builder | bytes down | bytes up | the wire's s | s | times the wire's"
    return ["", f"Over a link of {mbit:g} Mbit/s:", "", *rows(head, body)]


def moved(results: Results) -> list[str]:
    """Return what native says that it moved."""
    body = []
    for scene, tools in results.items():
        if "native" in tools:
            last = tools["native"][-1].moved
            body.append([scene, *(str(last.get(name, "")) for name in MOVED)])
    names = (name.removesuffix("Bytes") for name in MOVED)
    return ["", "Bytes that native moved:", "", *rows(f"scene | {' | '.join(names)}", body)] if body else []
