"""Builders that share a cache while it is pruned without end: nothing is lost, nothing hangs, no result is another.

    RUNTIMEIMG_SHARED_SECONDS=120 scripts/test tests/faults/test_shared_cache.py

has eight of them at it for two minutes in place of some seconds.
"""

import os
import subprocess
import threading
import time
from pathlib import Path

from tests.faults.killing import World

SECONDS = float(os.environ.get("RUNTIMEIMG_SHARED_SECONDS") or 8)
BUILDERS = 8


def test_eight_builders_and_a_cleaner(tmp_path: Path) -> None:
    world = World(folder=tmp_path / "world")
    argvs = [
        ("build", "native.yaml", "--builder", "native", "--env", f"N={number % 4}", "-q", "-o", f"oci:out/{number}:1")
        for number in range(BUILDERS)
    ]
    wanted = [run(world, *argv, "--no-cache") for argv in argvs]
    assert len(set(wanted)) == 4
    until = time.monotonic() + SECONDS
    counts, failures = [0] * BUILDERS, []

    def build(number: int) -> None:
        while time.monotonic() < until and not failures:
            try:
                found = run(world, *argvs[number])
                assert found == wanted[number]
            except (AssertionError, subprocess.SubprocessError) as error:
                failures.append(f"builder {number} after {counts[number]} builds: {error}")
            counts[number] += 1

    def prune() -> None:
        while time.monotonic() < until and not failures:
            run(world, "cache", "prune")

    threads = [threading.Thread(target=build, args=(number,)) for number in range(BUILDERS)]
    threads += [threading.Thread(target=prune)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert min(counts) > 0
    for number in range(BUILDERS):
        assert world.marks(f"oci:out/{number}:1") == str(number % 4)
    run(world, "cache", "prune")
    assert world.remains() == []
    assert list((world.folder / "cache/runtimeimg/v1/tmp").iterdir()) == []


def run(world: World, *argv: str) -> str:
    """Run a command and return what it printed; one that hangs fails."""
    done = subprocess.run(
        [*world.command, *argv],
        capture_output=True,
        text=True,
        cwd=world.folder,
        env=world.environ,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
