"""What kind of engine answers: Docker with its own or the containerd image store, or podman behind the same API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runtimeimg.stores.engine.connection import Engine

_CONTAINERD = "io.containerd.snapshotter"
_TELLS_AVAILABLE = (1, 48)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineKind:
    """`containerd` is Docker with the containerd image store, where an image's ID is that of a manifest or index.

    `tells_available` says whether an inspection tells if all blobs of a manifest are there (Engine API 1.48).
    """

    podman: bool = False
    containerd: bool = False
    tells_available: bool = False


def kind_of(engine: Engine) -> EngineKind:
    """Ask the Engine what it is."""
    version: dict[str, Any] = engine.get("/version")
    components = version.get("Components") or []
    if any(str(one.get("Name", "")).startswith("Podman") for one in components if isinstance(one, dict)):
        return EngineKind(podman=True)
    status = engine.get("/info").get("DriverStatus") or []
    containerd = any(pair[0] == "driver-type" and pair[1].startswith(_CONTAINERD) for pair in status if len(pair) == 2)
    return EngineKind(containerd=containerd, tells_available=_version(version) >= _TELLS_AVAILABLE)


def _version(version: dict[str, Any]) -> tuple[int, ...]:
    parts = str(version.get("ApiVersion", "")).split(".")
    return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else (0,)
