"""Findings, and the rules themselves, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from runtimeimg.findings import Finding, Rule, counts
from runtimeimg.text import plain

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")


def to_markdown(findings: Iterable[Finding]) -> str:
    """Return a table of findings, the worst first, with a line of counts above it."""
    found = sorted(findings, key=lambda item: -item.rule.severity)
    summary = ", ".join(f"{number} {name}" for name, number in counts(found).items() if number)
    lines = [summary or "Nothing was found.", ""]
    if found:
        lines += ["| severity | rule | where | what | what to do |", "| --- | --- | --- | --- | --- |"]
        lines += [_row(item) for item in found]
    return "\n".join(lines).rstrip() + "\n"


def rules_to_markdown(rules: Iterable[Rule]) -> str:
    """Return a table of rules and a section for each, with its examples."""
    known = tuple(rules)
    lines = ["| rule | severity | what |", "| --- | --- | --- |"]
    lines += [f"| [{rule.id}](#{rule.id.lower()}) | {rule.severity} | {cell(rule.title)} |" for rule in known]
    for rule in known:
        lines += ["", *_section(rule)]
    return "\n".join(lines) + "\n"


def _section(rule: Rule) -> Iterator[str]:
    yield from (f"### {rule.id}", "", f"{rule.title} ({rule.severity}).", "", rule.explanation)
    if rule.source:
        yield from ("", f"Source: {rule.source}.")
    for name, example in (("Bad", rule.bad), ("Good", rule.good)):
        yield from ("", f"{name}:", "", *(f"    {line}".rstrip() for line in example.splitlines()))


def _row(item: Finding) -> str:
    cells = (str(item.rule.severity), item.rule.id, str(item.where), item.message, item.fix)
    return f"| {' | '.join(map(cell, cells))} |"


def cell(text: str) -> str:
    """Return text as one cell of a table in which nothing is markup."""
    return _SPECIAL.sub(r"\\\1", " ".join(plain(text).split()))
