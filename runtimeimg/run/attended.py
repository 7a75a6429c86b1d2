"""What all runs in the foreground have in common, whoever carries them out: their events, their ends, their outputs."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from runtimeimg.errors import RuntimeimgError
from runtimeimg.run.plan import Daemon
from runtimeimg.run.ports import Publish

Output = Callable[[Daemon | None, int, bytes], None]
"""Takes what the main command (None) or a daemon wrote on standard output (1) or error (2); called from threads."""

STOPPING = frozenset({"INT", "TERM", "HUP"})
"""Signals after which a program has to end."""
_LOOK_UP = 0.25
_Event = TypeVar("_Event")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadDaemon:
    """A daemon that ended by itself: its exit code and its last lines."""

    daemon: Daemon
    code: int
    last: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended: the exit code, and the daemons that ended before the main command."""

    code: int
    dead: tuple[DeadDaemon, ...] = ()


class StartFailed(RuntimeimgError):  # noqa: N818 - what happened, as with BuildFailed
    """A program could not be started; the exit code is docker's: 127 not found, 126 not executable, else 125."""

    def __init__(self, message: str, *, code: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = code


class Attended(Protocol):
    """A run that somebody attends to."""

    def signal(self, name: str) -> None:
        """Pass a signal, as `TERM`, on to the main command; may be called from a signal handler."""


class Input(Protocol):
    """Where the main command's standard input goes."""

    def send(self, data: bytes) -> bool:
        """Send input; False when none is taken any more."""

    def end_input(self) -> None:
        """Tell that no more input comes."""


class Foreground(Attended, Protocol):
    """A run in the foreground."""

    def start(self) -> tuple[Publish, ...]:
        """Make and start it, and return its ports as they are bound; StartFailed for what cannot be started."""

    @property
    def input(self) -> Input:
        """Where the main command's standard input goes."""

    def attend(self, size: Callable[[], tuple[int, int]] | None = None) -> Outcome:
        """Wait for the end; `size` tells rows and columns of the caller's terminal."""


class Events(Generic[_Event]):
    """What happens to a run, put by any thread and signal handler, and taken by the one that attends to it."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[_Event] = queue.SimpleQueue()

    def put(self, event: _Event) -> None:
        """Tell of an event."""
        self._queue.put(event)

    def next(self, until: float | None) -> _Event | None:
        """Return the next event, None when the time is over (by the monotonic clock; None is never).

        A signal that another thread takes does not wake this one, whose handler it is for: so it looks up often.
        """
        while True:
            left = _LOOK_UP if until is None else min(_LOOK_UP, max(0.0, until - time.monotonic()))
            found = self.within(left)
            if found is not None or (until is not None and time.monotonic() >= until):
                return found

    def within(self, seconds: float) -> _Event | None:
        """Return the next event if one comes within so many seconds."""
        with contextlib.suppress(queue.Empty):
            return self._queue.get(timeout=seconds)
        return None
