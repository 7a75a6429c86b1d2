"""What a display knows of transfers: grouped by what is done with which image, and said in lines that fit."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from runtimeimg.text import human_size


@dataclass(slots=True)
class Part:
    """One transfer; `total` None when its size is not known, `moved` False when no byte had to move."""

    label: str
    total: int | None
    began: float
    count: int = 0
    ended: float | None = None
    note: str = ""


@dataclass(slots=True)
class Phase:
    """All transfers of one kind for one image, called `title`."""

    title: str
    began: float
    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        """Whether a transfer goes on."""
        return any(part.ended is None for part in self.parts.values())

    def facts(self, now: float) -> tuple[str, str, str, str]:
        """Return bytes, speed, time so far and time left, each empty where there is nothing to say."""
        moving = [part for part in self.parts.values() if not part.note]
        count = sum(part.count for part in moving)
        totals = [part.total if part.ended is None else part.count for part in moving]
        total = None if None in totals else sum(item or 0 for item in totals)
        ends = [part.ended for part in self.parts.values() if part.ended is not None]
        seconds = max((now if self.running else max(ends, default=now)) - self.began, 0.0)
        speed = count / seconds if seconds >= 0.5 else 0.0
        left = ""
        if self.running and total and speed:
            left = f"{_clock((total - count) / speed)} left"
        return (self._bytes(count, total), f"{human_size(speed)}/s" if speed else "", _clock(seconds), left)

    def _bytes(self, count: int, total: int | None) -> str:
        there = sum(1 for part in self.parts.values() if part.note)
        if there == len(self.parts):
            return "there already" if all(part.note != "mounted" for part in self.parts.values()) else "mounted"
        if self.running and total and total >= count:
            return f"{human_size(count)}/{human_size(total)}"
        return human_size(count)

    def line(self, now: float, width: int) -> str:
        """Return the phase in one line of at most `width` columns: what, and its facts in columns of their own."""
        count, speed, clock, left = self.facts(now)
        facts = f"{count:>17} {speed:>10} {clock:>5} {left:<10}".rstrip()
        room = width - 46
        if room < 10:
            return f"{self.title} {count}"[:width]
        title = self.title
        if len(title) > room:
            # The end of a name tells images apart, its beginning what is done.
            kept = room - 1
            title = f"{title[: kept // 2]}…{title[len(title) - (kept - kept // 2) :]}"
        return f"{title:<{room}} {facts}"[:width]


class Phases:
    """The phases so far, in the order in which they began; may be told of transfers from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._phases: dict[str, Phase] = {}
        self._of: dict[str, Phase] = {}

    def start(self, key: str, label: str, total: int | None, now: float) -> None:
        """Begin a transfer; one that begins again counts from nothing."""
        title = label.rpartition(" ")[0] or label
        with self._lock:
            phase = self._phases.setdefault(title, Phase(title, now))
            self._of[key] = phase
            phase.parts[key] = Part(label, total, now)

    def advance(self, key: str, count: int) -> Phase | None:
        """Count bytes and return the phase that they belong to."""
        with self._lock:
            phase = self._of.get(key)
            if phase is not None:
                phase.parts[key].count += count
            return phase

    def done(self, key: str, note: str, now: float) -> None:
        """End a transfer; `note` says why no byte had to move."""
        with self._lock:
            if (phase := self._of.get(key)) is not None:
                phase.parts[key].ended, phase.parts[key].note = now, note

    def part(self, key: str) -> tuple[str, float, int]:
        """Return label, begin and bytes of a transfer."""
        with self._lock:
            phase = self._of.get(key)
            part = phase.parts[key] if phase is not None else Part(key, None, 0.0)
            return part.label, part.began, part.count

    def lines(self, now: float, width: int) -> list[str]:
        """Return a line for each phase."""
        with self._lock:
            return [phase.line(now, width) for phase in self._phases.values()]


def _clock(seconds: float) -> str:
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
