"""Many images on many hosts: which entry each host would run of each image, and why, or that none fits.

Hosts that an image cannot tell apart are judged once: what counts is their platform, and what their requirements and
preferences make of the values of the annotations that the image's entries have. So a thousand hosts are a few groups.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import getitem

from runtimeimg.selection.candidates import Candidate
from runtimeimg.selection.choice import Choice, choose
from runtimeimg.selection.criteria import Criteria, Order, Preference, Requirement
from runtimeimg.selection.nvidia import PREFIX

MAX_KEPT, MAX_KINDS = 200_000, 200
"""What is remembered: effects of rules on values, and groupings of the hosts by keys; some ten megabytes of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What hosts that an image cannot tell apart would run; `hosts` are their numbers."""

    choice: Choice
    hosts: array[int]

    def among(self, hosts: Iterable[int]) -> Outcome | None:
        """Return the outcome for those of its hosts that are among some, None where none is."""
        both = array("L", sorted(set(self.hosts).intersection(hosts)))
        return Outcome(choice=self.choice, hosts=both) if both else None


@dataclass(frozen=True, slots=True)
class _Rules:
    """What hosts say of one key; hosts with equal rules share a number."""

    required: tuple[Requirement, ...]
    preferred: tuple[Preference, ...]


@dataclass(slots=True)
class Fleet:
    """Hosts by what they ask for, ready to be asked about images."""

    hosts: Sequence[Criteria]
    _rules: list[dict[str, int]] = field(init=False, default_factory=list)
    _numbered: list[_Rules] = field(init=False, default_factory=list)
    _same_heads: dict[int, int] = field(init=False, default_factory=dict)
    _heads: list[int] = field(init=False, default_factory=list)
    _must: frozenset[str] = field(init=False, default=frozenset())
    _of_key: dict[str, set[int]] = field(init=False, default_factory=dict)
    _effects: dict[tuple[int, str | None], Hashable] = field(init=False, default_factory=dict)
    _tables: dict[tuple[str, tuple[str | None, ...]], dict[int, int]] = field(init=False, default_factory=dict)
    _room: int = field(init=False, default=MAX_KEPT)
    _kinds: dict[tuple[str, ...], list[tuple[tuple[int, ...], array[int]]]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        numbers: dict[_Rules, int] = {}
        heads: dict[Hashable, int] = {}
        must = set()
        for host in self.hosts:
            own = {}
            for key, rules in _by_key(host).items():
                own[key] = numbers.setdefault(rules, len(numbers))
                self._of_key.setdefault(key, set()).add(own[key])
                must |= {key} if any(not item.optional for item in rules.required) else set()
            self._rules.append(own)
            self._heads.append(heads.setdefault(_head(host), len(heads)))
        self._numbered = list(numbers)
        self._same_heads = {number: number for number in range(len(heads))}
        self._must = frozenset(must)

    def outcomes(self, candidates: Sequence[Candidate]) -> list[Outcome]:
        """Return what the hosts would run of an image, the outcome of the first host first."""
        values = self._values(candidates)
        tables = [self._same_heads, *(self._same(key, there) for key, there in values.items())]
        nvidia = any(name.startswith(PREFIX) for item in candidates for name in item.env or ())
        groups: dict[Hashable, array[int]] = {}
        for rules, hosts in self._kind(tuple(values)):
            same = tuple(map(getitem, tables, rules))
            for card, part in self._by_card(hosts) if nvidia else ((None, hosts),):
                groups.setdefault((same, card), array("L")).extend(part)
        found = [Outcome(choice=choose(candidates, self.hosts[own[0]]), hosts=own) for own in groups.values()]
        return sorted(_merged(found), key=lambda item: item.hosts[0])

    def _same(self, key: str, values: tuple[str | None, ...]) -> dict[int, int]:
        """Return a number for each rule of a key; rules of the same number make the same of all values."""
        found = self._tables.get((key, values))
        if found is None:
            effects: dict[Hashable, int] = {}
            found = {-1: -1}
            for rule in self._of_key[key]:
                effect = tuple([self._effect(rule, key, value) for value in values])
                found[rule] = effects.setdefault(effect, len(effects))
            self._room -= len(found)
            if self._room > 0:
                self._tables[key, values] = found
        return found

    def _values(self, candidates: Sequence[Candidate]) -> dict[str, tuple[str | None, ...]]:
        """Return the values of each key that counts, None among them where an entry lacks it, in a fixed order."""
        there = [item.annotations for item in candidates if not item.passed]
        keys = sorted(self._must.union(*there).intersection(self._of_key)) if there else []
        return {key: tuple(dict.fromkeys(annotations.get(key) for annotations in there)) for key in keys}

    def _kind(self, keys: tuple[str, ...]) -> list[tuple[tuple[int, ...], array[int]]]:
        """Return the hosts in groups that have the same platform and the same rules for some keys."""
        found = self._kinds.get(keys)
        if found is None:
            groups: dict[tuple[int, ...], array[int]] = {}
            for number, (head, own) in enumerate(zip(self._heads, self._rules, strict=True)):
                groups.setdefault((head, *(own.get(key, -1) for key in keys)), array("L")).append(number)
            found = list(groups.items())
            if len(self._kinds) < MAX_KINDS:
                self._kinds[keys] = found
        return found

    def _by_card(self, hosts: array[int]) -> Iterable[tuple[str, array[int]]]:
        cards: dict[str, array[int]] = {}
        for number in hosts:
            cards.setdefault(str(self.hosts[number].nvidia), array("L")).append(number)
        return cards.items()

    def _effect(self, rule: int, key: str, value: str | None) -> Hashable:
        """Return what the rules of a number make of a value of their key: whether it does, and what it is worth."""
        effect = self._effects.get((rule, value))
        if effect is None:
            effect = self._made(self._numbered[rule], {} if value is None else {key: value})
            if len(self._effects) < MAX_KEPT:
                self._effects[rule, value] = effect
        return effect

    def _made(self, rules: _Rules, annotations: Mapping[str, str]) -> Hashable:
        fits = all(item.holds(annotations) for item in rules.required)
        liked = [number for number, item in enumerate(rules.preferred) if item.matches(annotations)]
        if self.hosts[0].order is Order.LEXICOGRAPHIC:
            return (fits, tuple(liked))
        return (fits, sum(rules.preferred[number].weight for number in liked))


def _by_key(host: Criteria) -> dict[str, _Rules]:
    required: dict[str, list[Requirement]] = {}
    preferred: dict[str, list[Preference]] = {}
    for must in host.requirements:
        required.setdefault(must.key, []).append(must)
    for may in host.preferences:
        preferred.setdefault(may.key, []).append(may)
    keys = dict.fromkeys([*required, *preferred])
    return {key: _Rules(tuple(required.get(key, ())), tuple(preferred.get(key, ()))) for key in keys}


def _head(host: Criteria) -> Hashable:
    """Return what of a host counts for every image."""
    platforms = host.platforms
    if platforms is None:
        return None
    return (platforms.engine, platforms.wanted, platforms.triples)


def _merged(found: Iterable[Outcome]) -> Iterator[Outcome]:
    """Return outcomes with the same result as one: the same entry, or the same reasons why there is none."""
    merged: dict[Hashable, Outcome] = {}
    for item in sorted(found, key=lambda item: item.hosts[0]):
        chosen = item.choice.chosen
        key: Hashable = (
            (chosen.candidate.position, chosen.score)
            if chosen
            else tuple(judged.failures for judged in item.choice.judged)
        )
        other = merged.setdefault(key, item)
        if other is not item:
            other.hosts.extend(item.hosts)
    for item in merged.values():
        yield Outcome(choice=item.choice, hosts=array("L", sorted(item.hosts)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of an image where hosts change: the outcome before and after, and the pairs of hosts' names."""

    before: Outcome
    after: Outcome
    hosts: tuple[tuple[str, str], ...]

    @property
    def kind(self) -> str:
        """`same`, `other` entry, `lost` (nothing fits any more), `gained` (something does now), or `none` as before."""
        was, now = (item.choice.chosen for item in (self.before, self.after))
        if was is None:
            return "none" if now is None else "gained"
        if now is None:
            return "lost"
        return "same" if was.candidate.descriptor.digest == now.candidate.descriptor.digest else "other"


def changes(
    before: Sequence[Outcome], after: Sequence[Outcome], old: Sequence[str], new: Sequence[str]
) -> Iterator[Change]:
    """Yield what changes from hosts of the names `old` to those of `new`.

    Hosts of the same name are compared with each other where all new ones have a name of the old; otherwise every old
    one with every new one.
    """
    if not set(new) <= set(old):
        for was in before:
            for now in after:
                names = some([old[number] for number in was.hosts]), some([new[number] for number in now.hosts])
                yield Change(before=was, after=now, hosts=(names,))
        return
    was_of = {old[number]: place for place, was in enumerate(before) for number in was.hosts}
    pairs: dict[tuple[int, int], list[tuple[str, str]]] = {}
    for place, now in enumerate(after):
        for number in now.hosts:
            pairs.setdefault((was_of[new[number]], place), []).append((new[number], new[number]))
    for (first, second), names_of in sorted(pairs.items()):
        yield Change(before=before[first], after=after[second], hosts=tuple(names_of))


def some(names: Sequence[str]) -> str:
    """Return names for people, the first of many."""
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
