"""From what a host is to what it requires and prefers: rules that name a fact, an annotation and how they compare.

Each rule says of an annotation which of its values this host is fit for. Entries without the annotation ask for
nothing and are as fit; entries with a value that the host is not fit for are not chosen. So one index can list a
generic image beside those for cards and levels, and each host gets what it can run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from runtimeimg.selection.criteria import Preference, Requirement
from runtimeimg.selection.hosts import Host
from runtimeimg.selection.values import AllOf, AtMost, Exact, Matcher, PatternOf, RangeOf

NAMESPACE = "dev.runtimeimg"
"""Namespace of the annotations that the rules that ship know."""


class Compare(StrEnum):
    """How the value of an annotation and a fact compare."""

    EQUAL = "equal"
    """The value is one of the fact's."""
    PATTERN = "pattern"
    """The value is a glob that one of the fact's values fits."""
    ALL = "all"
    """The value is words with commas between them, all of which are among the fact's."""
    AT_MOST = "at-most"
    """The value is a version that the fact reaches; the nearer to it, the better, where versions are `v1`, `v2`."""
    RANGE = "range"
    """The value is a range of versions that the fact is in; one version alone means it and newer ones."""


class Demand(StrEnum):
    """Of which entries a rule requires something."""

    ANNOTATED = "annotated"
    ALL = "all"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Entries whose `annotation` does not compare with `fact` are out; the others are liked by `weight`."""

    annotation: str
    fact: str
    compare: Compare = Compare.EQUAL
    require: Demand = Demand.ANNOTATED
    weight: int = 0


DEFAULT = (
    Rule(annotation=f"{NAMESPACE}.cpu.level", fact="cpu.level", compare=Compare.AT_MOST, weight=1),
    Rule(annotation=f"{NAMESPACE}.cpu.flags", fact="cpu.flags", compare=Compare.ALL, weight=1),
    Rule(annotation=f"{NAMESPACE}.gpu.vendor", fact="gpu.vendor", weight=10),
    Rule(annotation=f"{NAMESPACE}.gpu.model", fact="gpu.model", compare=Compare.PATTERN, weight=100),
    Rule(annotation=f"{NAMESPACE}.gpu.driver", fact="gpu.driver.version", compare=Compare.RANGE, weight=10),
    Rule(annotation=f"{NAMESPACE}.cuda", fact="cuda.driver.version", compare=Compare.RANGE, weight=10),
    Rule(annotation=f"{NAMESPACE}.kernel", fact="kernel.version", compare=Compare.RANGE, weight=1),
    Rule(annotation=f"{NAMESPACE}.libc", fact="libc.name", weight=1),
)
"""The rules that are followed where no mapping file is given."""


def wishes(host: Host, rules: Iterable[Rule] = DEFAULT) -> tuple[tuple[Requirement, ...], tuple[Preference, ...]]:
    """Return what a host requires and prefers by these rules; a fact that it has not is one that nothing fits."""
    requirements, preferences = [], []
    for rule in rules:
        facts = host.fact(rule.fact)
        matching = _matcher(rule.compare, facts)
        why = f"the host's {rule.fact} is {_shown(facts)}" if facts else f"the host has no {rule.fact}"
        if rule.require is not Demand.NONE:
            optional = rule.require is Demand.ANNOTATED
            requirements.append(Requirement(key=rule.annotation, matcher=matching, optional=optional, why=why))
        if rule.weight and facts:
            preferences += _preferences(rule, facts, matching, why)
    return tuple(requirements), tuple(preferences)


def _preferences(rule: Rule, facts: tuple[str, ...], matching: Matcher, why: str) -> list[Preference]:
    """Return one preference, or for levels such as `v3` one for each, so that the nearest is liked best."""
    level = max(
        (int(fact[1:]) for fact in facts if len(fact) == 2 and fact[0] == "v" and fact[1] in "123456789"), default=0
    )
    if rule.compare is not Compare.AT_MOST or not level:
        return [Preference(key=rule.annotation, matcher=matching, weight=rule.weight, why=why)]
    return [
        Preference(key=rule.annotation, matcher=Exact((f"v{number}",)), weight=rule.weight * number, why=why)
        for number in range(level, 0, -1)
    ]


def _matcher(compare: Compare, facts: tuple[str, ...]) -> Matcher:
    kinds: dict[Compare, type[Exact | PatternOf | AllOf | AtMost | RangeOf]] = {
        Compare.EQUAL: Exact,
        Compare.PATTERN: PatternOf,
        Compare.ALL: AllOf,
        Compare.AT_MOST: AtMost,
        Compare.RANGE: RangeOf,
    }
    return kinds[compare](facts)


def _shown(facts: tuple[str, ...]) -> str:
    text = ", ".join(facts[:4])
    return text[:80] + ("..." if len(facts) > 4 or len(text) > 80 else "")
