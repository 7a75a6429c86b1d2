"""All rules over one image."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from runtimeimg.check import contents, settings
from runtimeimg.check.commands import Programs, commands, follow, severity_of
from runtimeimg.check.driver import requirements
from runtimeimg.check.facts import Facts
from runtimeimg.check.libc import libc_over_base
from runtimeimg.check.libraries import Loaders, programs
from runtimeimg.check.runtimes import interpreters
from runtimeimg.findings import Finding, Severity


def check(facts: Facts) -> tuple[Finding, ...]:
    """Return what is found in an image, the worst first, each thing once."""
    found: list[Finding] = [*settings.user(facts), *settings.work_dir(facts), *settings.special_folders(facts)]
    started, loaders = Programs(), Loaders(facts=facts)
    for command in commands(facts.view.image.config):
        own = Programs()
        said = list(follow(facts, command, own))
        said += programs(facts, loaders, [file for file, _ in own.started.values()])
        said += interpreters(facts, loaders, list(own.started.values()))
        severity = severity_of(command)
        found += [_at_most(item, severity) for item in said] if severity is not None else said
        started.started |= own.started
    found += settings.ports(facts)
    found += settings.certificates(facts, loaders.closures.values())
    found += settings.time_zone(facts)
    found += requirements(facts)
    found += libc_over_base(facts)
    found += contents.contents(facts)
    return _sorted(found)


def _at_most(item: Finding, severity: Severity) -> Finding:
    if item.rule.severity <= severity:
        return item
    return dataclasses.replace(item, rule=dataclasses.replace(item.rule, severity=severity))


def _sorted(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings by severity, of one severity as they were come upon; what was said twice once."""
    unique: dict[tuple[str, str, str], Finding] = {}
    for item in found:
        unique.setdefault((item.rule.id, item.where.inside, item.message), item)
    return tuple(sorted(unique.values(), key=lambda item: -item.rule.severity))
