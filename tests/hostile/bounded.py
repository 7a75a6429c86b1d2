"""Runs a program or a piece of Python apart, within bounds, and tells what it took: tests of hostile input use it.

The memory that is told is the resident memory at its highest. A process started right from a test would be charged
with that of the test itself, which its start shares; so a small process in between starts it and reads the figures.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a process: negative codes are signals, `memory` is in MiB, times are in seconds."""

    code: int
    out: str
    err: str
    memory: float
    processor: float
    wall: float

    @property
    def said(self) -> str:
        return self.out + self.err


def run(
    argv: Sequence[object],
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    processor: int = 60,
    address_space: int = 4096,
    file_size: int = 8192,
    wall: float = 120,
) -> Outcome:
    """Run a program; `processor` seconds, MiB of `address_space` and of a file's size are hard limits for it."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        limits = json.dumps([processor, address_space, file_size])
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-I", "-S", __file__, report, limits, *map(str, argv)],
            input=stdin,
            env=None if env is None else dict(env),
            cwd=cwd,
            capture_output=True,
            check=False,
            timeout=wall,
        )
        code, memory, used = json.loads(report.read_text())
    return Outcome(
        code=code,
        out=done.stdout.decode(errors="replace"),
        err=done.stderr.decode(errors="replace"),
        memory=memory / 1024,
        processor=used,
        wall=time.monotonic() - started,
    )


def cli(*args: object, env: Mapping[str, str] | None = None, **limits: object) -> Outcome:
    """Run the command line of this checkout."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    return run([sys.executable, "-m", "runtimeimg", *args], env=environ, **limits)


def python(code: str, *args: object, env: Mapping[str, str] | None = None, **limits: object) -> Outcome:
    """Run a piece of Python that may import this package and the tests."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    return run([sys.executable, "-c", code, *args], env=environ, **limits)


def _child(report: str, limits: str, argv: list[str]) -> None:
    processor, address_space, file_size = json.loads(limits)

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (processor, processor + 5))
        resource.setrlimit(resource.RLIMIT_AS, (address_space << 20, address_space << 20))
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size << 20, file_size << 20))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    code = subprocess.run(argv, preexec_fn=bound, check=False).returncode
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    Path(report).write_text(json.dumps([code, used.ru_maxrss, used.ru_utime + used.ru_stime]))


if __name__ == "__main__":
    _child(sys.argv[1], sys.argv[2], sys.argv[3:])
