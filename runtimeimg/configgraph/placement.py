"""Instances onto hosts: a greedy rule, the same every time, that says of each why it is where it is.

1. With an earlier placement, what may stay where it was stays: the host still does and has the resources and ports.
2. The others go one after another: those first that the fewest hosts do for, then those that ask for the largest share
   of the largest host, then by id.
3. Each goes to the host that does (pins, requirements, platform, resources, ports) and has, in this order, the fewest
   instances of the same automaton in what is spread over, the largest weight of preferences, the fewest bytes to be
   moved there, the least that is taken of its resources, the least id.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from runtimeimg.configgraph.demands import EVERY_HOST, Demand, HostPort, demand
from runtimeimg.configgraph.hostsets import Group, HostSets, Ranked, members
from runtimeimg.configgraph.model import Artefact, Automaton, Graph, HostNode, Instance, Layer, name_of
from runtimeimg.configgraph.unplaced import Refusal, refusals
from runtimeimg.text import human_size

_FEW = 32
"""Hosts of a group up to which all are looked at; of more the least busy of all hosts are tried in their order."""
MILLION = 1_000_000


@dataclass(slots=True)
class Room:
    """What is left of a host."""

    node: HostNode
    limits: Mapping[str, int | None]
    used: dict[str, int] = field(default_factory=dict)
    ports: dict[tuple[int, str], list[tuple[HostPort, str]]] = field(default_factory=dict)
    count: int = 0

    @classmethod
    def of(cls, node: HostNode) -> Room:
        """Return all that a host has."""
        found = node.resources
        return cls(node, {"cpu": found.cpu, "memory": found.memory, **found.others})

    def has(self, wanted: Demand) -> bool:
        """Tell whether an instance fits."""
        return self.short(wanted) is None and (not wanted.ports or self.clash(wanted) is None)

    def short(self, wanted: Demand) -> tuple[str, int, int] | None:
        """Return the first resource that there is too little of, with what is left and what is asked for."""
        for name, amount in wanted.amounts:
            limit = self.limits.get(name, 0)
            if limit is not None and self.used.get(name, 0) + amount > limit:
                return name, max(limit - self.used.get(name, 0), 0), amount
        return None

    def clash(self, wanted: Demand) -> tuple[HostPort, str] | None:
        """Return the first port that is taken, with the instance that has it."""
        for port in wanted.ports:
            for taken, instance in self.ports.get((port.number, port.protocol), ()):
                if port.clashes(taken):
                    return port, instance
        return None

    def take(self, wanted: Demand, instance: str) -> None:
        """Take what an instance asks for."""
        self.count += 1
        for name, amount in wanted.amounts:
            self.used[name] = self.used.get(name, 0) + amount
        for port in wanted.ports:
            self.ports.setdefault((port.number, port.protocol), []).append((port, instance))

    @property
    def busy(self) -> int:
        """How much is taken, in millionths: of the resource of which most is, and a thousandth for each instance."""
        shares = (self.used.get(name, 0) * MILLION // limit for name, limit in self.limits.items() if limit)
        return max(shares, default=0) + self.count * 1000


@dataclass(slots=True)
class Crowd:
    """How many instances of an automaton are in each part of what they are spread over."""

    counts: dict[object, int] = field(default_factory=dict)
    hosts: dict[int, int] = field(default_factory=dict)
    """The hosts of the parts that have so many."""

    def add(self, part: object, hosts: int) -> None:
        """Add an instance in a part, which consists of some hosts."""
        count = self.counts.get(part, 0)
        self.counts[part] = count + 1
        if count:
            self.hosts[count] &= ~hosts
        self.hosts[count + 1] = self.hosts.get(count + 1, 0) | hosts

    def levels(self, hosts: int) -> Iterator[tuple[int, int]]:
        """Yield hosts by how many instances there are in their part, the fewest first."""
        crowded = 0
        for there in self.hosts.values():
            crowded |= there
        yield 0, hosts & ~crowded
        for count in sorted(self.hosts):
            yield count, hosts & self.hosts[count]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A graph whose instances have hosts, how many of them stayed or moved, and what no host was found for."""

    graph: Graph
    instances: tuple[Instance, ...]
    stayed: int
    moved: int
    refused: tuple[Refusal, ...]


def place(graph: Graph, keep: Graph | None = None) -> Placed:
    """Return a graph with its instances placed anew; with `keep` those that may stay are where they are there.

    Raises InvalidDocumentError for automatons or hosts that are not valid.
    """
    work = _Work(graph)
    old = {node.id: node.host for node in (keep.nodes.values() if keep else ()) if isinstance(node, Instance)}
    waiting = [node for node in work.instances if not work.stay(node, old.get(node.id, ""))]
    stayed = len(work.instances) - len(waiting)
    for node in sorted(waiting, key=work.turn):
        work.put(node, old.get(node.id, ""))
    instances = tuple(work.done[node.id] for node in work.instances)
    return Placed(
        graph=Graph({**graph.nodes, **work.done}),
        instances=instances,
        stayed=stayed,
        moved=sum(bool(old.get(node.id)) and node.host not in {"", old[node.id]} for node in instances),
        refused=refusals(((work.demands[name], ids) for name, ids in work.refused.items()), work.sets, work.rooms),
    )


class _Work:
    """A placement as it goes on."""

    def __init__(self, graph: Graph) -> None:
        nodes = [graph.nodes[node_id] for node_id in sorted(graph.nodes)]
        self.instances = [node for node in nodes if isinstance(node, Instance)]
        self.demands = {node.id: demand(node) for node in nodes if isinstance(node, Automaton)}
        self.sets = HostSets(
            (node for node in nodes if isinstance(node, HostNode)),
            {node.id: node for node in nodes if isinstance(node, Artefact)},
            {name_of(node.id): node.size or 0 for node in nodes if isinstance(node, Layer)},
        )
        self.rooms = [Room.of(node) for node in self.sets.nodes]
        self.done: dict[str, Instance] = {}
        self.refused: dict[str, list[str]] = {}
        self._full: set[object] = set()
        self._order = sorted((room.busy, number) for number, room in enumerate(self.rooms))
        self._crowds: dict[str, Crowd] = {}
        largest = [room.limits for room in self.rooms]
        names = {name for limits in largest for name in limits}
        self._largest = {name: max((limits.get(name) or 0 for limits in largest), default=0) for name in names}

    def turn(self, node: Instance) -> tuple[int, int, str, int]:
        """Return what sorts instances into the order in which they are placed."""
        wanted = self.demands[node.automaton]
        shares = (amount * MILLION // (self._largest.get(name) or amount) for name, amount in wanted.amounts)
        few = self.sets.ranked(wanted).fitting.bit_count()
        return few, -max(shares, default=0), node.automaton, node.ordinal

    def stay(self, node: Instance, host: str) -> bool:
        """Leave an instance on the host where it was; False where it was on none or may not stay."""
        number = self.sets.numbers.get(host)
        wanted = self.demands[node.automaton]
        if number is None or not self.sets.ranked(wanted).fitting >> number & 1 or not self.rooms[number].has(wanted):
            return False
        self._take(node, wanted, number, "stayed where it was")
        return True

    def put(self, node: Instance, old: str) -> None:
        """Place an instance, or note that no host does."""
        wanted = self.demands[node.automaton]
        found = None if wanted.key in self._full else self._best(wanted)
        if found is None:  # room never grows, so that there is none for the next one either
            self._full.add(wanted.key)
            self.refused.setdefault(node.automaton, []).append(node.id)
            self.done[node.id] = replace(node, host="", variant="", why="no host does")
        else:
            moved = f"moved from {name_of(old)}: " if old else ""
            self._take(node, wanted, found[0], moved + found[1])

    def _take(self, node: Instance, wanted: Demand, number: int, why: str) -> None:
        room = self.rooms[number]
        del self._order[bisect_left(self._order, (room.busy, number))]
        room.take(wanted, node.id)
        insort(self._order, (room.busy, number))
        if wanted.spread:
            self._crowds.setdefault(node.automaton, Crowd()).add(*self.sets.domain(wanted.spread, number))
        variant = self.sets.ranked(wanted).variants[number]
        manifest = variant.manifest if variant is not None else ""
        self.done[node.id] = replace(node, host=room.node.id, variant=manifest, why=why)

    def _best(self, wanted: Demand) -> tuple[int, str] | None:
        """Return the best host for an instance and why, None where none does."""
        ranked = self.sets.ranked(wanted)
        crowds = self._crowds.get(wanted.automaton, Crowd()) if wanted.spread else Crowd()
        for crowd, hosts in crowds.levels(ranked.fitting):
            for group in ranked.groups:
                number = self._least_busy(group.hosts & hosts, wanted)
                if number is not None:
                    return number, self._why(wanted, ranked, group, crowd)
        return None

    def _least_busy(self, hosts: int, wanted: Demand) -> int | None:
        if hosts.bit_count() <= _FEW:
            fits = [number for number in members(hosts) if self.rooms[number].has(wanted)]
            return min(fits, key=lambda number: (self.rooms[number].busy, number), default=None)
        for _, number in self._order:
            if hosts >> number & 1 and self.rooms[number].has(wanted):
                return number
        return None

    def _why(self, wanted: Demand, ranked: Ranked, group: Group, crowd: int) -> str:
        count = ranked.fitting.bit_count()
        said = [f"one of {count:,} hosts that do" if count > 1 else "the only host that does"]
        if wanted.spread:
            over = "on the same host" if wanted.spread == EVERY_HOST else f"in the same {wanted.spread}"
            said.append(f"{crowd or 'no'} other{'' if crowd == 1 else 's'} {over}")
        if wanted.prefer:
            said.append(f"preferred by {group.liked}")
        said.append(f"{human_size(group.missing)} to move" if group.missing else "nothing to move")
        return ", ".join(said)
