"""What runs have written, kept in files of their own: frames as those of the Engine, each with its stream and size."""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from runtimeimg.run.attach import STDERR, STDOUT
from runtimeimg.run.attended import Output
from runtimeimg.run.lines import Lines

MAX_LOG = 32 << 20
"""Bytes of a log; then it is set aside, in the place of what was set aside before."""

_HEADER = struct.Struct(">BxxxL")
_PAUSE = 0.1


class LogWriter:
    """Writes the log of one run; may be called from several threads. A disk that is full costs the log alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file = path.open("ab", buffering=0)
        self._size = 0

    def write(self, stream: int, data: bytes) -> None:
        """Add what came on a stream."""
        with self._lock:
            if self._file.closed:
                return
            try:
                if self._size > MAX_LOG:
                    self._set_aside()
                self._size += self._file.write(_HEADER.pack(stream, len(data)) + data)
            except OSError:
                self._file.close()

    def close(self) -> None:
        """End the log."""
        with self._lock:
            self._file.close()

    def _set_aside(self) -> None:
        self._path.rename(before(self._path))
        self._file.close()
        self._file = self._path.open("ab", buffering=0)
        self._size = 0


def before(log: Path) -> Path:
    """Return where the older part of a log is."""
    return log.with_name(f"{log.name}.1")


def show(log: Path, output: Output, *, tail: int | None, runs: Callable[[], bool] | None = None) -> None:
    """Pass a log to `output`; `tail` is how many of the last lines, None for all.

    With `runs`, which tells whether there may be more, it goes on until there is no more.
    """
    with contextlib.ExitStack() as stack:
        parts = [stack.enter_context(part.open("rb")) for part in (before(log), log) if part.exists()]
        pieces = (piece for part in parts for piece in _complete(part))
        for stream, data in pieces if tail is None else _last(pieces, tail):
            output(None, stream, data)
        if runs is not None and parts:
            for stream, data in _following(log, parts[-1], runs):
                output(None, stream, data)


def _complete(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the frames that are there whole; the next one is read from where they end."""
    while True:
        at = file.tell()
        header = file.read(_HEADER.size)
        if len(header) == _HEADER.size:
            stream, size = _HEADER.unpack(header)
            data = file.read(size)
            if len(data) == size:
                yield stream, data
                continue
        file.seek(at)
        return


def _last(pieces: Iterator[tuple[int, bytes]], count: int) -> Iterator[tuple[int, bytes]]:
    """Yield the last lines; one that no line break ended yet is one."""
    streams = {STDOUT: Lines(), STDERR: Lines()}
    kept: deque[tuple[int, bytes]] = deque(maxlen=count)
    for stream, data in pieces:
        kept.extend((stream, line + b"\n") for line in streams[stream].feed(data))
    for stream, lines in streams.items():
        kept.extend((stream, line) for line in lines.end())
    yield from kept


def _following(log: Path, file: IO[bytes], runs: Callable[[], bool]) -> Iterator[tuple[int, bytes]]:
    """Yield what is added to a log, also where it is set aside meanwhile, until nothing may come any more."""
    with contextlib.ExitStack() as stack:
        while True:
            goes_on = runs()
            yield from _complete(file)
            newer = _newer(log, file)
            if newer is not None:
                yield from _complete(file)  # what came before it was set aside
                file = stack.enter_context(newer)
            elif goes_on:
                time.sleep(_PAUSE)
            else:
                return


def _newer(log: Path, file: IO[bytes]) -> IO[bytes] | None:
    """Return the log, opened, where it is another file than the open one."""
    try:
        newer = log.open("rb")
    except FileNotFoundError:
        return None
    if not os.path.samestat(os.fstat(newer.fileno()), os.fstat(file.fileno())):
        return newer
    newer.close()
    return None
