"""The choice: what must hold, then the platform, then preferences, then the order of the index.

Where nothing is preferred, or nothing that is there, the first entry that suits the platform best is taken, as the
runtime-annotations proposal says ("the runtime SHOULD default to the first matching descriptor").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from runtimeimg.errors import NotFoundError
from runtimeimg.selection.candidates import Candidate
from runtimeimg.selection.criteria import Criteria, Order, Places, Preference
from runtimeimg.selection.platforms import Engine, PlatformOrder, Rank

MAX_SHOWN = 200
"""Candidates that an error lists."""

_Worth = tuple[tuple[int, int, int], ...] | int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A candidate and what was found: why it does not do (nothing when it does), its rank, what it is preferred for."""

    candidate: Candidate
    failures: tuple[str, ...]
    rank: Rank | None
    liked: tuple[Preference, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether it may be chosen."""
        return not self.failures

    @property
    def score(self) -> int:
        """The sum of the weights of what it is preferred for."""
        return sum(item.weight for item in self.liked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was chosen, None where nothing fits, and all that was judged in the order of the index."""

    chosen: Judged | None
    judged: tuple[Judged, ...]
    criteria: Criteria


def choose(candidates: Iterable[Candidate], criteria: Criteria) -> Choice:
    """Return the choice among candidates; it depends on them and the criteria alone."""
    platforms = criteria.platforms
    judged = tuple(_judge(item, criteria, platforms) for item in candidates)
    fitting = [item for item in judged if item.fits]
    worth = _worths(fitting, criteria)
    zstd = platforms is not None and platforms.engine is Engine.PODMAN

    def key(number: int) -> tuple[Any, ...]:
        item = fitting[number]
        place = item.rank.key if item.rank else (0, 0)
        return (place, worth[number], not (zstd and item.candidate.zstd), item.candidate.position)

    best = min(range(len(fitting)), key=key, default=None)
    return Choice(chosen=None if best is None else fitting[best], judged=judged, criteria=criteria)


def _judge(candidate: Candidate, criteria: Criteria, platforms: PlatformOrder | None) -> Judged:
    failures = criteria.failure(candidate)
    rank: Rank | None = None
    if platforms is not None and not candidate.passed:
        found = platforms.rank(candidate.platform) if candidate.platform else _unnamed(candidate, platforms)
        if isinstance(found, str):
            failures = (found, *failures)
        else:
            rank = found
    if failures or not candidate.annotations:
        return Judged(candidate=candidate, failures=failures, rank=rank)
    there = candidate.annotations
    liked = tuple([item for item in criteria.preferences if item.key in there and item.matches(there)])
    return Judged(candidate=candidate, failures=failures, rank=rank, liked=liked)


def _unnamed(candidate: Candidate, platforms: PlatformOrder) -> Rank | str:
    """Return the rank of an entry without a platform: the last, where its config says nothing else.

    podman takes it whatever its config says, but not out of a Docker manifest list.
    """
    if platforms.engine is Engine.PODMAN:
        return "has no platform in a Docker manifest list" if candidate.docker else platforms.rank(None)
    inside = platforms.rank(candidate.own_platform)
    return inside if isinstance(inside, str) else platforms.rank(None)


def _worths(fitting: Sequence[Judged], criteria: Criteria) -> list[_Worth]:
    """Return what sorts the best first among candidates of the same rank.

    In a lexicographic order those are the places of what a candidate is preferred for, best first: the first
    difference counts, and more of them win. Preferences below zero do not count there.
    """
    if criteria.order is Order.SUM:
        return [-item.score for item in fitting]
    places = Places.ranked(tuple(item for item in criteria.preferences if item.weight > 0), criteria.namespaces).of
    last = (len(places) + len(criteria.namespaces) + 1, 0, 0)
    return [(*sorted(places[liked] for liked in item.liked if liked in places), last) for item in fitting]


def require(choice: Choice, name: str) -> Judged:
    """Return what was chosen, or raise NotFoundError that says of every candidate why it does not do."""
    if choice.chosen is not None:
        return choice.chosen
    platforms = choice.criteria.platforms
    wanted = f" for {platforms.wanted.full}" if platforms is not None else ""
    # What an index says may hold line breaks, and each line is to be about one entry.
    said = (f"{label(item.candidate)}: {'; '.join(item.failures)}" for item in choice.judged[:MAX_SHOWN])
    lines = [f"  {' '.join(line.splitlines())}" for line in said]
    if len(choice.judged) > MAX_SHOWN:
        lines.append(f"  and {len(choice.judged) - MAX_SHOWN} more")
    where = f"index '{name}' has nothing that fits{wanted}"
    raise NotFoundError("\n".join((f"{where}:" if lines else f"{where}: it is empty", *lines)))


def label(candidate: Candidate) -> str:
    """Return how an entry is called for people: its number from 1, platform and the beginning of its digest."""
    platform = candidate.platform.full if candidate.platform is not None else "no platform"
    return f"{candidate.position + 1} ({platform}, {candidate.descriptor.digest.short})"
