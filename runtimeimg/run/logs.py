"""What containers have written, from the Engine's logs."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from runtimeimg.errors import NotFoundError
from runtimeimg.run import containers
from runtimeimg.run.attach import STDOUT, frames
from runtimeimg.run.attended import Output
from runtimeimg.run.lines import Lines
from runtimeimg.run.plan import Daemon
from runtimeimg.run.runs import Container, Run
from runtimeimg.stores.engine import Engine


def show_logs(engine: Engine, run: Run, output: Output, *, follow: bool = False, tail: int | None = None) -> None:
    """Pass what the containers of `run` have written to `output`, in the order of time; `tail` is lines of each.

    With `follow` it goes on until all of them end, each container's output as it comes.
    """
    if not follow:
        entries = [_timed(engine, item, tail) for item in run.containers]
        for _, index, stream, line in heapq.merge(*(_numbered(index, each) for index, each in enumerate(entries))):
            output(_daemon(run.containers[index]), stream, line + b"\n")
        return
    with ThreadPoolExecutor(len(run.containers)) as pool:
        done = [pool.submit(_follow, engine, item, output, tail) for item in run.containers]
    for each in done:
        with contextlib.suppress(NotFoundError):  # it ended and went before it was asked
            each.result()


def _daemon(container: Container) -> Daemon | None:
    return Daemon(name=container.daemon, argv=()) if container.daemon else None


def _read(
    engine: Engine, container: Container, tail: int | None, *, follow: bool, timestamps: bool
) -> Iterator[tuple[int, bytes]]:
    found = containers.inspect(engine, container.id) or {}
    params = {
        "stdout": True,
        "stderr": True,
        "follow": follow,
        "timestamps": timestamps,
        "tail": "all" if tail is None else str(tail),
    }
    response = engine.call("GET", f"/containers/{container.id}/logs", params=params, endless=True)
    chunks = engine.chunks(response)
    if (found.get("Config") or {}).get("Tty"):
        return ((STDOUT, chunk) for chunk in chunks)
    return frames(chunks)


def _follow(engine: Engine, container: Container, output: Output, tail: int | None) -> None:
    for stream, data in _read(engine, container, tail, follow=True, timestamps=False):
        output(_daemon(container), stream, data)


def _timed(engine: Engine, container: Container, tail: int | None) -> Iterator[tuple[bytes, int, bytes]]:
    """Yield (time, stream, line); the Engine writes times with a fixed width, so that their text sorts."""
    streams: dict[int, Lines] = {}
    for stream, data in _read(engine, container, tail, follow=False, timestamps=True):
        for line in streams.setdefault(stream, Lines()).feed(data):
            time, _, text = line.partition(b" ")
            yield time, stream, text


def _numbered(index: int, entries: Iterable[tuple[bytes, int, bytes]]) -> Iterator[tuple[bytes, int, int, bytes]]:
    return ((time, index, stream, line) for time, stream, line in entries)
