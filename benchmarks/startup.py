"""How long `runtimeimg --help` and `runtimeimg render` take as whole processes, and which imports the time goes to."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
RUNS = 15
LIMITS = {"--help": 0.1, "render samples/nodejs/build.yaml": 0.3}


def seconds(*args: str) -> float:
    """Wall time of one process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *args], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def medians() -> dict[str, float]:
    """Median of RUNS processes after one to warm up, for an empty interpreter and for each command."""
    result = {"(an empty interpreter)": [seconds("-c", "") for _ in range(RUNS + 1)]}
    for command in LIMITS:
        result[command] = [seconds("-m", "runtimeimg", *command.split()) for _ in range(RUNS + 1)]
    return {name: statistics.median(times[1:]) for name, times in result.items()}


def import_table(command: str, rows: int = 12) -> list[tuple[int, str]]:
    """The costliest imports of a command: cumulative microseconds and module."""
    argv = [sys.executable, "-X", "importtime", "-m", "runtimeimg", *command.split()]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    table = []
    for line in done.stderr.splitlines():
        parts = line.removeprefix("import time:").split("|")
        if len(parts) == 3 and parts[1].strip().isdigit():
            table.append((int(parts[1]), parts[2].rstrip()))
    return sorted(table, reverse=True)[:rows]


def main() -> int:
    """Print the tables; return 1 when a median is over its limit."""
    found = medians()
    print("| command | median s | limit s |\n| --- | --- | --- |")
    for name, value in found.items():
        print(f"| `{name}` | {value:.3f} | {LIMITS.get(name, '')} |")
    for command in LIMITS:
        print(f"\n`{command}`: cumulative import time\n\n| ms | module |\n| --- | --- |")
        for micro, module in import_table(command):
            print(f"| {micro / 1000:.1f} | `{module.strip()}` |")
    return int(any(found[name] > limit for name, limit in LIMITS.items()))


if __name__ == "__main__":
    sys.exit(main())
