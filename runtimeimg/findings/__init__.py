"""Findings: what a command has to say about something it looked at, as data.

A `Rule` is written once: what it looks for, how bad that is, why, a bad and a good example. A `Finding` is one case of
it: where, what exactly, what to do. Commands filter findings, print them as a table, JSON, SARIF or Markdown, and end
with an exit code of their own where any are left; docs/findings.md is made from the rules.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import Any, Self

from runtimeimg.errors import UsageError

__all__ = ["Finding", "Place", "Rule", "Severity", "chosen", "counts", "to_json"]


class Severity(IntEnum):
    """How bad a finding is; a worse one is greater."""

    INFO = 1
    """Worth knowing; nothing goes wrong."""
    WARNING = 2
    """Somebody gets something else than was meant, somewhere."""
    ERROR = 3
    """It cannot work, or breaks a specification."""

    def __str__(self) -> str:
        return self.name.lower()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the severity of a name; UsageError for another one."""
        try:
            return cls[text.upper()]
        except KeyError:
            known = ", ".join(str(item) for item in cls)
            raise UsageError(f"severity {text[:40]!r} is not known", hint=f"known are {known}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Something that is looked for. `id` never changes its meaning; `bad` and `good` are examples."""

    id: str
    title: str
    severity: Severity
    explanation: str
    bad: str
    good: str
    source: str = ""
    """The specification or tool that it follows, with the section."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a finding is: `artifact` is an image or file, `inside` a part of it, line and column count from 1."""

    artifact: str
    inside: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        position = f":{self.line}:{self.column}" if self.line else ""
        return f"{self.artifact}{position}" + (f" {self.inside}" if self.inside else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One case of a rule: where, what is wrong there (the thing first), and what to do about it."""

    rule: Rule
    where: Place
    message: str
    fix: str = ""


def chosen(
    findings: Iterable[Finding], least: Severity = Severity.INFO, ignored: Collection[str] = ()
) -> tuple[Finding, ...]:
    """Return the findings of at least this severity that are not ignored, in their order.

    What is ignored is a rule, `ID`, or a rule in some places, `ID:PATH`, with a pattern of the shell for their inside.
    """
    return tuple(
        item for item in findings if item.rule.severity >= least and not any(_covers(text, item) for text in ignored)
    )


def _covers(ignored: str, item: Finding) -> bool:
    rule, colon, path = ignored.partition(":")
    return rule == item.rule.id and (not colon or fnmatchcase(item.where.inside, path))


def counts(findings: Iterable[Finding]) -> Mapping[str, int]:
    """Return how many findings there are of each severity, the worst first."""
    found = [item.rule.severity for item in findings]
    return {str(severity): found.count(severity) for severity in sorted(Severity, reverse=True)}


def to_json(findings: Iterable[Finding]) -> dict[str, Any]:
    """Return findings with their rules' titles, and how many there are of each severity."""
    found = tuple(findings)
    return {"findings": [_described(item) for item in found], "counts": dict(counts(found))}


def _described(item: Finding) -> dict[str, Any]:
    position = {"line": item.where.line, "column": item.where.column} if item.where.line else {}
    inside = {"inside": item.where.inside} if item.where.inside else {}
    return {
        "rule": item.rule.id,
        "title": item.rule.title,
        "severity": str(item.rule.severity),
        "where": {"artifact": item.where.artifact, **inside, **position},
        "message": item.message,
        **({"fix": item.fix} if item.fix else {}),
    }
