"""What is asked of the entry that is to be chosen: what must hold, what is preferred, and by which order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from runtimeimg.errors import UsageError
from runtimeimg.selection.candidates import Candidate
from runtimeimg.selection.nvidia import NvidiaFacts
from runtimeimg.selection.platforms import PlatformOrder
from runtimeimg.selection.values import Matcher, matcher

MAX_WEIGHT = 1_000_000
"""Largest weight either way: sums of all that may be preferred stay far below any machine's numbers."""
MAX_RULES = 10_000
"""Preferences, and requirements, of one choice."""
MAX_KEY = 1024
"""Characters of a key."""
_COMPARISON = re.compile(r"[=<>!]")


class Order(StrEnum):
    """How preferences rank entries that suit the platform equally."""

    SUM = "sum"
    LEXICOGRAPHIC = "lexicographic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What must hold: the annotation `key` has a value that matches.

    With `optional` an entry without that annotation is as good: it asks for nothing. `why` says what it comes from,
    such as a fact of the host.
    """

    key: str
    matcher: Matcher
    optional: bool = False
    why: str = ""

    def holds(self, annotations: Mapping[str, str]) -> bool:
        """Tell whether an entry with these annotations does."""
        value = annotations.get(self.key)
        return self.optional if value is None else self.matcher.matches(value)

    def failure(self, annotations: Mapping[str, str]) -> str:
        """Return why an entry with these annotations does not do, empty when it does."""
        if self.holds(annotations):
            return ""
        value = annotations.get(self.key)
        if value is None:
            return f"has no annotation '{self.key}'; {self.matcher} is required"
        found = f"has {self.key}={value[:100]}"
        return f"{found}, and {self.why}" if self.why else f"{found}; {self.matcher} is required"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """What is liked: the annotation `key` has a value that matches; worth `weight`, which may be below zero."""

    key: str
    matcher: Matcher
    weight: int = 1
    why: str = ""

    def matches(self, annotations: Mapping[str, str]) -> bool:
        """Tell whether an entry with these annotations is liked for it."""
        value = annotations.get(self.key)
        return value is not None and self.matcher.matches(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """All that a choice depends on, beside the index: nothing else is looked at.

    `platforms` is None where any platform will do. `namespaces` are those that a preferences file lists, best first.
    `nvidia` is what a host offers to images with NVIDIA_REQUIRE_*, None where no host is named.
    """

    platforms: PlatformOrder | None = None
    requirements: tuple[Requirement, ...] = ()
    preferences: tuple[Preference, ...] = ()
    order: Order = Order.SUM
    namespaces: tuple[str, ...] = ()
    nvidia: NvidiaFacts | None = None

    def failure(self, candidate: Candidate) -> tuple[str, ...]:
        """Return all that a candidate fails of what must hold, its platform aside."""
        if candidate.passed:
            return (candidate.passed,)
        there = candidate.annotations
        failed = [
            text
            for rule in self.requirements
            if (rule.key in there or not rule.optional) and (text := rule.failure(there))
        ]
        if self.nvidia is not None and candidate.env is not None:
            failed += self.nvidia.failures(candidate.env)
        return tuple(failed)


@dataclass(frozen=True, slots=True)
class Places:
    """Where each preference stands in a lexicographic order: of namespaces, then keys, then values."""

    of: Mapping[Preference, tuple[int, int, int]] = field(default_factory=dict)

    @classmethod
    def ranked(cls, preferences: tuple[Preference, ...], namespaces: tuple[str, ...]) -> Places:
        """Return the places of preferences in the order in which they are written, after listed namespaces."""
        spaces = {name: number for number, name in enumerate(namespaces)}
        keys: dict[str, int] = {}
        found = {}
        for number, item in enumerate(preferences):
            space = spaces.setdefault(namespace(item.key, namespaces), len(spaces))
            found[item] = (space, keys.setdefault(item.key, len(keys)), number)
        return cls(found)


def namespace(key: str, known: tuple[str, ...] = ()) -> str:
    """Return the namespace of a key: the longest of those known that it begins with, else all before its last dot.

    An annotation's key should be a domain name turned around and a name in it (image-spec, annotations.md).
    """
    fits = [name for name in known if key == name or key.startswith((name + ".", name + "/"))]
    if fits:
        return max(fits, key=len)
    head, slash, _ = key.rpartition("/")
    return head if slash else key.rpartition(".")[0]


def parse_requirement(text: str) -> Requirement:
    """Return what `KEY=VALUE`, `KEY>=VERSION`, or `KEY` for any value, requires; see `values.matcher`."""
    key, matching = _pair(text, "--require")
    return Requirement(key=key, matcher=matching)


def parse_preference(text: str) -> Preference:
    """Return what `KEY=VALUE[:WEIGHT]` prefers; a weight is a whole number, 1 where there is none."""
    head, colon, tail = text.rpartition(":")
    digits = tail.removeprefix("-")
    weight = 1
    if colon and digits.isascii() and digits.isdecimal():
        text = head
        weight = int(tail) if len(digits) <= 7 else MAX_WEIGHT + 1
        if abs(weight) > MAX_WEIGHT:
            raise UsageError(f"--prefer '{head}': weight {tail[:20]} is not within -{MAX_WEIGHT} and {MAX_WEIGHT}")
    key, matching = _pair(text, "--prefer")
    return Preference(key=key, matcher=matching, weight=weight)


def _pair(text: str, option: str) -> tuple[str, Matcher]:
    found = _COMPARISON.search(text)
    key, value = (text, "*") if found is None else (text[: found.start()], text[found.start() :])
    value = value[1:] if value.startswith("=") and not value.startswith("==") else value
    if not key or len(key) > MAX_KEY or any(character.isspace() or not character.isprintable() for character in key):
        raise UsageError(
            f"{option} {text[:100]!r} names no annotation", hint="write key=value, for example com.example.gpu=model-1"
        )
    try:
        return key, matcher(value)
    except UsageError as error:
        raise UsageError(f"{option} {key}: {error.message}", hint=error.hint) from None
