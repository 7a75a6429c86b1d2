"""Hosts as sets of numbers: which of them have a fact, run an artefact, hold a blob. A set is the bits of one integer.

Hosts are numbered in the order of their ids. So what thousands of automatons ask of thousands of hosts is answered by
a few operations on integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from runtimeimg.configgraph.demands import EVERY_HOST, Demand, preferred, required
from runtimeimg.configgraph.model import Artefact, HostNode, Variant, name_of
from runtimeimg.configgraph.variants import candidates, criteria_of, host_of, why_none
from runtimeimg.oci import Platform
from runtimeimg.selection.candidates import Candidate
from runtimeimg.selection.choice import Choice, choose
from runtimeimg.selection.criteria import Criteria, Preference, Requirement
from runtimeimg.selection.hosts import Host
from runtimeimg.selection.mapping import DEFAULT
from runtimeimg.selection.nvidia import PREFIX, PROPERTIES
from runtimeimg.selection.platforms import PlatformOrder

_FACTS = tuple(dict.fromkeys((*(rule.fact for rule in DEFAULT), *PROPERTIES.values())))
_ANNOTATIONS = frozenset(rule.annotation for rule in DEFAULT)


def members(numbers: int) -> Iterator[int]:
    """Yield the numbers of a set, from the least."""
    while numbers:
        least = numbers & -numbers
        yield least.bit_length() - 1
        numbers ^= least


@dataclass(frozen=True)
class Ranked:
    """The hosts that do for some rules, in groups of equal worth, the best first, and the variant for each host."""

    groups: tuple[Group, ...]
    variants: Mapping[int, Variant | None]
    fitting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Hosts that are liked by the same weight and lack the same number of bytes."""

    hosts: int
    liked: int
    missing: int


class HostSets:
    """The hosts of a graph; what is asked of them once is known."""

    def __init__(self, nodes: Iterable[HostNode], artefacts: Mapping[str, Artefact], sizes: Mapping[str, int]) -> None:
        """`sizes` are the bytes of blobs, by digest or path."""
        self.nodes = tuple(sorted(nodes, key=lambda node: node.id))
        self.numbers = {node.id: number for number, node in enumerate(self.nodes)}
        self.all = (1 << len(self.nodes)) - 1
        self._artefacts = artefacts
        self._sizes = sizes
        self._attributes = [attributes(host) for host in self.hosts]
        self._answers: dict[tuple[str, str], int] = {}
        self._choices: dict[tuple[str, str], dict[object, Choice]] = {}
        self._ranked: dict[object, Ranked] = {}
        self._domains: dict[str, dict[str, int]] = {}

    @cached_property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts with their facts, by number."""
        return tuple(host_of(node) for node in self.nodes)

    @cached_property
    def _criteria(self) -> tuple[Criteria, ...]:
        return tuple(criteria_of(host) for host in self.hosts)

    @cached_property
    def _alike(self) -> Mapping[bool, tuple[tuple[object, int], ...]]:
        """Hosts that choose alike with a first one of each: by their platform alone, or by all facts that count."""
        found: dict[bool, dict[object, int]] = {False: {}, True: {}}
        for number, host in enumerate(self.hosts):
            for whole, sets in found.items():
                key = (host.platform, *(host.fact(name) for name in _FACTS)) if whole else host.platform
                sets[key] = sets.get(key, 0) | 1 << number
        return {whole: tuple(sets.items()) for whole, sets in found.items()}

    @cached_property
    def _having(self) -> Mapping[str, int]:
        """Which hosts have each blob."""
        found: dict[str, int] = {}
        for number, node in enumerate(self.nodes):
            for blob in node.blobs:
                found[blob] = found.get(blob, 0) | 1 << number
        return found

    def domain(self, spread: str, number: int) -> tuple[object, int]:
        """Return the part of what is spread over that a host belongs to, and the hosts of that part."""
        if spread == EVERY_HOST:
            return number, 1 << number
        name = _first(self._attributes[number], spread)
        return name, self._parts(spread)[name]

    def _parts(self, spread: str) -> Mapping[str, int]:
        found = self._domains.get(spread)
        if found is None:
            found = self._domains[spread] = {}
            for number, there in enumerate(self._attributes):
                name = _first(there, spread)
                found[name] = found.get(name, 0) | 1 << number
        return found

    def ranked(self, demand: Demand) -> Ranked:
        """Return the hosts that do for an automaton whatever else runs on them."""
        found = self._ranked.get(demand.rules)
        if found is None:
            found = self._ranked[demand.rules] = self._rank(demand)
        return found

    def _rank(self, demand: Demand) -> Ranked:
        fitting = self._pinned(demand) & self._spread(demand)
        for text in demand.require:
            fitting &= self.answering(text)
        variants: dict[int, Variant | None] = {}
        by_variant: dict[int, int] = {}
        artefact = self._artefacts[demand.artefact]
        if not artefact.variants:
            variants, by_variant = dict.fromkeys(members(fitting)), {-1: fitting}
        for choice, hosts in self._choices_of(artefact, demand.platform) if artefact.variants else ():
            if choice.chosen is not None and hosts & fitting:
                position = choice.chosen.candidate.position
                by_variant[position] = by_variant.get(position, 0) | hosts & fitting
                variants |= dict.fromkeys(members(hosts & fitting), artefact.variants[position])
        groups: dict[tuple[int, int], int] = {}
        for position, hosts in by_variant.items():
            blobs = (*(artefact.variants[position].blobs if position >= 0 else ()), *artefact.paths)
            for liked, some in self._liked(demand, hosts):
                for missing, equal in self._lacking(blobs, some):
                    groups[-liked, missing] = groups.get((-liked, missing), 0) | equal
        return Ranked(
            groups=tuple(Group(hosts=groups[key], liked=-key[0], missing=key[1]) for key in sorted(groups)),
            variants=variants,
            fitting=sum(by_variant.values()),
        )

    def _pinned(self, demand: Demand) -> int:
        if not demand.hosts:
            return self.all
        wanted = frozenset(demand.hosts)
        return sum(1 << number for number, node in enumerate(self.nodes) if name_of(node.id) in wanted)

    def _spread(self, demand: Demand) -> int:
        if demand.spread in {"", EVERY_HOST}:
            return self.all
        return self.all & ~self._parts(demand.spread).get("", 0)

    def answering(self, text: str) -> int:
        """Return the hosts of which a requirement on facts and labels holds."""
        return self._matching("require", text, required)

    def _matching(self, kind: str, text: str, parse: Callable[[str], Requirement | Preference]) -> int:
        found = self._answers.get((kind, text))
        if found is None:
            rule = parse(text)
            there = (item.get(rule.key, ()) for item in self._attributes)
            fits = (number for number, values in enumerate(there) if any(map(rule.matcher.matches, values)))
            found = self._answers[kind, text] = sum(1 << number for number in fits)
        return found

    def _liked(self, demand: Demand, hosts: int) -> list[tuple[int, int]]:
        """Return hosts by the sum of the weights that they are preferred for."""
        groups = {0: hosts}
        for text in demand.prefer:
            groups = _split(groups, self._matching("prefer", text, preferred), preferred(text).weight)
        return list(groups.items())

    def _lacking(self, blobs: Iterable[str], hosts: int) -> list[tuple[int, int]]:
        """Return hosts by the bytes of some blobs that they have not from the beginning."""
        groups = {0: hosts}
        for blob in blobs:
            size = self._sizes.get(blob, 0)
            if size:
                groups = _split(groups, self.all & ~self._having.get(blob, 0), size)
        return list(groups.items())

    def _choices_of(self, artefact: Artefact, platform: str) -> Iterator[tuple[Choice, int]]:
        """Yield the choice among an artefact's variants for hosts that choose alike, with these hosts."""
        known = self._choices.setdefault((artefact.id, platform), {})
        entries = candidates(artefact)
        for key, hosts in self._alike[_particular(entries)]:
            if key not in known:
                first = (hosts & -hosts).bit_length() - 1
                known[key] = choose(entries, self._asked(first, platform))
            yield known[key], hosts

    def _asked(self, number: int, platform: str) -> Criteria:
        found = self._criteria[number]
        if not platform:
            return found
        wanted = Platform.parse(platform)
        assert found.platforms is not None
        if isinstance(found.platforms.rank(wanted), str):
            return Criteria(platforms=_Nothing(wanted, f"'placement.platform' is {platform}"))
        return Criteria(
            platforms=PlatformOrder(wanted),
            requirements=found.requirements,
            preferences=found.preferences,
            nvidia=found.nvidia,
        )

    def unfit(self, demand: Demand, number: int) -> str:
        """Return why a host does not do for an automaton whatever else runs there, empty where it does."""
        host, there = self.hosts[number], self._attributes[number]
        if demand.hosts and name_of(self.nodes[number].id) not in demand.hosts:
            return f"not among 'placement.hosts' ({', '.join(demand.hosts[:4])})"
        if demand.spread and demand.spread != EVERY_HOST and not _first(there, demand.spread):
            return f"no fact or label '{demand.spread}' to spread over"
        for text in demand.require:
            if not self.answering(text) >> number & 1:
                key = required(text).key
                said = f"{key} is {', '.join(there[key][:4])}" if there.get(key) else f"there is no {key}"
                return f"{said}, and 'placement.require' wants {text}"
        if demand.platform and isinstance(self._asked(number, demand.platform).platforms, _Nothing):
            return f"it is {host.platform.full}, and 'placement.platform' wants {demand.platform}"
        artefact = self._artefacts[demand.artefact]
        for choice, hosts in self._choices_of(artefact, demand.platform) if artefact.variants else ():
            if hosts >> number & 1 and choice.chosen is None:
                return f"no variant for {host.platform.full}: {why_none(choice)}"
        return ""


class _Nothing(PlatformOrder):
    """The order of a host that does not run what is wanted: it takes nothing."""

    def __init__(self, wanted: Platform, why: str) -> None:
        super().__init__(wanted)
        self._why = why

    def rank(self, there: Platform | None) -> str:  # noqa: ARG002
        """Return why."""
        return self._why


def _particular(entries: Iterable[Candidate]) -> bool:
    """Tell whether the choice among entries may depend on more of a host than its platform."""
    return any(
        not _ANNOTATIONS.isdisjoint(item.annotations) or any(name.startswith(PREFIX) for name in item.env or ())
        for item in entries
    )


def _split(groups: Mapping[int, int], hosts: int, amount: int) -> dict[int, int]:
    """Return groups of hosts by a sum, to which `amount` is added for some hosts."""
    found: dict[int, int] = {}
    for total, there in groups.items():
        for key, some in ((total + amount, there & hosts), (total, there & ~hosts)):
            if some:
                found[key] = found.get(key, 0) | some
    return found


def _first(there: Mapping[str, tuple[str, ...]], name: str) -> str:
    """Return the first value of a fact or label, empty where there is none."""
    return next((value for value in there.get(name, ()) if value), "")


def attributes(host: Host) -> Mapping[str, tuple[str, ...]]:
    """Return what rules of placement see of a host: its facts, and its labels under their own names."""
    found = {name: tuple(values) for name, values in host.facts.items()}
    for name, value in host.labels.items():
        found[name] = (*found.get(name, ()), value)
    return found
