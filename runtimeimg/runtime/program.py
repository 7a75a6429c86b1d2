"""The OCI runtime as a program: runc and crun take the same commands (runc(8), crun(1))."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtimeimg import process
from runtimeimg.errors import RemoteError, UnavailableError
from runtimeimg.run.attended import StartFailed

NAMES = ("runc", "crun")

_UNIFIED = Path("/sys/fs/cgroup/unified")
_PATIENCE = 120.0  # seconds that a machine full of work may need to make a container
_MOST = 64 << 10
_LOGGED = re.compile(r'level=(?:error|fatal) msg="((?:[^"\\]|\\.)*)"')
_WORDY = re.compile(
    r"\A(?:runc (?:create|run) failed: |container_linux\.go:\d+: |starting container process caused: "
    r"|unable to start container process: )+"
)
# What the two say of a program that is not there or may not be executed, each after its own fashion.
_PROGRAM = re.compile(r'\bexec: "|\bopen executable\b|\bexecutable file\b')
_NOT_FOUND = re.compile("executable file not found|no such file or directory|not a directory", re.IGNORECASE)
_REFUSED = re.compile("permission denied|operation not permitted|exec format error|is a directory", re.IGNORECASE)
_HINTS = {
    "cgroups in hybrid mode": "control groups of v1 and v2 together are for root alone with crun: use --runtime runc",
    "cgroup.subtree_control": "this user may make no cgroups here; log in by systemd, or run as root",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A runtime: its name, where its program is, the folder that it keeps its state in, and its environment."""

    name: str
    program: str
    root: Path
    env: Mapping[str, str]

    @classmethod
    def find(cls, name: str, root: Path, env: Mapping[str, str]) -> Runtime:
        """Return the runtime of this name on the PATH of `env`; UnavailableError where there is none."""
        program = process.find(name, env.get("PATH", os.defpath))
        if program is None:
            raise UnavailableError(f"runtime '{name}' is not installed", hint=f"install the package {name}")
        return cls(name=name, program=program, root=root, env=env)

    def create(
        self, container: str, bundle: Path, streams: tuple[int, int, int], *, pid_file: Path, console: str | None
    ) -> int:
        """Make a container that waits to be started, its process's standard streams these; return the exit code.

        With a terminal its other end is sent to the socket `console`.
        """
        options = ["--console-socket", console] if console else []
        argv = self._argv("create", "--bundle", str(bundle), "--pid-file", str(pid_file), *options, container)
        return process.call(argv, streams=streams, env=self.env, timeout=_PATIENCE)

    def start(self, container: str) -> None:
        """Start a container that was made; StartFailed says why not."""
        code, said = self._ask("start", container)
        if code:
            raise self.failure(said)

    def kill(self, container: str, signal: str) -> None:
        """Send a signal, as `TERM`, to the container's process; nothing happens when it has ended."""
        self._ask("kill", container, signal)

    def delete(self, container: str) -> None:
        """Kill what is left of a container and remove all that the runtime keeps of it; RemoteError if that fails."""
        code, said = self._ask("delete", "--force", container)
        # The file of a state that was never written: there is nothing to delete.
        if code and (self.root / container).exists():
            raise RemoteError(f"runtime '{self.name}' does not delete container '{container}': {message(said)}")

    def failure(self, said: str) -> StartFailed:
        """Return the error for a container that could not be started; `said` is what the runtime wrote."""
        text = message(said) or "no reason is given"
        code = 125
        if _PROGRAM.search(text):
            code = 127 if _NOT_FOUND.search(text) else 126 if _REFUSED.search(text) else 125
        hint = next((hint for sign, hint in _HINTS.items() if sign in text), None)
        return StartFailed(f"runtime '{self.name}' cannot start the container: {text}", code=code, hint=hint)

    def _argv(self, *words: str) -> list[str]:
        return [*self._before(), self.program, "--root", str(self.root), *words]

    def _before(self) -> list[str]:
        """Return what stands before the program's name.

        crun takes no machine with control groups of v1 and of v2 besides. Root may start it where the second are not
        mounted; the container sees none of it but that.
        """
        if self.name != "crun" or os.geteuid() != 0 or not _is_hybrid() or not process.find("unshare"):
            return []
        return ["unshare", "--mount", "sh", "-c", 'umount "$0" && exec "$@"', str(_UNIFIED)]

    def _ask(self, *words: str) -> tuple[int, str]:
        code, out, last = process.answer(self._argv(*words), env=self.env, timeout=_PATIENCE, limit=_MOST)
        return code, last or out.decode("utf-8", "replace").strip()


def _is_hybrid() -> bool:
    """Tell whether there are control groups of v2 beside those of v1, with controllers (cgroups(7))."""
    try:
        return bool((_UNIFIED / "cgroup.controllers").read_text().strip())
    except OSError:
        return False


def message(said: str) -> str:
    """Return what a runtime's error says: runc writes logfmt, crun plain lines."""
    logged = _LOGGED.findall(said)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    text = re.sub(r"\\(.)", r"\1", logged[-1]) if logged else (lines[-1] if lines else "")
    return _WORDY.sub("", text)
