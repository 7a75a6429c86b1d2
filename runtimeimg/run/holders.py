"""Who holds a port of this machine that a container wants."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from runtimeimg.run.ports import Publish
from runtimeimg.stores.engine import Engine

_PROC = Path("/proc")
_LISTEN = "0A"
_UNCONNECTED = "07"


def find_holder(engine: Engine, port: Publish) -> str | None:
    """Return who holds `port`, for people: a container by its name, or a process of this machine; None if unknown.

    Processes are only looked for when the Engine is reached over a local socket, and only those of other users that
    the caller may look at are found.
    """
    for container in engine.get("/containers/json"):
        for bound in container.get("Ports") or ():
            there = (bound.get("PublicPort"), bound.get("Type"))
            address = str(bound.get("IP") or "0.0.0.0")  # noqa: S104 - compared, not bound
            if there == (port.host_port, port.protocol) and port.overlaps(replace(port, address=address)):
                return f"container '{_name(container)}'"
    if not engine.address.startswith("unix://"):
        return None
    inodes = {inode for address, inode in _listening(port) if port.overlaps(replace(port, address=address))}
    if not inodes:
        return None
    return _process_with(inodes) or "another process of this machine"


def _name(container: dict[str, list[str]]) -> str:
    names = container.get("Names") or ["?"]
    return names[0].lstrip("/")


def _listening(port: Publish) -> Iterator[tuple[str, str]]:
    """Yield address and inode of sockets that listen at the port's number (proc_net(5))."""
    for suffix in ("", "6"):
        try:
            lines = (_PROC / "net" / f"{port.protocol}{suffix}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            address, _, number = fields[1].rpartition(":")
            if int(number, 16) == port.host_port and fields[3] in {_LISTEN, _UNCONNECTED}:
                yield _address(address), fields[9]


def _address(text: str) -> str:
    """Return the address that the kernel writes as 32-bit words in this machine's (little-endian) order."""
    words = bytes.fromhex(text)
    raw = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    return str(ipaddress.ip_address(raw))


def _process_with(inodes: set[str]) -> str | None:
    """Return the process that has one of the sockets open; those that may not be looked at are passed over."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for folder in _PROC.iterdir():
        if not folder.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            if any(str(link.readlink()) in wanted for link in (folder / "fd").iterdir()):
                return f"process {folder.name} ({(folder / 'comm').read_text().strip()})"
    return None
