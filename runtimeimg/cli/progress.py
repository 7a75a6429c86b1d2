"""How progress is shown: bars on a terminal, plain lines, JSON lines, or not at all. All of it goes to stderr."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import TYPE_CHECKING, Self

from runtimeimg.cli.phases import Phases
from runtimeimg.progress import Silent
from runtimeimg.text import human_size, json_escaped, printable, without_userinfo

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

__all__ = ["MODES", "Display", "display", "printable"]

SILENCE = 10.0
"""Seconds after which plain lines tell again of a transfer that goes on."""
MODES = ("auto", "tty", "plain", "quiet", "rawjson")


class Display(Silent):
    """A Progress that is drawn while its context is open; this one shows nothing."""

    def __enter__(self) -> Self:
        """Begin to draw."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing; what was drawn stays."""


class Plain(Display):
    """A line a message; a transfer is told when it ends, and while it lasts every ten seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._phases = Phases()
        self._told: dict[str, float] = {}

    def line(self, text: str) -> None:
        """Print a line."""
        with self._lock:
            print(printable(without_userinfo(text)), file=sys.stderr, flush=True)  # noqa: T201 - the command line prints

    def start(self, key: str, label: str, total: int | None) -> None:
        """Remember when a transfer began."""
        self._told[key] = time.monotonic()
        self._phases.start(key, label, total, self._told[key])

    def advance(self, key: str, count: int) -> None:
        """Count the bytes of a transfer, and tell of a long one."""
        now = time.monotonic()
        phase = self._phases.advance(key, count)
        if phase is not None and now - self._told.get(phase.title, phase.began) >= SILENCE:
            self._told[phase.title] = now
            self.line(f"{phase.title}: {', '.join(filter(None, phase.facts(now)))}")

    def done(self, key: str, note: str = "") -> None:
        """Print what a transfer moved and how long it took."""
        label, began, count = self._phases.part(key)
        self._phases.done(key, note, time.monotonic())
        if note:
            self.line(f"{label}: {note}")
            return
        seconds = time.monotonic() - began
        speed = f", {human_size(count / seconds)}/s" if seconds >= 1 else ""
        self.line(f"{label}: {human_size(count)} in {seconds:.1f} s{speed}")


class RawJson(Plain):
    """Every message as one JSON object a line, those of an engine as they came."""

    def _emit(self, **data: object) -> None:
        with self._lock:
            print(json_escaped(without_userinfo(json.dumps(data))), file=sys.stderr, flush=True)  # noqa: T201 - the command line prints

    def line(self, text: str) -> None:
        """Print nothing: `event` has the message."""

    def event(self, data: dict[str, object]) -> None:
        """Print the message."""
        self._emit(**data)

    def start(self, key: str, label: str, total: int | None) -> None:
        """Print that a transfer begins."""
        self._emit(id=key, status="started", label=label, total=total)

    def advance(self, key: str, count: int) -> None:
        """Print nothing: only begin and end are told."""

    def done(self, key: str, note: str = "") -> None:
        """Print that a transfer ended."""
        self._emit(id=key, status="done", note=note)


class Terminal(Display):
    """A line for each phase and image, below the lines of the builder; what has ended stays."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._phases = Phases()

    def __enter__(self) -> Self:
        """Begin to draw."""
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        self._live = Live(
            get_renderable=self._drawn, console=console, refresh_per_second=8, vertical_overflow="visible"
        )
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing; what was drawn stays."""
        if self._live is not None:
            self._live.stop()

    def _drawn(self) -> Group:
        from rich.console import Group
        from rich.text import Text

        # The last column stays free: some terminals wrap a line that fills it.
        width = (self._live.console.width if self._live is not None else 80) - 1
        lines = self._phases.lines(time.monotonic(), width)
        return Group(*(Text(printable(line), no_wrap=True, overflow="crop") for line in lines))

    def line(self, text: str) -> None:
        """Print a line above the phases, as it is: no markup, no colours of ours."""
        if self._live is not None:
            self._live.console.print(printable(without_userinfo(text)), markup=False, highlight=False)

    def start(self, key: str, label: str, total: int | None) -> None:
        """Begin a transfer of a phase."""
        self._phases.start(key, label, total, time.monotonic())

    def advance(self, key: str, count: int) -> None:
        """Count the bytes of a transfer."""
        self._phases.advance(key, count)

    def done(self, key: str, note: str = "") -> None:
        """End a transfer."""
        self._phases.done(key, note, time.monotonic())


def display(mode: str) -> Display:
    """Return the display for a mode of MODES; `auto` draws on a terminal and prints lines elsewhere."""
    if mode == "auto":
        mode = "tty" if sys.stderr.isatty() else "plain"
    kinds: dict[str, type[Display]] = {"tty": Terminal, "plain": Plain, "quiet": Display, "rawjson": RawJson}
    return kinds[mode]()
