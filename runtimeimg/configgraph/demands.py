"""What an automaton asks of a host: resources, ports of the host, facts and labels, a platform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runtimeimg.configgraph.amounts import resources
from runtimeimg.configgraph.model import Automaton, Origin, Resources
from runtimeimg.errors import InvalidDocumentError, RuntimeimgError
from runtimeimg.oci import Platform
from runtimeimg.selection.criteria import Preference, Requirement, parse_preference, parse_requirement

EVERY_HOST = "host"
"""What `placement.spread` calls the hosts themselves."""
_ANY_ADDRESS = frozenset({"", "0.0.0.0", "::", "[::]"})  # noqa: S104 - compared with, not listened on


@dataclass(frozen=True, slots=True, order=True)
class HostPort:
    """A port of a host; on all its addresses where `address` is empty."""

    number: int
    protocol: str
    address: str = ""

    def clashes(self, other: HostPort) -> bool:
        """Tell whether a host has room for one of the two only."""
        same = self.address == other.address or not self.address or not other.address
        return same and (self.number, self.protocol) == (other.number, other.protocol)

    def __str__(self) -> str:
        return f"{self.address}:{self.number}/{self.protocol}" if self.address else f"{self.number}/{self.protocol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What each instance of an automaton asks for; `hosts` are the names of those it may run on, all where empty."""

    automaton: str
    artefact: str
    resources: Resources = field(default_factory=Resources)
    ports: tuple[HostPort, ...] = ()
    hosts: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    prefer: tuple[str, ...] = ()
    spread: str = ""
    platform: str = ""
    origin: Origin = field(default_factory=Origin)
    """Where its document says so: the line of its placement, else that of the document."""

    @property
    def rules(self) -> tuple[Any, ...]:
        """What decides which hosts do and which are liked, whatever runs on them; equal ones have the same answer."""
        return (self.artefact, self.hosts, self.require, self.prefer, self.spread, self.platform)

    @property
    def key(self) -> tuple[Any, ...]:
        """What decides where an instance may go; equal ones may go to the same hosts."""
        return (self.rules, self.amounts, self.ports)

    @property
    def amounts(self) -> tuple[tuple[str, int], ...]:
        """What is asked for of each resource, by its name."""
        found = self.resources
        pairs = [("cpu", found.cpu), ("memory", found.memory), *sorted(found.others.items())]
        return tuple((name, amount) for name, amount in pairs if amount)


def demand(node: Automaton) -> Demand:
    """Return what an automaton asks for; InvalidDocumentError where its node says nothing valid."""
    placement = node.given.get("placement") or {}
    try:
        return Demand(
            automaton=node.id,
            artefact=node.artefact,
            resources=resources(node.given.get("resources") or {}),
            ports=tuple(sorted(set(_ports(node.given.get("ports") or ())))),
            hosts=_texts(placement.get("hosts")),
            require=_texts(placement.get("require")),
            prefer=_texts(placement.get("prefer")),
            spread=str(placement.get("spread") or ""),
            platform=_platform(placement.get("platform")),
            origin=_origin(node),
        )
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeimgError) as error:
        raise InvalidDocumentError(
            f"{node.origin}: '{node.id}': placement, resources or ports are not valid: {error}",
            hint="build the graph anew with 'runtimeimg graph build'",
        ) from None


def _ports(given: Sequence[Mapping[str, Any]]) -> list[HostPort]:
    found = []
    for item in given:
        if item.get("hostPort"):
            address = str(item.get("listeningAddr") or "")
            protocol = str(item.get("protocol") or "tcp")
            found.append(HostPort(int(item["hostPort"]), protocol, "" if address in _ANY_ADDRESS else address))
    return found


def _texts(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(str(item) for item in value or ())


def _platform(value: Any) -> str:
    return Platform.parse(str(value)).full if value else ""


def _origin(node: Automaton) -> Origin:
    lines = [line for path, line in node.lines.items() if path == "placement" or path.startswith("placement.")]
    return Origin(node.origin.file, min(lines)) if lines else node.origin


def required(text: str) -> Requirement:
    """Return what an item of `placement.require` asks of a host."""
    return parse_requirement(text)


def preferred(text: str) -> Preference:
    """Return what an item of `placement.prefer` likes of a host."""
    return parse_preference(text)
