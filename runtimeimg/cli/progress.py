"""How progress is shown: bars on a terminal, plain lines, JSON lines, or not at all. All of it goes to stderr."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from runtimeimg.progress import Silent

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

MODES = ("auto", "tty", "plain", "quiet", "rawjson")


class Display(Silent):
    """A Progress that is drawn while its context is open; this one shows nothing."""

    def __enter__(self) -> Self:
        """Begin to draw."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing; what was drawn stays."""


class Plain(Display):
    """A line a message; transfers are told when they end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, tuple[str, float, int]] = {}

    def line(self, text: str) -> None:
        """Print a line."""
        with self._lock:
            print(printable(text), file=sys.stderr, flush=True)  # noqa: T201 - the command line prints

    def start(self, key: str, label: str, total: int | None) -> None:  # noqa: ARG002 - Progress's signature
        """Remember when a transfer began."""
        self._running[key] = (label, time.monotonic(), 0)

    def advance(self, key: str, count: int) -> None:
        """Count the bytes of a transfer."""
        label, began, done = self._running.get(key, ("", time.monotonic(), 0))
        self._running[key] = (label, began, done + count)

    def done(self, key: str, note: str = "") -> None:
        """Print what a transfer moved and how long it took."""
        label, began, count = self._running.pop(key, (key, time.monotonic(), 0))
        said = note or f"{human_size(count)} in {time.monotonic() - began:.1f} s"
        self.line(f"{label}: {said}")


class RawJson(Plain):
    """Every message as one JSON object a line, those of an engine as they came."""

    def _emit(self, **data: object) -> None:
        with self._lock:
            print(json.dumps(data), file=sys.stderr, flush=True)  # noqa: T201 - the command line prints

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
    """Bars for transfers below the lines of the builder."""

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        """Begin to draw."""
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
        from rich.progress import Progress as Bars

        columns: Any = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._bars = Bars(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True))
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing; what was drawn stays."""
        if self._bars is not None:
            self._bars.stop()

    def line(self, text: str) -> None:
        """Print a line above the bars, as it is: no markup, no colours of ours."""
        if self._bars is not None:
            self._bars.console.print(printable(text), markup=False, highlight=False)

    def start(self, key: str, label: str, total: int | None) -> None:
        """Add a bar."""
        if self._bars is not None:
            from rich.markup import escape

            self._tasks[key] = self._bars.add_task(escape(label), total=total, note="")

    def advance(self, key: str, count: int) -> None:
        """Move a bar."""
        if self._bars is not None and key in self._tasks:
            self._bars.advance(self._tasks[key], count)

    def done(self, key: str, note: str = "") -> None:
        """Fill a bar."""
        if self._bars is None or key not in self._tasks:
            return
        task = self._tasks[key]
        total = next((item.total for item in self._bars.tasks if item.id == task), None)
        self._bars.update(task, completed=total or 1, total=total or 1, note=note)


def display(mode: str) -> Display:
    """Return the display for a mode of MODES; `auto` draws on a terminal and prints lines elsewhere."""
    if mode == "auto":
        mode = "tty" if sys.stderr.isatty() else "plain"
    kinds: dict[str, type[Display]] = {"tty": Terminal, "plain": Plain, "quiet": Display, "rawjson": RawJson}
    return kinds[mode]()


def printable(text: str) -> str:
    """Return `text` without control characters that would move a terminal's cursor or change its state.

    Colours (SGR sequences) of a builder's output stay.
    """
    import re

    text = re.sub(r"\x1b\[[0-9;]*m", lambda match: match[0].replace("\x1b", "\0"), text)
    text = "".join(" " if c == "\t" else c for c in text if c in "\t\0" or (ord(c) >= 32 and not 127 <= ord(c) < 160))
    return text.replace("\0", "\x1b")


def human_size(count: float) -> str:
    """Return a number of bytes in decimal units, as `docker images` shows them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
