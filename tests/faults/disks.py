"""Disks that are small, full or read-only for the command line alone, in a namespace that ends with the test."""

import contextlib
import hashlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Disk:
    """A file system of its own: `path` is where programs in the namespace `pid` see it, `outside` where tests do."""

    path: Path
    pid: int

    @property
    def outside(self) -> Path:
        return Path(f"/proc/{self.pid}/root{self.path}")

    @property
    def enter(self) -> list[str]:
        return ["nsenter", f"--mount=/proc/{self.pid}/ns/mnt", "--"]

    def fill(self) -> None:
        """Leave no byte of it."""
        with (self.outside / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass

    def make_read_only(self) -> None:
        subprocess.run([*self.enter, "mount", "-o", "remount,ro", self.path], check=True)

    def files(self) -> dict[str, bytes]:
        """Return all files by their names, links as what they lead to."""
        return {
            str(path.relative_to(self.outside)): path.read_bytes()
            for path in sorted(self.outside.rglob("*"))
            if path.is_file()
        }


@contextlib.contextmanager
def disk(path: Path, size: int) -> Iterator[Disk]:
    """Mount a disk of `size` bytes at `path`, a folder that is made; for root alone."""
    path.mkdir()
    script = 'mount -t tmpfs -o size="$1" none "$2" && echo ready && read -r _'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(size), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as keeper:
        assert keeper.stdout is not None
        try:
            assert keeper.stdout.readline() == b"ready\n"
            yield Disk(path, keeper.pid)
        finally:
            keeper.communicate()


def run(
    args: Sequence[str],
    *,
    inside: Disk | None = None,
    env: Mapping[str, str],
    limits: Mapping[int, int] | None = None,
    redirect: str = "",
    stdout: int = subprocess.PIPE,
) -> subprocess.CompletedProcess[bytes]:
    """Run the command line, on a disk, with limits by resource, and with a redirection of the shell."""

    def bound() -> None:
        for number, limit in (limits or {}).items():
            resource.setrlimit(number, (limit, limit))

    argv = [*(inside.enter if inside else []), sys.executable, "-m", "runtimeimg", *args]
    if redirect:
        argv = ["sh", "-c", f'exec "$@" {redirect}', "sh", *argv]
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
        preexec_fn=bound if limits else None,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
    )


def half_written(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[str]:
    """Return the files that changed or are new and not whole: blobs of a layout, and a layout without an image, are."""
    found = [name for name, data in before.items() if after.get(name) != data]
    for name in sorted(set(after) - set(before)):
        path, data = Path(name), after[name]
        whole = path.parent.match("blobs/sha256") and hashlib.sha256(data).hexdigest() == path.name
        if path.name == "index.json":
            whole = json.loads(data)["manifests"] == []
        elif path.name == "oci-layout":
            whole = json.loads(data) == {"imageLayoutVersion": "1.0.0"}
        if not whole:
            found.append(name)
    return found
