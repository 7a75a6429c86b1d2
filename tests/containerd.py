"""A containerd of a test's own, which ends with the test and leaves nothing."""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SECONDS = 120
WITHOUT_CRI = 'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]'
Ctr = Callable[..., subprocess.CompletedProcess[str]]


@contextmanager
def containerd(folder: Path, settings: str = WITHOUT_CRI, before: Sequence[object] = ()) -> Iterator[Ctr]:
    """Start it in a folder, by a command that comes before its own, and yield `ctr`; its socket is `folder/sock`."""
    (folder / "config.toml").write_text(
        f"""version = 2
root = "{folder / "root"}"
state = "{folder / "state"}"
{settings}
[grpc]
address = "{folder / "sock"}"
"""
    )

    def ctr(*argv: object) -> subprocess.CompletedProcess[str]:
        words = ["ctr", "--address", str(folder / "sock"), *map(str, argv)]
        return subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)

    words = [*map(str, before), "containerd", "--config", str(folder / "config.toml")]
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        end = time.monotonic() + SECONDS
        while ctr("version").returncode:
            assert daemon.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.2)
        yield ctr
    finally:
        daemon.terminate()
        daemon.wait(SECONDS)
