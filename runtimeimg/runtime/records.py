"""What is known of a run through a runtime, as it is kept beside its bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from runtimeimg.budgets import MAX_DOCUMENT
from runtimeimg.errors import RuntimeimgError
from runtimeimg.hostfile import read_file
from runtimeimg.run.ports import Publish
from runtimeimg.stores.files import write_atomically

NAME = "run.json"
STARTING, RUNNING, EXITED = "starting", "running", "exited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A run: its container's id and its name, the image as it was asked for, the runtime's name and program.

    `created` is in seconds since 1970. `state` is STARTING, RUNNING, or EXITED with the exit code, which only that of
    a run that is kept can be. `ports` are those that the program is expected to listen on.
    """

    id: str
    name: str
    image: str
    runtime: str
    program: str
    created: float
    attached: bool
    kept: bool
    terminal: bool
    stop_signal: str
    stop_timeout: float
    ports: tuple[Publish, ...] = ()
    daemons: tuple[str, ...] = ()
    state: str = STARTING
    code: int | None = None

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the record in a run's folder, None where there is none that is whole."""
        try:
            data = json.loads(read_file(folder / NAME, MAX_DOCUMENT))
            return cls.from_json(data)
        except (RuntimeimgError, ValueError, TypeError, LookupError, AttributeError):
            return None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return what `to_json` gave."""
        ports = tuple(Publish(**item) for item in data["ports"])
        return cls(**{**data, "ports": ports, "daemons": tuple(data["daemons"])})

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON."""
        return asdict(self)

    def save(self, folder: Path) -> None:
        """Keep the record in a run's folder, in place of the one that is there."""
        write_atomically(folder / NAME, json.dumps(self.to_json()).encode())

    @property
    def status(self) -> str:
        """What `ps` says of it."""
        return f"exited ({self.code})" if self.state == EXITED else self.state
