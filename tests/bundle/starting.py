"""Bundles started by real runtimes, in namespaces of their own: nothing of the machine is changed or taken.

crun does not start where the cgroups are of both versions at once and the second has controllers, as here; it is shown
a machine without the second. `nobody` is a user of whom nothing is known but its number.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

NOBODY = 65534
PATIENCE = 60.0
_HERE = """
ip link set lo up
umount /sys/fs/cgroup/unified 2>/dev/null
[ -z "$LENT" ] || { mount --bind "$LENT" /etc/subuid && mount --bind "$LENT" /etc/subgid; } || exit 99
cd "$BUNDLE" && exec "$@"
"""


@dataclass(frozen=True)
class Ended:
    """A container that has ended: exit code, and what it and the runtime wrote."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Starter:
    """Starts bundles with one runtime, as root or as `nobody`, who may have been lent ids by the file `lent`."""

    runtime: str
    rootless: bool = False
    lent: str = ""

    def argv(self, state: Path, name: str) -> list[str]:
        user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if self.rootless else []
        inside = [*user, self.runtime, "--root", str(state), "run", name]
        return ["unshare", "--mount", "--net", "sh", "-c", _HERE, "start", *inside]

    def environ(self, bundle: Path) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "BUNDLE": str(bundle), "LENT": self.lent, "XDG_RUNTIME_DIR": str(bundle)}

    def run(self, bundle: Path) -> Ended:
        """Start a bundle and wait for its end."""
        with self._state() as (state, name):
            done = subprocess.run(
                self.argv(state, name),
                env=self.environ(bundle),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        return Ended(done.returncode, done.stdout, done.stderr)

    @contextlib.contextmanager
    def serving(self, bundle: Path) -> Iterator[Callable[[int], str]]:
        """Start a bundle whose network is that of the runtime; the value fetches from a port of it."""
        with self._state() as (state, name), tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                self.argv(state, name),
                env=self.environ(bundle),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

            def fetch(port: int) -> str:
                until = time.monotonic() + PATIENCE
                while time.monotonic() < until and process.poll() is None:
                    if Path(f"/proc/{process.pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():
                        time.sleep(0.01)  # it has not left our network yet, where others may serve
                        continue
                    asked = subprocess.run(
                        [
                            *("nsenter", "--net", "--target", str(process.pid)),
                            *("busybox", "wget", "-q", "-O", "-", f"http://127.0.0.1:{port}/"),
                        ],
                        env={"PATH": os.environ["PATH"]},
                        capture_output=True,
                        text=True,
                        timeout=PATIENCE,
                        check=False,
                    )
                    if asked.returncode == 0:
                        return asked.stdout
                    time.sleep(0.1)
                said.seek(0)
                raise AssertionError(f"nothing answers on port {port}: {said.read().decode()}")

            try:
                yield fetch
            finally:
                ended = [self.runtime, "--root", str(state), "kill", name, "KILL"]
                subprocess.run(ended, capture_output=True, timeout=PATIENCE, check=False)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(20)
                process.kill()
                process.wait()

    @contextlib.contextmanager
    def _state(self) -> Iterator[tuple[Path, str]]:
        with tempfile.TemporaryDirectory(dir="/var/tmp") as made:
            state, name = Path(made), f"test-{uuid.uuid4().hex[:12]}"
            os.chown(state, *(NOBODY, NOBODY) if self.rootless else (0, 0))
            try:
                yield state, name
            finally:
                ended = [self.runtime, "--root", str(state), "delete", "--force", name]
                subprocess.run(ended, capture_output=True, timeout=PATIENCE, check=False)


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A folder that `nobody` may enter, and owns."""
    made = Path(tempfile.mkdtemp(dir="/var/tmp"))
    try:
        os.chown(made, NOBODY, NOBODY)
        yield made
    finally:
        shutil.rmtree(made)


def as_nobody(work: Callable[[], object]) -> None:
    """Do something as `nobody`, in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            work()
        except BaseException as error:  # noqa: BLE001 - it is told by whoever waits
            os.write(writing, f"{type(error).__name__}: {error}".encode()[:4000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        said = answer.read().decode()
    os.waitpid(child, 0)
    assert not said, said


def _why_not(*argv: str) -> str | None:
    if os.geteuid() != 0:
        return "only root can make namespaces of a test's own"
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"{argv} does not work here: {done.stderr.strip()}"


def needs_namespaces(*, user: bool = False) -> None:
    """Skip, or fail where all services are required, unless such namespaces can be made here."""
    argv = ["unshare", "--mount", "--net", "true"]
    if user:
        argv = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "unshare", "--user", "true"]
    if reason := _why_not(*argv):
        if os.environ.get("RUNTIMEIMG_REQUIRE_SERVICES"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
