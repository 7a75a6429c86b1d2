"""`daemon.json` of the Docker Engine, as far as it says how registries are reached."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtimeimg.budgets import MAX_DOCUMENT
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.hostfile import read_file
from runtimeimg.oci.documents import load_json
from runtimeimg.stores.base import StoreOptions
from runtimeimg.stores.registry.address import Address, BadAddressError
from runtimeimg.stores.registry.conf import config_home


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonJson:
    """`insecure` are hosts (with their port) and ranges of addresses; `mirrors` are those of Docker Hub."""

    insecure: tuple[str, ...] = ()
    mirrors: tuple[Address, ...] = ()

    def is_insecure(self, registry: str) -> bool:
        """Tell whether a registry, as named, is one of the insecure ones; names are not looked up for ranges."""
        if registry in self.insecure:
            return True
        host = registry.rpartition(":")[0] if registry.rpartition(":")[2].isdigit() else registry
        try:
            address = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return False
        return any(address in ipaddress.ip_network(item, strict=False) for item in self.insecure if "/" in item)


def daemon_json(options: StoreOptions) -> DaemonJson:
    """Return what the system's file says, or a rootless Engine's where the user has one."""
    for path in _files(options):
        if not os.access(path, os.R_OK):
            continue  # there is none, or it is the Engine's own: whoever may not read it is not told by it
        raw = read_file(path, MAX_DOCUMENT, "file")
        return _read(path, load_json(raw, f"file '{path}'") if raw.strip() else {})
    return DaemonJson()


def _files(options: StoreOptions) -> Iterator[Path]:
    if (home := config_home(options.environ)) is not None:
        yield home / "docker" / "daemon.json"
    yield options.etc / "docker" / "daemon.json"


def _read(path: Path, data: dict[str, Any]) -> DaemonJson:
    insecure = _strings(path, data, "insecure-registries")
    hosts = []
    for item in insecure:
        bare = item.partition("://")[2] or item
        try:
            hosts.append(str(ipaddress.ip_network(bare, strict=False)) if "/" in bare else bare)
        except ValueError:
            raise InvalidDocumentError(f"file '{path}': insecure registry {item[:100]!r} is not valid") from None
    mirrors = []
    for item in _strings(path, data, "registry-mirrors"):
        try:
            mirrors.append(Address.parse(item))
        except BadAddressError as error:
            raise InvalidDocumentError(f"file '{path}': mirror {item[:100]!r} {error}") from None
    return DaemonJson(insecure=tuple(hosts), mirrors=tuple(mirrors))


def _strings(path: Path, data: dict[str, Any], key: str) -> tuple[str, ...]:
    value = data.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidDocumentError(f"file '{path}': '{key}' is not a list of strings")
    return tuple(value)
