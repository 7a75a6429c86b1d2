"""The runs that the Engine has, found by their labels alone, and clearing away what nobody attends to any more."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from runtimeimg.errors import NotFoundError, UsageError
from runtimeimg.run import containers
from runtimeimg.run.bodies import DAEMON_LABEL, IMAGE_LABEL, MODE_LABEL, OWNER_LABEL, ROLE_LABEL, RUN_LABEL
from runtimeimg.run.owner import Owner
from runtimeimg.run.ports import Publish
from runtimeimg.stores.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container of a run; `daemon` is empty for the main one, `state` is the Engine's word (running, exited...)."""

    id: str
    name: str
    role: str
    daemon: str
    state: str
    status: str
    attached: bool
    owner: Owner | None
    image: str
    created: int
    ports: tuple[Publish, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run: its containers, the main one first if it is still there."""

    id: str
    containers: tuple[Container, ...]

    @property
    def main(self) -> Container | None:
        """The container of the main command, None when only others are left."""
        first = self.containers[0]
        return first if first.role == "main" else None

    @property
    def name(self) -> str:
        """What the run is called: the name of its first container."""
        return self.containers[0].name

    @property
    def image(self) -> str:
        """The image as it was asked for."""
        return self.containers[0].image

    def is_orphan(self, here: Owner) -> bool:
        """Tell whether the process that attended to this run is gone for sure."""
        first = self.containers[0]
        return first.attached and first.owner is not None and first.owner.is_gone(here)


def list_runs(engine: Engine) -> tuple[Run, ...]:
    """Return all runs, the newest first."""
    found = engine.get("/containers/json", all=True, filters={"label": [RUN_LABEL]})
    by_run: dict[str, list[Container]] = {}
    for item in found:
        labels = item.get("Labels") or {}
        by_run.setdefault(labels[RUN_LABEL], []).append(_container(item, labels))
    runs = [Run(id=key, containers=tuple(sorted(items, key=_order))) for key, items in by_run.items()]
    return tuple(sorted(runs, key=lambda run: -run.containers[0].created))


def find_run(engine: Engine, name: str) -> Run:
    """Return the run whose id begins with `name` or whose main container has this name or id."""
    runs = list_runs(engine)
    matching = [run for run in runs if name in {run.id, run.name}]
    matching = matching or [run for run in runs if name and _begins(run, name)]
    if not matching:
        raise NotFoundError(f"run '{name}' does not exist", hint="see 'runtimeimg ps'")
    if len(matching) > 1:
        raise UsageError(f"'{name}' names {len(matching)} runs: {', '.join(run.name for run in matching)}")
    return matching[0]


def stop_run(engine: Engine, run: Run, seconds: float) -> None:
    """Stop a run: the main command first, then its daemons; what is not kept is gone afterwards.

    The main container is removed last: daemons share its network, and podman keeps what others depend on.
    """
    main = run.main
    removable = False
    if main is not None:
        with contextlib.suppress(NotFoundError):  # it ended meanwhile
            removable = main.state == "created" or _is_removable(engine, main)
            if main.state != "created":
                containers.stop(engine, main.id, seconds)
    for container in run.containers:
        if container.role != "main":
            containers.stop(engine, container.id, min(seconds, 5.0))
            containers.remove(engine, container.id)
    if main is not None and removable:
        _remove_main(engine, main)


def _remove_main(engine: Engine, main: Container) -> None:
    """Remove a main container, or wait until the Engine has, which does it by itself sooner or later."""
    with contextlib.suppress(NotFoundError), containers.wait(engine, main.id, removed=True) as waiting:
        containers.remove(engine, main.id)
        for _ in engine.chunks(waiting):
            pass


def sweep(engine: Engine, here: Owner) -> tuple[str, ...]:
    """Remove what killed or lost processes left, and return the names of it.

    That is: all of an attached run whose process is gone, what was made but never started by such a process, and
    daemons whose main container is gone. A label that an image carries makes no container ours to remove: only the
    process that made it can know this machine's boot.
    """
    removed = []
    for run in list_runs(engine):
        for container in run.containers:
            if _is_left(run, container, here):
                containers.remove(engine, container.id)
                removed.append(container.name)
    return tuple(removed)


def _is_left(run: Run, container: Container, here: Owner) -> bool:
    if container.owner is None or not container.owner.is_gone(here):
        return False
    return container.attached or container.state == "created" or run.main is None


def _is_removable(engine: Engine, main: Container) -> bool:
    """Tell whether a stopped main container should not be kept: the Engine removes those itself, sooner or later."""
    found = containers.inspect(engine, main.id)
    return bool(found and found["HostConfig"].get("AutoRemove"))


def _begins(run: Run, name: str) -> bool:
    return run.id.startswith(name) or any(item.id.startswith(name) for item in run.containers)


def _order(container: Container) -> tuple[int, int, str]:
    return (0 if container.role == "main" else 1, container.created, container.name)


def _container(item: Mapping[str, Any], labels: Mapping[str, str]) -> Container:
    names = item.get("Names") or ["/" + str(item["Id"])[:12]]
    return Container(
        id=str(item["Id"]),
        name=str(names[0]).lstrip("/"),
        role=labels.get(ROLE_LABEL, "main"),
        daemon=labels.get(DAEMON_LABEL, ""),
        state=str(item.get("State", "")),
        status=str(item.get("Status", "")),
        attached=labels.get(MODE_LABEL) != "detached",
        owner=Owner.parse(labels.get(OWNER_LABEL, "")),
        image=labels.get(IMAGE_LABEL) or str(item.get("Image", "")),
        created=int(item.get("Created", 0)),
        ports=tuple(_ports(item.get("Ports") or ())),
    )


def _ports(bound: Iterable[Mapping[str, Any]]) -> Iterable[Publish]:
    for entry in bound:
        if entry.get("PublicPort"):
            yield Publish(
                port=int(entry["PrivatePort"]),
                protocol=str(entry.get("Type", "tcp")),
                host_port=int(entry["PublicPort"]),
                address=str(entry.get("IP") or "0.0.0.0"),  # noqa: S104 - shown, not bound
            )
