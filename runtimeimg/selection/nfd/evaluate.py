"""Compatibility documents held against hosts, offline, with the meaning that Node Feature Discovery gives them.

Sources: NFD pkg/apis/nfd/nodefeaturerule (what operators mean for flags, attributes and instances) and
pkg/client-nfd/compat/node-validator. An image runs on a host where one of its sets holds, of several the one that
weighs most; a set holds where all of its rules do. A feature that the host's profile does not have holds for nothing,
DoesNotExist included: that nobody looked is not that nothing is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from runtimeimg.errors import InvalidDocumentError
from runtimeimg.selection.hosts import Features, Host
from runtimeimg.selection.nfd import patterns
from runtimeimg.selection.nfd.patterns import PatternError, Steps
from runtimeimg.selection.nfd.spec import Compatibility, Expression, Rule, Spec, Term
from runtimeimg.selection.nfd.versions import key
from runtimeimg.spec.checks import shown

_FULL = frozenset({"kernel.config", "kernel.enabledmodule"})
_WITH_FULL = "; 'host detect --full' adds it"
_BACK = "rule.matched"
"""Feature that holds the `vars` of rules that matched before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What one expression came to: what it says, whether it holds, and if not, why."""

    feature: str
    says: str
    holds: bool
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleResult:
    """What a rule came to; `any` has the expressions of each way."""

    name: str
    holds: bool
    all: tuple[Checked, ...] = ()
    any: tuple[tuple[Checked, ...], ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it does not hold."""
        if self.holds:
            return ()
        failed = tuple(item.why for item in self.all if not item.holds)
        if self.any and not any(all(item.holds for item in way) for way in self.any):
            ways = (" and ".join(item.why for item in way if not item.holds) for way in self.any)
            failed += ("none of: " + "; or ".join(ways),)
        return failed


@dataclass(frozen=True, slots=True, kw_only=True)
class SetResult:
    """What a set came to; `number` counts from 1."""

    number: int
    tag: str
    weight: int
    description: str
    rules: tuple[RuleResult, ...]

    @property
    def holds(self) -> bool:
        """Whether all of its rules hold."""
        return all(rule.holds for rule in self.rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a document says of a host."""

    host: str
    sets: tuple[SetResult, ...] = field(default=())

    @property
    def chosen(self) -> SetResult | None:
        """The set that holds and weighs most, of equals the first; None where none holds."""
        return max((found for found in self.sets if found.holds), key=lambda found: found.weight, default=None)


def evaluate(spec: Spec, host: Host, tags: Iterable[str] = ()) -> Verdict:
    """Return what `spec` says of `host`; with `tags` only the sets that have one of them count.

    Raises InvalidDocumentError for patterns that take too long together.
    """
    wanted, steps, features = frozenset(tags), Steps(), host.features
    results = []
    for place, found in enumerate(spec.compatibilities, 1):
        if wanted and found.tag not in wanted:
            continue
        try:
            result, features = _set(found, place, features, steps)
        except PatternError as error:
            raise InvalidDocumentError(f"set {place} of the compatibility document: {error}") from None
        results.append(result)
    return Verdict(host=host.name, sets=tuple(results))


def _set(found: Compatibility, place: int, features: Features, steps: Steps) -> tuple[SetResult, Features]:
    rules = []
    for rule in found.rules:
        result = _rule(rule, features, steps)
        rules.append(result)
        if result.holds and rule.vars:
            known = {**features.attributes.get(_BACK, {}), **rule.vars}
            features = replace(features, attributes={**features.attributes, _BACK: known})
    return SetResult(
        number=place, tag=found.tag, weight=found.weight, description=found.description, rules=tuple(rules)
    ), features


def _rule(rule: Rule, features: Features, steps: Steps) -> RuleResult:
    every = _terms(rule.match_features, features, steps)
    ways = tuple(_terms(way.match_features, features, steps) for way in rule.match_any)
    holds = all(item.holds for item in every) and (not ways or any(all(item.holds for item in way) for way in ways))
    return RuleResult(name=rule.name, holds=holds, all=every, any=ways)


def _terms(terms: Iterable[Term], features: Features, steps: Steps) -> tuple[Checked, ...]:
    return tuple(item for term in terms for item in _term(term, features, steps))


def _term(term: Term, features: Features, steps: Steps) -> list[Checked]:
    name = term.feature.lower()
    there = _Elements.of(features, name)
    if there is None:
        why = f"the profile says nothing of {shown(name)}{_WITH_FULL if name in _FULL else ''}"
        return [Checked(feature=term.feature, says="is known", holds=False, why=why)]
    found = []
    if term.match_expressions is not None:
        found += _expressions(term, term.match_expressions, there, steps)
    if term.match_name is not None:
        expression = term.match_name
        holds = any(_holds(expression, each, steps) for each in there.names)
        why = f"no element of {shown(name)} has a name that is {_says(expression)}"
        says = f"a name is {_says(expression)}"
        found.append(Checked(feature=term.feature, says=says, holds=holds, why="" if holds else why))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Elements:
    """The elements of a feature, which may have some of each kind."""

    flags: frozenset[str] | None
    attributes: Mapping[str, str] | None
    instances: tuple[Mapping[str, str], ...]

    @classmethod
    def of(cls, features: Features, name: str) -> _Elements | None:
        flags, attributes = features.flags.get(name), features.attributes.get(name)
        instances = features.instances.get(name)
        if flags is None and attributes is None and instances is None:
            return None
        return cls(flags=flags, attributes=attributes, instances=instances or ())

    @property
    def names(self) -> list[str]:
        every = [*(self.flags or ()), *(self.attributes or ()), *(name for each in self.instances for name in each)]
        return sorted(set(every))


def _expressions(term: Term, expressions: Mapping[str, Expression], there: _Elements, steps: Steps) -> list[Checked]:
    """Hold expressions against flags and attributes together, or against an instance for which all of them hold."""
    for each in there.instances:
        if all(_holds(expression, each.get(name), steps) for name, expression in expressions.items()):
            return [_checked(term, name, expression, "") for name, expression in expressions.items()]
    if there.flags is None and there.attributes is None:
        says = " and ".join(f"{name} {_says(expression)}" for name, expression in expressions.items())
        why = f"no {term.feature} of {len(there.instances)} has {says}"
        return [Checked(feature=term.feature, says=says, holds=False, why=why)]
    return [
        _checked(term, name, expression, _why(term, name, expression, there, steps))
        for name, expression in expressions.items()
    ]


def _checked(term: Term, name: str, expression: Expression, why: str) -> Checked:
    return Checked(feature=term.feature, says=f"{name} {_says(expression)}", holds=not why, why=why)


def _why(term: Term, name: str, expression: Expression, there: _Elements, steps: Steps) -> str:
    """Return why an expression holds for neither a flag nor an attribute, empty where it does for one."""
    as_flag = there.flags is not None and _flag_holds(expression, name in there.flags)
    as_attribute = there.attributes is not None and _holds(expression, there.attributes.get(name), steps)
    both_must = expression.op == "DoesNotExist" and there.flags is not None and there.attributes is not None
    if (as_flag and as_attribute) if both_must else (as_flag or as_attribute):
        return ""
    label = f"{term.feature}.{name}"
    if there.attributes is not None and name in there.attributes:
        value = there.attributes[name]
        return f"{label} is {shown(value)}, wanted {_says(expression)}"
    if there.flags is not None and name in there.flags:
        return f"{label} is there, wanted {_says(expression)}"
    return f"{label} is not there, wanted {_says(expression)}"


def _flag_holds(expression: Expression, there: bool) -> bool:
    return (expression.op == "Exists" and there) or (expression.op == "DoesNotExist" and not there)


def _holds(expression: Expression, value: str | None, steps: Steps) -> bool:
    """Tell whether an expression holds for a value, None for one that is not there."""
    op, wanted = expression.op, expression.value
    if op in {"Exists", "DoesNotExist"}:
        return (value is not None) is (op == "Exists")
    if value is None:
        return False
    match op:
        case "In" | "NotIn":
            return (value in wanted) is (op == "In")
        case "InRegexp":
            return any(patterns.parse(text).search(value, steps) for text in wanted)
        case "IsTrue" | "IsFalse":
            return value == ("true" if op == "IsTrue" else "false")
    return _ordered(expression, value)


def _ordered(expression: Expression, value: str) -> bool:
    """Tell whether a value lies where an operator of order wants it; what is no number, or version, lies nowhere."""
    as_version = expression.type == "version"
    here = key(value, as_version=as_version)
    there = [found for text in expression.value if (found := key(text, as_version=as_version)) is not None]
    if here is None or len(there) != len(expression.value):
        return False
    low, high = there[0], there[-1]
    ends = {"GtLt": low < here < high, "GeLe": low <= here <= high}
    return {"Gt": here > low, "Ge": here >= low, "Lt": here < low, "Le": here <= low, **ends}[expression.op]


def _says(expression: Expression) -> str:
    values = ", ".join(shown(text) for text in expression.value[:5]) + ("..." if len(expression.value) > 5 else "")
    return f"{expression.op} {values}".rstrip()
