"""Which ports of an image are published where: from its graph, from `-p`, or free ones."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.oci import ImageConfig
from runtimeimg.runtimegraph import RuntimeGraph

LOOPBACK = "127.0.0.1"
PROTOCOLS = ("tcp", "udp", "sctp")
MAX_PORTS = 256
"""Published ports of one run; an Engine starts a process for each."""

_PUBLISH = re.compile(
    r"(?:(?:(?P<address>\[[^\]]+\]|[^:\[\]]+):)?(?P<host>[0-9]*):)?(?P<port>[0-9]+)(?:/(?P<protocol>[a-z]+))?\Z"
)
_EXPOSED = re.compile(r"([0-9]{1,5})(?:/([a-z]+))?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """A port of the container on an address of the host; `host_port` 0 lets the Engine pick a free one."""

    port: int
    protocol: str = "tcp"
    host_port: int = 0
    address: str = LOOPBACK
    service: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what `[[ADDRESS:]HOST:]PORT[/PROTOCOL]` of `-p` says, or raise UsageError.

        An IPv6 address stands in brackets. Without HOST (or with an empty one) a free port is picked; without ADDRESS
        it is 127.0.0.1.
        """
        hint = "write [[ADDRESS:]HOST:]PORT[/udp]"
        found = _PUBLISH.match(text)
        if found is None:
            raise UsageError(f"-p {text!r} is no port", hint=hint)
        try:
            return cls(
                port=_port(found["port"], 1),
                protocol=_protocol(found["protocol"] or "tcp"),
                host_port=_port(found["host"], 0) if found["host"] else 0,
                address=parse_address(found["address"]) if found["address"] else LOOPBACK,
            )
        except ValueError as error:
            raise UsageError(f"-p {text!r}: {error}", hint=hint) from None

    @property
    def container_port(self) -> str:
        """Port and protocol as OCI configs and the Engine write them."""
        return f"{self.port}/{self.protocol}"

    @property
    def host(self) -> str:
        """The address as it stands before `:PORT`, an IPv6 address in brackets."""
        return f"[{self.address}]" if ":" in self.address else self.address

    @property
    def binding(self) -> str:
        """The binding as `-p` of docker and podman, Compose and quadlets write it."""
        return f"{self.host}:{self.host_port or ''}:{self.container_port}"

    def overlaps(self, other: Publish) -> bool:
        """Tell whether both want the same port of the host."""
        if not self.host_port or (self.host_port, self.protocol) != (other.host_port, other.protocol):
            return False
        return self.address == other.address or _everywhere(self.address, other) or _everywhere(other.address, self)


def parse_address(text: str) -> str:
    """Return the IP address that `text` names (`localhost` and brackets are understood), or raise ValueError."""
    if text == "localhost":
        return LOOPBACK
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if "%" in bare:
        raise ValueError(f"address {text!r} has a zone; an Engine binds to plain addresses")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        raise ValueError(f"address {text!r} is not an IP address") from None


def planned_ports(
    config: ImageConfig, graph: RuntimeGraph | None, given: Sequence[Publish], *, free: bool
) -> tuple[Publish, ...]:
    """Return what is published.

    A port of `given` (`-p`) replaces what the graph says of the same port. With `free` (`-P`) all others are published
    on free ports of 127.0.0.1, those of the config's ExposedPorts too. Raises InvalidDocumentError for a graph that
    cannot be followed and UsageError for ports that get into each other's way.
    """
    taken = {item.container_port for item in given}
    stamped = () if graph is None else tuple(_stamped(graph))
    chosen = [item for item in stamped if item.container_port not in taken]
    services = {item.container_port: item.service for item in stamped}
    if free:
        chosen = [replace(item, host_port=0, address=LOOPBACK) for item in chosen]
        known = taken | {item.container_port for item in chosen}
        chosen += [item for item in exposed(config) if item.container_port not in known]
    chosen += [replace(item, service=item.service or services.get(item.container_port, "")) for item in given]
    ports = tuple(dict.fromkeys(chosen))
    if len(ports) > MAX_PORTS:
        raise UsageError(f"{len(ports)} ports would be published; {MAX_PORTS} are allowed")
    for index, item in enumerate(ports):
        for other in ports[:index]:
            if item.overlaps(other):
                raise UsageError(
                    f"ports {other.container_port} and {item.container_port} both want host port {item.host_port}",
                    hint=f"pass -p HOST:{item.port} with another HOST, or -P for free ones",
                )
    return ports


def exposed(config: ImageConfig) -> tuple[Publish, ...]:
    """Return the config's ExposedPorts, to be published on free ports; entries that name no port are passed over."""
    value = config.config.get("ExposedPorts")
    found = [match for key in (value if isinstance(value, dict) else {}) if (match := _EXPOSED.match(key))]
    return tuple(
        sorted(
            (
                Publish(port=int(match[1]), protocol=match[2] or "tcp")
                for match in found
                if 0 < int(match[1]) <= 65535 and (match[2] or "tcp") in PROTOCOLS
            ),
            key=lambda item: (item.port, item.protocol),
        )
    )


def _stamped(graph: RuntimeGraph) -> Iterable[Publish]:
    for index, item in enumerate(graph.expose):
        try:
            address = parse_address(item.listening_addr) if item.listening_addr else LOOPBACK
        except ValueError as error:
            raise InvalidDocumentError(
                f"runtime graph: expose[{index}]: {error}", hint=f"pass -p HOST:{item.port} after mending the labels"
            ) from None
        yield Publish(port=item.port, host_port=item.host_port, address=address, service=item.service_name)


def _everywhere(address: str, other: Publish) -> bool:
    return address == "::" or (address == "0.0.0.0" and ":" not in other.address)  # noqa: S104 - compared, not bound


def _port(text: str, least: int) -> int:
    if not text.isascii() or not text.isdecimal() or not least <= int(text[:6]) <= 65535:
        raise ValueError(f"{text!r} is not a port from {least} to 65535")
    return int(text)


def _protocol(text: str) -> str:
    if text not in PROTOCOLS:
        raise ValueError(f"protocol {text!r} is not one of {', '.join(PROTOCOLS)}")
    return text
