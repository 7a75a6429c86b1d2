"""Which process a container belongs to, so that what a killed one left behind can be told from what is still wanted."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A process of a machine: the boot and process namespace it runs in, its number, and when it started."""

    machine: str
    pid: int
    started: int

    @classmethod
    def current(cls) -> Self:
        """Return this process."""
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = (_PROC / "self/ns/pid").readlink()
        pid = os.getpid()
        return cls(machine=f"{boot}/{namespace}", pid=pid, started=_started(pid) or 0)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the owner that a label names, None when it names none."""
        machine, _, numbers = text.rpartition("#")
        pid, _, started = numbers.partition("@")
        if not machine or not (pid.isdecimal() and started.isdecimal() and len(numbers) < 40):
            return None
        return cls(machine=machine, pid=int(pid), started=int(started))

    def __str__(self) -> str:
        return f"{self.machine}#{self.pid}@{self.started}"

    def is_gone(self, here: Owner) -> bool:
        """Tell whether the process has ended for sure; False where it cannot be seen from `here`."""
        return self.machine == here.machine and _started(self.pid) != self.started


def _started(pid: int) -> int | None:
    """Return when a process started, in clock ticks since the boot (proc_pid_stat(5), field 22); None if it ended."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])
