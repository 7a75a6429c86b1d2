"""What is to be said of a compatibility document that is valid: what NFD takes, and what yet cannot be meant."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from runtimeimg.findings import Finding, Place, Rule, Severity
from runtimeimg.selection.nfd.spec import Rule as FeatureRule
from runtimeimg.selection.nfd.spec import Spec, Term
from runtimeimg.spec.checks import shown
from runtimeimg.spec.documents import Loaded, position

_NFD = "NFD docs/usage/customization-guide.md, Available features"
FLAGS = frozenset({"cpu.cpuid", "kernel.loadedmodule", "kernel.enabledmodule"})
"""Features whose elements have names and mostly no values."""
FEATURES = FLAGS | {
    *(f"cpu.{name}" for name in ("coprocessor", "cstate", "model", "pstate", "rdt", "security", "sst", "topology")),
    *(f"kernel.{name}" for name in ("config", "kvm", "selinux", "version")),
    *(f"memory.{name}" for name in ("hugepages", "numa", "nv", "swap")),
    *(f"system.{name}" for name in ("dmiid", "name", "osrelease")),
    *("network.device", "network.virtual", "pci.device", "storage.block", "usb.device"),
    *("local.feature", "local.label", "rule.matched"),
}
"""Features that NFD discovers."""
_VALUED = frozenset({"AVX10_VERSION"})
"""Elements of features with flags that have a value."""

UNKNOWN_FEATURE = Rule(
    id="COMPAT-001",
    title="Features are those that NFD discovers",
    severity=Severity.WARNING,
    explanation="A feature that no host has holds for nothing, DoesNotExist included: the rule never matches. Features "
    "of one's own are elements of local.feature.",
    bad="- feature: cpu.cupid",
    good="- feature: cpu.cpuid",
    source=_NFD,
)
FLAG_WITHOUT_VALUE = Rule(
    id="COMPAT-002",
    title="Flags are asked for with Exists and DoesNotExist",
    severity=Severity.WARNING,
    explanation="Elements such as those of cpu.cpuid are there or not, and have no value. Any other operator holds for "
    "none of them.",
    bad="- feature: cpu.cpuid\n  matchExpressions: {AVX2: {op: IsTrue}}",
    good="- feature: cpu.cpuid\n  matchExpressions: {AVX2: {op: Exists}}",
    source=_NFD,
)
NEEDS_NOTHING = Rule(
    id="COMPAT-003",
    title="A rule needs something",
    severity=Severity.WARNING,
    explanation="A rule without matchFeatures and matchAny matches every host, and so does a term of a feature without "
    "matchExpressions and matchName, wherever the feature is known. A set without rules is the plain way to say that "
    "an image runs anywhere.",
    bad="- name: cpu",
    good="- name: cpu\n  matchFeatures:\n  - feature: cpu.cpuid\n    matchExpressions: {AVX2: {op: Exists}}",
    source="NFD docs/usage/image-compatibility.md, Schema",
)
TEMPLATE = Rule(
    id="COMPAT-004",
    title="Templates of variables are expanded by NFD alone",
    severity=Severity.INFO,
    explanation="'index compat check' knows the variables of 'vars', and not those that a template would make: rules "
    "that ask for them in rule.matched do not match.",
    bad="  varsTemplate: |\n    {{ range .pci.device }}vendor={{ .vendor }}\n    {{ end }}",
    good="  vars: {vendor: 10de}",
    source="NFD docs/usage/customization-guide.md, Templating",
)
RULES = (UNKNOWN_FEATURE, FLAG_WITHOUT_VALUE, NEEDS_NOTHING, TEMPLATE)
"""All of them, by id."""


def lint(document: Loaded[Spec]) -> tuple[Finding, ...]:
    """Return what is to be said of a document, in its order, each with its line."""
    found = []
    for number, each in enumerate(document.value.compatibilities):
        for place, rule in enumerate(each.rules):
            found += list(_rule(rule, document, f"compatibilities[{number}].rules[{place}]"))
    return tuple(found)


def _rule(rule: FeatureRule, document: Loaded[Spec], path: str) -> Iterator[Finding]:
    if not rule.match_features and not rule.match_any:
        message = f"rule {shown(rule.name)} matches every host"
        yield _finding(NEEDS_NOTHING, document, path, message, "say what it needs, or remove it")
    if rule.vars_template:
        message = f"rule {shown(rule.name)} has a template, which is not expanded here"
        yield _finding(TEMPLATE, document, f"{path}.varsTemplate", message, "write the variables under 'vars'")
    for place, term in enumerate(rule.match_features):
        yield from _term(term, document, f"{path}.matchFeatures[{place}]")
    for way, either in enumerate(rule.match_any):
        for place, term in enumerate(either.match_features):
            yield from _term(term, document, f"{path}.matchAny[{way}].matchFeatures[{place}]")


def _term(term: Term, document: Loaded[Spec], path: str) -> Iterator[Finding]:
    feature = term.feature.lower()
    if feature not in FEATURES:
        near = get_close_matches(feature[:80], FEATURES, 1, 0.6)
        fix = f"did you mean '{near[0]}'?" if near else "features of your own are elements of 'local.feature'"
        message = f"{shown(term.feature)} is no feature that NFD discovers"
        yield _finding(UNKNOWN_FEATURE, document, f"{path}.feature", message, fix)
    elif term.match_expressions is None and term.match_name is None:
        message = f"the term of {shown(term.feature)} asks for nothing"
        yield _finding(NEEDS_NOTHING, document, path, message, "add matchExpressions or matchName, or remove it")
    for element, expression in (term.match_expressions or {}).items():
        if feature in FLAGS and expression.op not in {"Exists", "DoesNotExist"} and element not in _VALUED:
            message = f"{shown(f'{term.feature}.{element}')} is a flag without a value, and {expression.op} never holds"
            fix = "write 'Exists' or 'DoesNotExist'"
            yield _finding(FLAG_WITHOUT_VALUE, document, f"{path}.matchExpressions[{shown(element)}]", message, fix)


def _finding(rule: Rule, document: Loaded[Spec], path: str, message: str, fix: str) -> Finding:
    line, column = position(document.root, path)
    where = Place(artifact=document.file, inside=path, line=line, column=column)
    return Finding(rule=rule, where=where, message=message, fix=fix)
