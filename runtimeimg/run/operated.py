"""What an operator wants of a run beside what its image says: a form that documents of all kinds are written from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume that outlives containers; `size` in bytes, None where nobody says one."""

    name: str
    path: str
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A path of the host, or with an empty `source` a tmpfs, that is mounted at `target`."""

    target: str
    source: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit of the process, `nofile` and so on (getrlimit(2))."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Operated:
    """None, or nothing, leaves a field to the image and to the defaults of what is written.

    `uid` and `gid` are numbers, `user` a name that the image knows (with its group behind a colon) where there are no
    numbers. `capabilities` are all that the process has. `cpu` is in thousandths of a processor, `memory` in bytes,
    `others` by the names that Kubernetes has for them. `hosts` are the only ones that it may run on.
    """

    cwd: str | None = None
    uid: int | None = None
    gid: int | None = None
    user: str | None = None
    groups: tuple[int, ...] = ()
    hostname: str | None = None
    read_only: bool | None = None
    capabilities: tuple[str, ...] | None = None
    no_new_privileges: bool | None = None
    terminal: bool = False
    limits: tuple[Limit, ...] = ()
    bound: tuple[Bound, ...] = ()
    state: tuple[Volume, ...] = ()
    replicas: int = 1
    cpu: int | None = None
    memory: int | None = None
    others: Mapping[str, int] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()

    @property
    def places(self) -> frozenset[str]:
        """Where something is mounted that takes the place of a volume of the image."""
        return frozenset(item.target for item in self.bound) | frozenset(item.path for item in self.state)


NOTHING = Operated()
