"""Why no host does for an instance: every host with its reason, those with the same reason counted together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtimeimg.configgraph.demands import Demand
from runtimeimg.configgraph.hostsets import HostSets
from runtimeimg.configgraph.model import name_of
from runtimeimg.errors import RuntimeimgError
from runtimeimg.text import human_size

if TYPE_CHECKING:
    from runtimeimg.configgraph.placement import Room

MAX_SHOWN = 8
"""Reasons, and names of hosts with one reason, that a message lists."""
MAX_REFUSED = 50
"""Automatons that one error tells of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why some hosts do not do."""

    text: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Instances of one automaton for which there is no host."""

    demand: Demand
    instances: tuple[str, ...]
    reasons: tuple[Reason, ...] = ()
    todo: str = ""

    def lines(self) -> list[str]:
        """Return what there is to say: the place and instances, then a line for each reason, then what to do."""
        first, more = self.instances[0], len(self.instances) - 1
        others = f" and {more:,} more of '{name_of(self.demand.automaton)}'" if more else ""
        head = f"instance '{name_of(first)}'{others}: no host does"
        place = str(self.demand.origin)
        said = [f"{place}: {head}" if place else head]
        said += [f"  {_names(item.hosts)}: {item.text}" for item in self.reasons[:MAX_SHOWN]]
        if rest := self.reasons[MAX_SHOWN:]:
            said.append(f"  and {sum(len(item.hosts) for item in rest):,} more hosts for other reasons")
        if not self.reasons:
            said.append("  the graph has no hosts")
        return [
            " ".join(line.splitlines()) if number else line for number, line in enumerate([*said, f"  {self.todo}"])
        ]


def _names(hosts: Sequence[str]) -> str:
    if len(hosts) <= 3:
        return ", ".join(name_of(item) for item in hosts)
    return f"{len(hosts):,} hosts ({', '.join(name_of(item) for item in hosts[:2])}, ...)"


def refusals(
    refused: Iterable[tuple[Demand, Sequence[str]]], sets: HostSets, rooms: Sequence[Room]
) -> tuple[Refusal, ...]:
    """Return why none of the hosts does for some instances as they are filled now; of many automatons of the first."""
    return tuple(
        _refusal(wanted, ids, sets, rooms) if number < MAX_REFUSED else Refusal(demand=wanted, instances=tuple(ids))
        for number, (wanted, ids) in enumerate(sorted(refused, key=lambda item: item[0].automaton))
    )


def _refusal(wanted: Demand, instances: Sequence[str], sets: HostSets, rooms: Sequence[Room]) -> Refusal:
    found: dict[str, list[str]] = {}
    most: dict[str, int] = {}
    kinds: set[str] = set()
    for number, node in enumerate(sets.nodes):
        kind, text, left = _reason(wanted, number, sets, rooms[number])
        found.setdefault(text, []).append(node.id)
        most[text] = max(most.get(text, 0), left)
        kinds.add(kind)
    ranked = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    reasons = tuple(Reason(text=_with_left(text, most[text]), hosts=tuple(hosts)) for text, hosts in ranked)
    return Refusal(demand=wanted, instances=tuple(instances), reasons=reasons, todo=_todo(kinds))


def _reason(wanted: Demand, number: int, sets: HostSets, room: Room) -> tuple[str, str, int]:
    """Return the kind of reason, the reason, and how much is left of what there is too little of."""
    if text := sets.unfit(wanted, number):
        return "unfit", text, 0
    if (short := room.short(wanted)) is not None:
        name, left, asked = short
        if name not in room.limits:
            return "unfit", f"no {name}", 0
        return "full", f"{name}: {_amount(name, asked)} is asked for, {_LEFT}", left
    clash = room.clash(wanted)
    assert clash is not None
    return "port", f"port {clash[0]} is taken", 0


_LEFT = "too little is left"


def _with_left(text: str, left: int) -> str:
    if not text.endswith(_LEFT):
        return text
    return f"{text.removesuffix(_LEFT)}at most {_amount(text.partition(':')[0], left)} is left"


def _amount(name: str, amount: int) -> str:
    if name == "cpu":
        return f"{amount}m"
    return human_size(amount) if name == "memory" else str(amount)


def _todo(kinds: set[str]) -> str:
    if not kinds:
        return "add a document of the kind Host"
    said = []
    if "full" in kinds:
        said.append("lower 'resources' or 'replicas', or add a host")
    if "port" in kinds:
        said.append("choose another 'hostPort', or add a host")
    if "unfit" in kinds:
        said.append("relax 'placement', build the artefact for another platform, or add a host")
    return f"{'; or '.join(said)}; '--partial' places the others"


class NotPlacedError(RuntimeimgError):
    """There are instances for which no host does; `refused` says which and why."""

    def __init__(self, refused: Sequence[Refusal]) -> None:
        lines = [line for item in refused[:MAX_REFUSED] for line in item.lines()]
        if len(refused) > MAX_REFUSED:
            lines.append(f"and instances of {len(refused) - MAX_REFUSED:,} more automatons")
        super().__init__("\n".join(lines))
        self.refused = tuple(refused)
