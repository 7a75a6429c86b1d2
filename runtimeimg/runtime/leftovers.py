"""What a run may leave outside of its folder when nobody could tidy up: processes, control groups, mounts."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
_OCTAL = re.compile(rb"\\([0-7]{3})")
_PATIENCE = 10.0
_PAUSE = 0.02


def cgroup_name(container: str) -> str:
    """Return the name of a container's control group, at the top of each hierarchy."""
    return f"runtimeimg-{container}"


def end_programs(root: Path) -> None:
    """Kill programs of this user that were started with `root` as folder of state, and wait until they are gone.

    A runtime whose caller was killed may still be making a container; what it has made so far ends with it, unless it
    is told of in that folder.
    """
    word = os.fsencode(root)
    for number in _of_this_user():
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(number)  # first: what is looked at is then what is killed
            try:
                words = (_PROC / str(number) / "cmdline").read_bytes().split(b"\0")
                if b"--root" in words and words[words.index(b"--root") + 1] == word:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    _wait(number)
            finally:
                os.close(pidfd)


def remove_cgroups(container: str) -> None:
    """Remove the control groups of a container that has ended; those that are still in use stay."""
    name = cgroup_name(container)
    with contextlib.suppress(OSError):
        for top in (_CGROUPS, *_CGROUPS.iterdir()):
            group = top / name
            if group.is_dir():
                for folder, _, _ in os.walk(group, topdown=False):
                    with contextlib.suppress(OSError):
                        os.rmdir(folder)  # noqa: PTH106 - what walk gives is text


def mounts_below(folder: Path) -> list[str]:
    """Return where something is mounted in a folder, the innermost first (proc_pid_mountinfo(5))."""
    found = []
    with contextlib.suppress(OSError):
        for line in (_PROC / "self/mountinfo").read_bytes().splitlines():
            place = os.fsdecode(_OCTAL.sub(lambda found: bytes([int(found[1], 8)]), line.split(b" ")[4]))
            if Path(place).is_relative_to(folder):
                found.append(place)
    return sorted(found, key=len, reverse=True)


def _of_this_user() -> Iterator[int]:
    own = os.geteuid()
    for entry in _PROC.iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if entry.stat().st_uid == own:
                    yield int(entry.name)


def _wait(number: int) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        try:
            state = (_PROC / str(number) / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state in {"Z", "X"}:
            return
        time.sleep(_PAUSE)
