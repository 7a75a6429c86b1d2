"""A run on the Engine: started, and attended to until its main command ends."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from runtimeimg.errors import RemoteError, RuntimeimgError
from runtimeimg.run import containers
from runtimeimg.run.attach import Attachment
from runtimeimg.run.attended import STOPPING, DeadDaemon, Events, Outcome, Output, StartFailed
from runtimeimg.run.bodies import RUN_LABEL, Manner, daemon_body, main_body
from runtimeimg.run.holders import find_holder
from runtimeimg.run.lines import Tail
from runtimeimg.run.plan import Daemon, RunPlan
from runtimeimg.run.ports import Publish, parse_address
from runtimeimg.stores.engine import Engine
from runtimeimg.stores.engine.unfinished import new_note

if TYPE_CHECKING:
    import requests

    from runtimeimg.remains import Note

DEAD_DAEMON = 1
"""Exit code of a run that ended because a daemon did, as that of the wrapper."""

_GRACE = 5.0  # seconds that daemons have after the main command, as in the wrapper
_TAKEN = ("already allocated", "address already in use")  # what Docker and podman say of a port that is taken
_TOGETHER = 0.5  # seconds in which the ends of a daemon and of the main command are taken for one


@dataclass(frozen=True, slots=True)
class _Ended:
    container: str
    code: int
    error: RuntimeimgError | None = None


@dataclass(slots=True)
class _Watched:
    """A container that is attended to."""

    container: str
    daemon: Daemon | None
    attachment: Attachment
    reader: threading.Thread
    tail: Tail = field(default_factory=Tail)
    restarts: int = 0


class Session:
    """The containers of one run. Used as a context manager: leaving it removes whatever is still there.

    `start` makes and starts them; `attend` waits, passes signals and input on, and ends all with the main command. Of
    a detached run `attend` is not called, and leaving the context leaves the containers.
    """

    def __init__(self, engine: Engine, plan: RunPlan, manner: Manner, output: Output) -> None:
        self._engine = engine
        self._plan = plan
        self._manner = manner
        self._output = output
        self._events: Events[_Ended | str] = Events()
        self._made: list[str] = []
        self._watched: dict[str, _Watched] = {}
        self._main = ""
        self._is_started = False
        self._is_detached = False
        self._note: Note | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if not self._is_detached:
                self._remove()
            done = True
        except BaseException:
            done = False
            raise
        finally:
            if self._note is not None:
                self._note.close(done=done)

    def _remove(self) -> None:
        for watched in self._watched.values():
            watched.attachment.close()
        if not self._manner.remove and self._main in self._made and self._is_started:
            containers.kill(self._engine, self._main, "KILL")
            self._made.remove(self._main)
        with contextlib.suppress(RemoteError):  # an Engine that went away is told by what was done before
            for container in reversed(self._made):
                containers.remove(self._engine, container)

    @property
    def main(self) -> str:
        """The id of the main container, empty before the start."""
        return self._main

    def start(self) -> tuple[Publish, ...]:
        """Make and start all containers and return the ports as they are bound.

        Raises StartFailed for a program that cannot be started, and for a host port that is taken with its holder.
        """
        engine, plan, manner = self._engine, self._plan, self._manner
        self._note = new_note(engine, f"run {manner.run_id}")
        self._note.add(label=f"{RUN_LABEL}={manner.run_id}")
        self._main = containers.create(engine, main_body(plan, manner), plan.name)
        self._made.append(self._main)
        daemons = [(daemon, self._create_daemon(daemon)) for daemon in plan.sidecars]
        self._launch(self._main, None)
        self._is_started = True
        ports = bound_ports(containers.inspect(engine, self._main) or {}, plan.ports)
        for daemon, container in daemons:
            try:
                self._launch(container, daemon)
            except StartFailed:
                # A main command that ended at once leaves nothing to join; its exit code is the answer.
                if self._is_running():
                    raise
        self._is_detached = manner.detach
        self._note.add(settled=True)
        return ports

    def signal(self, name: str) -> None:
        """Pass a signal, as `TERM`, on to the main command; may be called from a signal handler."""
        self._events.put(name)

    @property
    def input(self) -> Attachment:
        """Where the main command's standard input goes."""
        return self._watched[self._main].attachment

    def attend(self, size: Callable[[], tuple[int, int]] | None = None) -> Outcome:
        """Wait for the end of the main command, end the daemons, and return how it went.

        `size` tells rows and columns of the caller's terminal; it is asked now and at each WINCH.
        After INT, TERM or HUP the main command has the manner's stop time to end, then it is killed; a second INT kills
        it at once. When a daemon ends and may not be restarted, the main command is stopped.
        """
        if size is not None:
            containers.resize(self._engine, self._main, *size())
        dead: list[DeadDaemon] = []
        stopping = False
        kill_at: float | None = None
        while True:
            event = self._events.next(kill_at)
            if event is None:
                containers.kill(self._engine, self._main, "KILL")
                kill_at = None
            elif event == "WINCH":
                if size is not None:
                    containers.resize(self._engine, self._main, *size())
            elif isinstance(event, str):
                containers.kill(self._engine, self._main, "KILL" if stopping and event == "INT" else event)
                if event in STOPPING and not stopping:
                    stopping, kill_at = True, time.monotonic() + self._manner.stop_timeout
            elif event.container not in self._watched:
                continue  # it did not even start, which has been dealt with
            elif event.error is not None:
                raise event.error
            elif event.container == self._main:
                self._end_daemons()
                return Outcome(code=DEAD_DAEMON if dead else event.code, dead=tuple(dead))
            elif not stopping and (found := self._daemon_ended(event)) is not None:
                dead.append(found)
                stopping, kill_at = True, time.monotonic() + _GRACE
                containers.kill(self._engine, self._main, self._stop_signal())

    def _daemon_ended(self, event: _Ended) -> DeadDaemon | None:
        """Start a daemon again if it may be, else return what there is to tell; None too when all ended together."""
        watched = self._watched.pop(event.container)
        assert watched.daemon is not None
        other = self._events.within(_TOGETHER)
        if other is not None:
            self._events.put(other)
            if isinstance(other, _Ended) and other.container == self._main:
                return None
        watched.reader.join(_GRACE)
        if watched.restarts < self._plan.restart_daemons:
            containers.remove(self._engine, watched.container)
            container = self._create_daemon(watched.daemon)
            with contextlib.suppress(StartFailed):
                self._launch(container, watched.daemon, restarts=watched.restarts + 1)
                return None
        return DeadDaemon(daemon=watched.daemon, code=event.code, last=watched.tail.lines())

    def _end_daemons(self) -> None:
        """Stop all daemons at once and wait until what they and the main command wrote has been passed on."""
        others = [watched for watched in self._watched.values() if watched.daemon is not None]
        stops = [
            threading.Thread(target=containers.stop, args=(self._engine, watched.container, _GRACE), daemon=True)
            for watched in others
        ]
        for thread in stops:
            thread.start()
        for thread in [*stops, *(watched.reader for watched in self._watched.values())]:
            thread.join(2 * _GRACE)

    def _create_daemon(self, daemon: Daemon) -> str:
        name = f"{self._plan.name}-{daemon.name}" if self._plan.name else None
        body = daemon_body(self._plan, self._manner, daemon, self._main)
        container = containers.create(self._engine, body, name)
        self._made.append(container)
        return container

    def _launch(self, container: str, daemon: Daemon | None, *, restarts: int = 0) -> None:
        """Start a container; of an attended run its output and its end are listened for before."""
        if self._manner.detach:
            self._start(container, daemon)
            return
        is_main = daemon is None
        attachment = Attachment(
            self._engine, container, tty=is_main and self._manner.tty, stdin=is_main and self._manner.stdin
        )
        waiting = containers.wait(self._engine, container, removed=self._manner.remove)
        tail = Tail()

        def write(stream: int, data: bytes) -> None:
            if daemon is not None:
                tail.feed(stream, data)
            self._output(daemon, stream, data)

        reader = threading.Thread(target=attachment.pump, args=(write,), daemon=True)
        watched = _Watched(container, daemon, attachment, reader, tail, restarts)
        self._watched[container] = watched
        reader.start()
        threading.Thread(target=self._wait, args=(container, waiting), daemon=True).start()
        try:
            self._start(container, daemon)
        except BaseException:
            del self._watched[container]
            waiting.close()
            attachment.close()
            raise

    def _start(self, container: str, daemon: Daemon | None) -> None:
        try:
            containers.start(self._engine, container)
        except StartFailed as error:
            if daemon is None:
                raise _port_conflict(self._engine, self._plan, error) from None
            raise

    def _wait(self, container: str, response: requests.Response) -> None:
        try:
            with response:
                answer = response.json()
            self._events.put(_Ended(container, int(answer["StatusCode"])))
        except Exception as error:  # noqa: BLE001 - whatever breaks the answer is told to the thread that attends
            lost = RemoteError(f"engine gave no exit code of the container: {type(error).__name__}")
            self._events.put(_Ended(container, 125, lost))

    def _is_running(self) -> bool:
        found = containers.inspect(self._engine, self._main)
        return bool(found and found["State"]["Running"])

    def _stop_signal(self) -> str:
        found = containers.inspect(self._engine, self._main) or {}
        return str(found.get("Config", {}).get("StopSignal") or "TERM")


def bound_ports(inspection: Mapping[str, Any], planned: tuple[Publish, ...]) -> tuple[Publish, ...]:
    """Return `planned` with the host ports that the Engine chose; as planned where it tells none."""
    there = (inspection.get("NetworkSettings") or {}).get("Ports") or {}
    free = {key: [dict(item) for item in value or ()] for key, value in there.items()}
    ports = []
    for port in planned:
        host_port = port.host_port
        for item in free.get(port.container_port, ()) if not host_port else ():
            if parse_address(str(item.get("HostIp") or "0.0.0.0")) == port.address:  # noqa: S104 - compared, not bound
                host_port = int(item["HostPort"])
                free[port.container_port].remove(item)
                break
        ports.append(replace(port, host_port=host_port))
    return tuple(ports)


def _port_conflict(engine: Engine, plan: RunPlan, error: StartFailed) -> StartFailed:
    """Return an error that names who holds a port that the plan wants; `error` itself when ports are not to blame."""
    if error.exit_code != 125 or not any(sign in str(error) for sign in _TAKEN):
        return error
    for port in plan.ports:
        holder = find_holder(engine, port) if port.host_port else None
        if holder:
            return StartFailed(
                f"port {port.host_port} of {port.address} is taken by {holder}",
                code=125,
                hint=f"pass -p OTHER:{port.port} for another port, or -P for free ones",
            )
    return StartFailed(str(error), code=125, hint="pass -p HOST:PORT for another port, or -P for free ones")
