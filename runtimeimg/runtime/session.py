"""A run through a runtime: started, and attended to until its program ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from runtimeimg import process
from runtimeimg.errors import RemoteError
from runtimeimg.run.attended import STOPPING, Events, Input, Outcome, Output
from runtimeimg.run.ports import Publish
from runtimeimg.runtime.logs import LogWriter
from runtimeimg.runtime.program import Runtime
from runtimeimg.runtime.records import EXITED, RUNNING, Record
from runtimeimg.runtime.state import RunFolder
from runtimeimg.runtime.streams import Streams

_PID = "pid"
_DRAIN = 10.0  # seconds in which what was written last is passed on


@dataclass(frozen=True, slots=True)
class _Ended:
    code: int


class RuntimeSession:
    """The container of one run, whose bundle is in the run's folder. Used as a context manager.

    Leaving it ends the container and removes the folder; one that is to be kept stays when its program has ended by
    itself, or by a signal.
    """

    def __init__(self, folder: RunFolder, record: Record, runtime: Runtime, output: Output, *, stdin: bool) -> None:
        self._folder = folder
        self._record = record
        self._runtime = runtime
        self._output = output
        self._streams = Streams(folder.path, terminal=record.terminal, stdin=stdin)
        self._log = LogWriter(folder.log)
        self._events: Events[_Ended | RemoteError | str] = Events()
        self._lock = threading.Lock()
        self._pid: int | None = None
        self._code: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._log.close()
            if self._record.kept and self._code is not None:
                self._runtime.delete(self._record.id)
                replace(self._record, state=EXITED, code=self._code).save(self._folder.path)
                self._folder.let_go()
            else:
                self._folder.remove()
        finally:
            self._streams.close()

    @property
    def input(self) -> Input:
        """Where the program's standard input goes."""
        return self._streams

    def start(self) -> tuple[Publish, ...]:
        """Make the container, start its program, and return the ports that it listens on.

        StartFailed says why it cannot be.
        """
        process.adopt_orphans()
        pid_file = self._folder.path / _PID
        code = self._runtime.create(
            self._record.id,
            self._folder.bundle,
            self._streams.given,
            pid_file=pid_file,
            console=self._streams.console,
        )
        if code:
            raise self._runtime.failure(self._streams.said())
        self._pid = int(pid_file.read_text())
        self._streams.made()
        self._streams.pump(self._take)
        threading.Thread(target=self._wait, args=(self._pid,), daemon=True).start()
        self._runtime.start(self._record.id)
        replace(self._record, state=RUNNING).save(self._folder.path)
        return self._record.ports

    def signal(self, name: str) -> None:
        """Pass a signal, as `TERM`, on to the program; may be called from a signal handler."""
        self._events.put(name)

    def attend(self, size: Callable[[], tuple[int, int]] | None = None) -> Outcome:
        """Wait for the end of the program and return how it went.

        `size` tells rows and columns of the caller's terminal; it is asked now and at each WINCH. After INT, TERM or
        HUP the program has the run's stop time to end, then it is killed; a second INT kills it at once.
        """
        if size is not None:
            self._streams.resize(*size())
        stopping = False
        kill_at: float | None = None
        while True:
            event = self._events.next(kill_at)
            if event is None:
                self._kill("KILL")
                kill_at = None
            elif isinstance(event, _Ended):
                self._streams.drain(_DRAIN)
                self._code = event.code
                return Outcome(code=event.code)
            elif isinstance(event, RemoteError):
                raise event
            elif event == "WINCH":
                if size is not None:
                    self._streams.resize(*size())
            else:
                self._kill("KILL" if stopping and event == "INT" else event)
                if event in STOPPING and not stopping:
                    stopping, kill_at = True, time.monotonic() + self._record.stop_timeout

    def _take(self, stream: int, data: bytes) -> None:
        self._log.write(stream, data)
        self._output(None, stream, data)

    def _kill(self, name: str) -> None:
        """Send a signal to the program; its number is its own as long as its end was not taken."""
        with self._lock:
            if self._pid is not None:
                os.kill(self._pid, signal.Signals[f"SIG{name}"])

    def _wait(self, pid: int) -> None:
        """Wait for the end of the container's first process, with which all others of its namespace end."""
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            with self._lock:
                self._pid = None
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            self._events.put(RemoteError(f"the end of the container's process cannot be waited for: {reason}"))
        else:
            self._events.put(_Ended(code if code >= 0 else 128 - code))
