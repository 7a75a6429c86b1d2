"""The output of an Engine's classic builder: read as it comes, and ended so that nothing of it is missed."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import socket
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from runtimeimg.errors import RuntimeimgError
from runtimeimg.progress import Progress
from runtimeimg.remains import Note
from runtimeimg.stores.engine import Engine

if TYPE_CHECKING:
    import requests

TAIL = 20
KEPT_LOGS = 20
_STEP = re.compile(r"Step (\d+)/\d+ : (.*)\Z", re.DOTALL)
_PODMAN_STEP = re.compile(r"(?:\[\d+/\d+\] )?STEP \d+/\d+: (.*)\Z", re.DOTALL)  # it counts anew for each stage
_IMAGE = re.compile(r" ?--?-> ([0-9a-f]{12})\Z")  # shorter from podman
_CONTAINER = re.compile(r" ---> Running in ([0-9a-f]{12})\Z")
_NOISE = re.compile(r" ---> |--> |Removing intermediate container [0-9a-f]{12}\Z")
_WAITING = 256


class Transcript:
    """What a build has said so far: its lines, the step it is at; the images and containers it named are noted."""

    def __init__(self, progress: Progress, folder: str | None, note: Note) -> None:
        self.step = 0
        self.instruction: str | None = None
        self.tail: deque[str] = deque(maxlen=TAIL)
        self.image_id: str | None = None
        self.error: str | None = None
        self._note = note
        self._progress = progress
        self._rest = ""
        self._log = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace", dir=folder)  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._log.close()

    def take(self, message: Mapping[str, Any]) -> None:
        """Note a message of the Engine and show its lines."""
        self._progress.event(dict(message))
        aux = message.get("aux")
        if isinstance(aux, Mapping) and isinstance(aux.get("ID"), str):
            self.image_id = aux["ID"]
            self._note.add(image=aux["ID"].partition(":")[2][:12])
        if isinstance(text := message.get("stream"), str):
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                self._line(line.rstrip("\r"))
        elif isinstance(status := message.get("status"), str):
            self._line(" ".join(str(part) for part in (message.get("id"), status, message.get("progress")) if part))
        if isinstance(error := message.get("error"), str):
            self.error = error

    def finish(self) -> None:
        """Note that no more comes."""
        if self._rest:
            self._line(self._rest)
            self._rest = ""
        self._note.add(settled=True)

    def keep_log(self, folder: Path | None) -> str:
        """Write all lines to a new file and return its path; of those in `folder` only the latest are kept."""
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            _drop_old(folder)
        handle, path = tempfile.mkstemp(prefix="runtimeimg-build-", suffix=".log", dir=folder, text=True)
        self._log.seek(0)
        with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor, not a path
            while text := self._log.read(1 << 20):
                file.write(text)
        return path

    def _line(self, line: str) -> None:
        with contextlib.suppress(OSError):  # without room for it the log is lost, not the build
            self._log.write(line + "\n")
        self._progress.line(line)
        if found := _STEP.match(line):
            self.step, self.instruction = int(found[1]), found[2].strip()
            self._note.add(step=self.instruction)
            self.tail.clear()
        elif found := _PODMAN_STEP.match(line):
            self.instruction = found[1].strip()
            self._note.add(step=self.instruction)
            self.tail.clear()
        elif found := _IMAGE.match(line):
            self._note.add(image=found[1])
        elif found := _CONTAINER.match(line):
            self._note.add(container=found[1])
        elif not _NOISE.match(line):
            self.tail.append(line)


def _drop_old(folder: Path) -> None:
    logs = sorted(folder.glob("runtimeimg-build-*.log"), key=lambda path: path.stat().st_mtime)
    for path in logs[: max(0, len(logs) - KEPT_LOGS + 1)]:
        path.unlink(missing_ok=True)


class BuildStream:
    """The messages of a running build, read in a thread of their own.

    An interrupt then reaches the thread that waits for messages, not the one in the middle of reading: the connection
    stays whole, the Engine can be told to stop, and what it still says is heard.
    """

    def __init__(self, engine: Engine, response: requests.Response) -> None:
        self._queue: queue.Queue[dict[str, Any] | RuntimeimgError | None] = queue.Queue(_WAITING)
        # A second handle on the connection: it can be shut down while the thread reads from the first.
        self._socket = socket.socket(fileno=os.dup(response.raw.fileno()))
        self._thread = threading.Thread(target=self._read, args=(engine, response), daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the messages; raise what broke the stream."""
        while (message := self._queue.get()) is not None:
            if isinstance(message, RuntimeimgError):
                raise message
            yield message

    def stop(self, seconds: float) -> Iterator[dict[str, Any]]:
        """Make the Engine cancel the build and yield what it still says; the connection is cut after `seconds`.

        Closing our half of the connection is what the Engine takes for a client that has gone.
        """
        self._shut(socket.SHUT_WR)
        timer = threading.Timer(seconds, self._shut, (socket.SHUT_RDWR,))
        timer.daemon = True
        timer.start()
        try:
            while isinstance(message := self._queue.get(), dict):
                yield message
        finally:
            timer.cancel()

    def close(self) -> None:
        """Cut the connection and wait for the thread to see it."""
        self._shut(socket.SHUT_RDWR)
        while self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                self._queue.get(timeout=0.05)
        self._thread.join()
        self._socket.close()

    def _shut(self, how: int) -> None:
        with contextlib.suppress(OSError):  # the other side was faster
            self._socket.shutdown(how)

    def _read(self, engine: Engine, response: requests.Response) -> None:
        try:
            for message in engine.messages(response):
                self._queue.put(message)
        except RuntimeimgError as error:
            self._queue.put(error)
        finally:
            self._queue.put(None)
