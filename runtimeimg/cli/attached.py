"""A run in the foreground: its output on this terminal, this terminal's input and signals to it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, BinaryIO

from runtimeimg.cli import interrupts

if TYPE_CHECKING:
    from runtimeimg.run import Daemon
    from runtimeimg.run.attended import Attended, Input
    from runtimeimg.run.lines import Lines

_FORWARDED = ("INT", "TERM", "HUP", "QUIT", "USR1", "USR2")
_COLOURS = ("36", "33", "32", "35", "34")
_WRAPPER_SAYS = re.compile(rb"runtimeimg: daemon [0-9]+ \((.{1,200})\) ended with exit code ([0-9]{1,3})\r?\Z")


class Printer:
    """Writes what the containers write: the main command's bytes as they are, daemons' lines behind their names.

    `wrapped_end` is what the wrapper in an image said of a daemon that ended, as (name, exit code). When nobody reads
    the output any more the rest is thrown away and `on_closed` is called once.
    """

    def __init__(self, names: tuple[str, ...], *, colour: bool) -> None:
        from runtimeimg.run.lines import Lines

        self.wrapped_end: tuple[str, str] | None = None
        self.session: Attended | None = None
        self._names = names
        self._width = max(map(len, names), default=0)
        self._colour = colour
        self._lock = threading.Lock()
        self._lines: dict[tuple[str, int], Lines] = {}
        self._errors = Lines()
        self._closed = False
        # Not sys.stderr, which lets messages be lost: whoever does not read the output of a run wants it ended.
        self._targets: dict[int, BinaryIO] = {1: sys.stdout.buffer, 2: open(2, "wb", closefd=False)}  # noqa: SIM115

    def __call__(self, daemon: Daemon | None, stream: int, data: bytes) -> None:
        """Take what a container wrote; called from several threads."""
        with self._lock:
            if daemon is None:
                self._look_for_end(data)
                self._write(stream, data)
                return
            from runtimeimg.run.lines import Lines

            lines = self._lines.setdefault((daemon.name, stream), Lines())
            for line in lines.feed(data):
                self._write(stream, self._prefixed(daemon.name, line))

    def finish(self) -> None:
        """Write the lines that no line break ended."""
        with self._lock:
            for (name, stream), lines in self._lines.items():
                for line in lines.end():
                    self._write(stream, self._prefixed(name, line))

    def prefix(self, name: str) -> str:
        """Return what stands before the lines of a daemon."""
        text = f"{name:<{self._width}} |"
        if not self._colour:
            return f"{text} "
        return f"\x1b[{_COLOURS[self._names.index(name) % len(_COLOURS)]}m{text}\x1b[0m "

    def _prefixed(self, name: str, line: bytes) -> bytes:
        return self.prefix(name).encode() + line + b"\n"

    def _look_for_end(self, data: bytes) -> None:
        for line in self._errors.feed(data):
            if found := _WRAPPER_SAYS.match(line):
                self.wrapped_end = (found[1].decode("utf-8", "replace"), found[2].decode())

    def _write(self, stream: int, data: bytes) -> None:
        if self._closed:
            return
        target = self._targets[2 if stream == 2 else 1]
        try:
            target.write(data)
            target.flush()
        except OSError:
            self._closed = True
            if self.session is not None:
                self.session.signal("TERM")
            _discard(target)


def _discard(target: BinaryIO) -> None:
    """Send what is still buffered for a reader that went away to nowhere, so that the exit does not trip over it."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, target.fileno())
    os.close(null)


@contextlib.contextmanager
def signals_to(session: Attended) -> Iterator[None]:
    """Pass the signals of this process on to the run, and its terminal's changes of size; put back at the end."""

    def forward(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
        session.signal(signal.Signals(number).name.removeprefix("SIG"))

    numbers = [signal.Signals[f"SIG{name}"] for name in (*_FORWARDED, "WINCH")]
    interrupts.pass_on(on=True)
    before = {number: signal.signal(number, forward) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        interrupts.pass_on(on=False)


@contextlib.contextmanager
def raw_terminal() -> Iterator[None]:
    """Give every key to the run while the context is open; the terminal is as before on every way out."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def terminal_size() -> tuple[int, int]:
    """Return rows and columns of the terminal that standard input is."""
    size = os.get_terminal_size(sys.stdin.fileno())
    return size.lines, size.columns


def send_input(target: Input) -> None:
    """Pass standard input on until it or the run ends, in a thread of its own."""

    def pump() -> None:
        descriptor = sys.stdin.fileno()
        while data := os.read(descriptor, 65536):
            if not target.send(data):
                return
        target.end_input()

    threading.Thread(target=pump, daemon=True).start()
