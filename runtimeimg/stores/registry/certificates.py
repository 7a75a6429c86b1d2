"""`certs.d`: what docker and podman keep for a registry: authorities (*.crt), client certificates (*.cert, *.key).

The first folder that there is for a registry holds: the user's for containers and for a rootless Engine, then
/etc/containers/certs.d and /etc/docker/certs.d.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from runtimeimg.errors import UsageError
from runtimeimg.stores.base import StoreOptions
from runtimeimg.stores.registry.conf import config_home
from runtimeimg.stores.tls import Trust


def certs_folders(options: StoreOptions) -> Iterator[Path]:
    """Yield the folders that hold one folder a registry, in order."""
    if (home := config_home(options.environ)) is not None:
        yield home / "containers" / "certs.d"
        yield home / "docker" / "certs.d"
    yield options.etc / "containers" / "certs.d"
    yield options.etc / "docker" / "certs.d"


def find_certificates(registry: str, options: StoreOptions) -> Trust:
    """Return what is kept for a registry, by its host and port as it is named; nothing where there is no folder."""
    if "/" in registry or registry in {"", ".", ".."}:
        return Trust()
    for folder in certs_folders(options):
        try:
            names = sorted(path.name for path in (folder / registry).iterdir())
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        return _read(folder / registry, names)
    return Trust()


def _read(folder: Path, names: list[str]) -> Trust:
    authorities = tuple(folder / name for name in names if name.endswith(".crt"))
    pairs = []
    for name in names:
        stem, dot, kind = name.rpartition(".")
        if not dot or kind not in {"cert", "key"}:
            continue
        other = f"{stem}.{'key' if kind == 'cert' else 'cert'}"
        if other not in names:
            raise UsageError(
                f"file '{folder / name}' has no '{other}' beside it",
                hint="authorities are named *.crt, a client's certificate *.cert and its key *.key",
            )
        if kind == "cert":
            pairs.append((folder / name, folder / other))
    return Trust(authorities=authorities, pairs=tuple(pairs))
