"""The folder where runs through runtimes are kept: for each a folder, and a lock that its process holds while it lives.

    STATE/ID.lock        held by the process that attends to the run
    STATE/ID/run.json    the record
    STATE/ID/bundle      rootfs and config.json
    STATE/ID/runtime     the state of the runtime
    STATE/ID/log         what was written, STATE/ID/log.1 what was before that

Everything of a run is removed with it. What a killed process left is told by its lock, which the kernel let go of, and
removed by the next command that looks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from runtimeimg import process
from runtimeimg.errors import NotFoundError, RemoteError, RuntimeimgError, UsageError
from runtimeimg.hostfile import explained
from runtimeimg.remains import held
from runtimeimg.remains.places import LOCK, new_locked, take
from runtimeimg.remains.trees import remove_tree
from runtimeimg.runtime import leftovers
from runtimeimg.runtime.program import Runtime
from runtimeimg.runtime.records import EXITED, Record

_ACTED_UPON = frozenset({"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET"})
"""Variables by which runtimes would give a container descriptors and sockets of whoever called them."""
_PAUSE = 0.05
_END = 30.0  # seconds that a run has to be cleared away after its end


class RunFolder:
    """The folder of one run, its lock held here; `runtime` keeps its state in it."""

    def __init__(self, path: Path, lock: IO[bytes], env: Mapping[str, str]) -> None:
        self.path = path
        self._lock = lock
        self._env = env

    @property
    def id(self) -> str:
        """The id of the run and of its container."""
        return self.path.name

    @property
    def bundle(self) -> Path:
        """Where the bundle is."""
        return self.path / "bundle"

    @property
    def log(self) -> Path:
        """Where its output is."""
        return self.path / "log"

    @property
    def descriptor(self) -> int:
        """The lock, for a program that is to hold it in our place."""
        return self._lock.fileno()

    def runtime(self, name: str) -> Runtime:
        """Return a runtime that keeps its state here; UnavailableError where it is not installed."""
        return Runtime.find(name, self.path / "runtime", self._env)

    def let_go(self) -> None:
        """Leave the run as it is: to a program that has the lock too, or to be kept after its end."""
        held.drop(self.path)
        self._lock.close()

    def remove(self) -> None:
        """End what is left of the run, and remove all of it; errors say what could not be removed."""
        record, root = Record.read(self.path), self.path / "runtime"
        leftovers.end_programs(root)
        if record is not None and (root / self.id).exists():
            Runtime(name=record.runtime, program=record.program, root=root, env=self._env).delete(self.id)
        leftovers.remove_cgroups(self.id)
        mounts = leftovers.mounts_below(self.path)
        if mounts:
            raise RemoteError(f"'{mounts[0]}' is still mounted", hint=f"umount {mounts[0]}, then 'runtimeimg ps'")
        with explained(self.path):
            self._remove_files()
        _lock_of(self.path).unlink(missing_ok=True)
        self.let_go()

    def _remove_files(self) -> None:
        try:
            remove_tree(self.path)
        except PermissionError:
            # Files of the ids that this user is lent, which it may remove in a namespace where they are its own.
            if os.geteuid() == 0 or not process.find("unshare"):
                raise
            argv = ["unshare", "--map-root-user", "--map-auto", "rm", "-rf", "--one-file-system", "--", str(self.path)]
            process.answer(argv, timeout=_END * 10, limit=1 << 16)
            remove_tree(self.path)

    def try_remove(self) -> bool:
        """Remove the run and tell whether it is gone."""
        with contextlib.suppress(RuntimeimgError, OSError):
            self.remove()
        return not self.path.exists()


class State:
    """All runs of this user; `env` is the environment of the runtimes."""

    def __init__(self, root: Path, env: Mapping[str, str]) -> None:
        self.root = root
        self._env = {name: value for name, value in env.items() if name not in _ACTED_UPON}

    @property
    def is_used(self) -> bool:
        """Whether this user ever had a run here."""
        return self.root.is_dir()

    def new(self, shown: str) -> RunFolder:
        """Make the folder of a new run; `shown` says for people what it is about."""
        with explained(self.root):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.root.stat()
            if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
                raise UsageError(f"folder '{self.root}' of runs is not this user's alone")
            lock = new_locked(self.root, LOCK)
            folder = RunFolder(Path(lock.name).with_suffix(""), lock, self._env)
            held.add(folder.path, shown, folder.try_remove)
            folder.path.mkdir(mode=0o700)
        return folder

    def take_over(self, path: Path, descriptor: int) -> RunFolder:
        """Return the folder of a run whose lock was handed over to this process."""
        return RunFolder(path, os.fdopen(descriptor, "r+b", buffering=0), self._env)

    @contextlib.contextmanager
    def naming(self, name: str) -> Iterator[None]:
        """Hold a name for a run whose record is written meanwhile; UsageError where another run has it."""
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if any(record.name == name for record in self.runs()):
                raise UsageError(f"a run is called '{name}' already", hint=f"runtimeimg stop {name}, or another --name")
            yield
        finally:
            os.close(descriptor)

    def runs(self) -> tuple[Record, ...]:
        """Return the runs that somebody attends to or that are kept, the newest first."""
        found = [record for path in self._folders() if (record := Record.read(path)) is not None]
        there = [record for record in found if record.state == EXITED or self.is_held(record)]
        return tuple(sorted(there, key=lambda record: -record.created))

    def find(self, name: str) -> Record | None:
        """Return the run of this name, or whose id begins so, None where there is none."""
        runs = self.runs()
        matching = [record for record in runs if name in {record.id, record.name}]
        matching = matching or [record for record in runs if name and record.id.startswith(name)]
        if len(matching) > 1:
            raise UsageError(f"'{name}' names {len(matching)} runs: {', '.join(record.name for record in matching)}")
        return matching[0] if matching else None

    def folder(self, record: Record) -> Path:
        """Return the folder of a run."""
        return self.root / record.id

    def is_held(self, record: Record) -> bool:
        """Tell whether a process attends to a run."""
        lock = _lock_of(self.folder(record))
        file = take(lock)
        if file is not None:
            file.close()
            return False
        return lock.exists()

    def sweep(self) -> tuple[list[str], list[RuntimeimgError]]:
        """Remove what killed processes left, and return the names of it, and why something could not be removed."""
        removed: list[str] = []
        errors: list[RuntimeimgError] = []
        for path in self._folders():
            record = Record.read(path)
            if record is not None and record.state == EXITED:
                continue
            lock = take(_lock_of(path))
            if lock is None:
                continue
            try:
                RunFolder(path, lock, self._env).remove()
                removed.append(record.name if record is not None else path.name)
            except RuntimeimgError as error:
                errors.append(error)
            finally:
                lock.close()
        return removed, errors

    def stop(self, record: Record, seconds: float) -> None:
        """Stop a run; it is killed after so many seconds. One that has ended and was kept is removed."""
        if record.state == EXITED:
            self._forget(record)
            return
        runtime = Runtime(
            name=record.runtime, program=record.program, root=self.folder(record) / "runtime", env=self._env
        )
        runtime.kill(record.id, record.stop_signal)
        if not self._ends(record, seconds):
            runtime.kill(record.id, "KILL")
            if not self._ends(record, _END):
                raise RemoteError(f"run '{record.name}' does not end", hint="the process that attends to it may hang")

    def _ends(self, record: Record, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while self.is_held(record):
            if time.monotonic() >= until:
                return False
            time.sleep(_PAUSE)
        return True

    def _forget(self, record: Record) -> None:
        lock = take(_lock_of(self.folder(record)))
        if lock is None:
            raise NotFoundError(f"run '{record.name}' does not exist any more")
        RunFolder(self.folder(record), lock, self._env).remove()

    def _folders(self) -> list[Path]:
        try:
            return sorted(path.with_suffix("") for path in self.root.glob(f"*{LOCK}"))
        except OSError:
            return []


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + LOCK)
