"""How the value of an annotation is compared: exactly, by glob, by version range, by presence, or with facts.

All of it is bounded: patterns, ranges and versions have a largest size, and a pattern never goes back over what it has
passed, so that no value of a stranger's takes long.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol, Self

from runtimeimg.errors import UsageError

MAX_TEXT = 1024
"""Characters of a value that a glob or a version is looked for in; a longer value never matches."""
MAX_PATTERN = 256
"""Characters of a glob or range."""
MAX_CLAUSES = 16
"""Parts of a range, and of a version between its dots."""

_OPERATORS: dict[str, Callable[[Version, Version], bool]] = {
    ">=": lambda version, bound: version >= bound,
    "<=": lambda version, bound: version <= bound,
    ">": lambda version, bound: version > bound,
    "<": lambda version, bound: version < bound,
    "!=": lambda version, bound: version != bound,
    **dict.fromkeys(("==", "="), lambda version, bound: version == bound),
}
_CLAUSE = re.compile(r"(>=|<=|==|!=|>|<|=)\s*([^\s<>=!,]+)\Z")
_VERSION = re.compile(
    r"v?([0-9]{1,18}(?:\.[0-9]{1,18}){0,15})(?!\.?[0-9])(?:[-_.]?(alpha|beta|preview|pre|dev|rc|a|b)(?![a-z]))?",
    re.IGNORECASE,
)
_WILD = re.compile(r"[*?\[]")


class Matcher(Protocol):
    """What a value must be; two that are equal match the same."""

    def matches(self, text: str) -> bool:
        """Tell whether the value of an annotation is one of those wanted."""

    def __str__(self) -> str:
        """Return what is wanted, as a person would write it."""


@dataclass(frozen=True, slots=True)
class Present:
    """Any value."""

    def matches(self, text: str) -> bool:  # noqa: ARG002 - the annotation is there
        """Tell yes."""
        return True

    def __str__(self) -> str:
        return "*"


@dataclass(frozen=True, slots=True)
class Exact:
    """One of some values, letter by letter."""

    values: tuple[str, ...]

    def matches(self, text: str) -> bool:
        """Tell whether the value is one of them."""
        return text in self.values

    def __str__(self) -> str:
        return " or ".join(self.values) or "nothing"


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern of the whole value: `*` is any text, `?` one character, `[a-c]` and `[!a-c]` one of some."""

    pattern: str
    _compiled: re.Pattern[str] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, pattern: str) -> Self:
        """Return the pattern, or raise UsageError for one that is too long or has a bracket that is not closed."""
        if len(pattern) > MAX_PATTERN:
            raise UsageError(f"pattern '{pattern[:40]}...' is longer than {MAX_PATTERN} characters")
        return cls(pattern, _translated(pattern))

    def matches(self, text: str) -> bool:
        """Tell whether the whole value fits the pattern."""
        return len(text) <= MAX_TEXT and self._compiled.match(text) is not None

    def __str__(self) -> str:
        return self.pattern


@lru_cache(1024)
def _translated(pattern: str) -> re.Pattern[str]:
    """Return a regular expression in which each `*` takes the nearest place of what follows it, once and for all.

    That finds a match whenever there is one: what follows can only have more room after the nearest place. The last
    part has to stand at the end, so it is looked for there alone.
    """
    parts: list[list[str]] = [[]]
    at = 0
    while at < len(pattern):
        at, item = _next(pattern, at)
        if item is None:
            parts.append([])
        else:
            parts[-1].append(item)
    first, *middle = ("".join(part) for part in parts)
    if not middle:
        return re.compile(f"{first}\\Z", re.DOTALL)
    last = middle.pop()
    inner = "".join(f"(?>.*?{part})" for part in middle if part)
    return re.compile(f"{first}{inner}(?=.{{{len(parts[-1])}}})(?>.*)(?<={last})\\Z", re.DOTALL)


def _next(pattern: str, at: int) -> tuple[int, str | None]:
    """Return where the next piece of a pattern ends and its regular expression, None for a `*`."""
    character = pattern[at]
    if character == "*":
        return at + 1, None
    if character == "?":
        return at + 1, "."
    if character != "[":
        return at + 1, re.escape(character)
    end = pattern.find("]", at + 3 if pattern[at + 1 : at + 2] in {"!", "^"} else at + 2)
    if end < 0:
        raise UsageError(f"pattern '{pattern}' has a '[' that is not closed", hint="write '[[]' for the bracket itself")
    inside = pattern[at + 1 : end]
    negated, inside = ("^", inside[1:]) if inside[0] in "!^" else ("", inside)
    return end + 1, f"[{negated}{_members(inside, pattern)}]"


def _members(inside: str, pattern: str) -> str:
    """Return the characters and ranges of a bracket, escaped."""
    found, at = [], 0
    while at < len(inside):
        if inside[at + 1 : at + 2] == "-" and at + 2 < len(inside):
            low, high = inside[at], inside[at + 2]
            if low > high:
                raise UsageError(f"pattern '{pattern}' has the range '{low}-{high}', which is empty")
            found.append(f"{re.escape(low)}-{re.escape(high)}")
            at += 3
        else:
            found.append(re.escape(inside[at]))
            at += 1
    return "".join(found)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version as a key to compare: its numbers without zeros at the end, and whether it is final."""

    numbers: tuple[int, ...]
    final: bool = True

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the version at the beginning of `text`, None where there is none.

        `v3`, `12.2`, `535.104.05` and `5.15.0-91-generic` are versions; of the last the numbers before the dash
        count. `1.2-rc1` and `1.2.dev3` come before `1.2`; which of them comes first is not told.
        """
        found = _VERSION.match(text) if len(text) <= MAX_TEXT else None
        if found is None:
            return None
        numbers = [int(number) for number in found[1].split(".")]
        while numbers and not numbers[-1]:
            numbers.pop()
        return cls(tuple(numbers), found[2] is None)


@dataclass(frozen=True, slots=True)
class VersionRange:
    """Versions that all clauses hold for: `>=12.2,<13`."""

    text: str
    _clauses: tuple[tuple[str, Version], ...] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the range, or raise UsageError for what is none."""
        items = [item.strip() for item in text[: MAX_PATTERN + 1].split(",")]
        if len(text) > MAX_PATTERN or len(items) > MAX_CLAUSES:
            raise UsageError(f"version range '{text[:40]}...' is longer than {MAX_CLAUSES} clauses")
        clauses = []
        for item in items:
            found = _CLAUSE.match(item)
            version = Version.parse(found[2]) if found else None
            if found is None or version is None:
                raise UsageError(
                    f"version range '{text}': {item!r} is not a comparison with a version",
                    hint="write for example '>=12.2,<13'; known are >= <= > < == and !=",
                )
            clauses.append((found[1], version))
        return cls(text, tuple(clauses))

    def matches(self, text: str) -> bool:
        """Tell whether the value is a version within the range."""
        version = Version.parse(text)
        return version is not None and self.holds(version)

    def holds(self, version: Version) -> bool:
        """Tell whether a version is within the range."""
        return all(_OPERATORS[sign](version, bound) for sign, bound in self._clauses)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class AtMost:
    """Versions that are none of them newer than the best that the host has (`v2` on a host of level `v3`)."""

    facts: tuple[str, ...]

    def matches(self, text: str) -> bool:
        """Tell whether the value is a version that the host reaches."""
        version = Version.parse(text)
        return version is not None and any(version <= own for own in _versions(self.facts))

    def __str__(self) -> str:
        return f"at most {' or '.join(self.facts) or 'nothing'}"


@dataclass(frozen=True, slots=True)
class RangeOf:
    """Values that are version ranges themselves, and hold a version that the host has (`>=535` with driver 550)."""

    facts: tuple[str, ...]

    def matches(self, text: str) -> bool:
        """Tell whether the value is a range that one of the host's versions is in."""
        wanted = _range(text)
        return wanted is not None and any(wanted.holds(own) for own in _versions(self.facts))

    def __str__(self) -> str:
        return f"a range with {' or '.join(self.facts) or 'nothing'}"


@dataclass(frozen=True, slots=True)
class AllOf:
    """Values that are words with commas between them, each of which the host has (`avx2,fma`)."""

    facts: tuple[str, ...]

    def matches(self, text: str) -> bool:
        """Tell whether the host has all words of the value."""
        return all(word.strip() in self.facts for word in text.split(","))

    def __str__(self) -> str:
        return f"nothing but {', '.join(self.facts[:8])}{', ...' if len(self.facts) > 8 else ''}"


@dataclass(frozen=True, slots=True)
class PatternOf:
    """Values that are globs themselves, and fit something that the host has (`NVIDIA A100*`)."""

    facts: tuple[str, ...]

    def matches(self, text: str) -> bool:
        """Tell whether the value is a pattern that one of the host's values fits."""
        if text in self.facts:
            return True
        try:
            wanted = Glob.parse(text)
        except UsageError:
            return False
        return any(map(wanted.matches, self.facts))

    def __str__(self) -> str:
        return f"a pattern of {' or '.join(self.facts) or 'nothing'}"


@lru_cache(1024)
def _range(text: str) -> VersionRange | None:
    """Return the range that a value of an annotation is, one version alone as it and newer ones; None for none."""
    try:
        return VersionRange.parse(text if text[:1] in "<>=!" else f">={text}")
    except UsageError:
        return None


@lru_cache(4096)
def _versions(facts: tuple[str, ...]) -> tuple[Version, ...]:
    return tuple(version for fact in facts if (version := Version.parse(fact)) is not None)


def matcher(text: str) -> Matcher:
    """Return what a value on the command line asks for.

    A comparison (`>=12.2,<13`) is a version range, a text with `*`, `?` or `[` a glob, `*` alone any value, and
    anything else itself. A preferences file says which is meant.
    """
    if text == "*":
        return Present()
    if text[:1] in {"<", ">"} or text[:2] in {"==", "!="}:
        return VersionRange.parse(text)
    return Glob.parse(text) if _WILD.search(text) else Exact((text,))
