"""Compatibility documents: what is read, what is refused and where, and what they say of hosts."""

import json
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runtimeimg.errors import InvalidDocumentError, SpecError, UsageError
from runtimeimg.oci import Platform
from runtimeimg.selection.hosts import Features, Host
from runtimeimg.selection.nfd import lint, spec
from runtimeimg.selection.nfd.evaluate import evaluate
from runtimeimg.selection.nfd.patterns import MAX_STEPS

DOCUMENT = """
version: v1alpha1
compatibilities:
- description: fast
  tag: preferred
  weight: 10
  rules:
  - name: kernel and cpu
    matchFeatures:
    - feature: kernel.loadedmodule
      matchExpressions:
        vfio-pci: {op: Exists}
    - feature: cpu.model
      matchExpressions:
        vendor_id: {op: In, value: [Intel, AMD]}
    - feature: cpu.cpuid
      matchName: {op: InRegexp, value: ["^AVX512"]}
  - name: one of the cards
    matchAny:
    - matchFeatures:
      - feature: pci.device
        matchExpressions:
          vendor: {op: In, value: ["0eee"]}
          class: {op: In, value: ["0200"]}
    - matchFeatures:
      - feature: pci.device
        matchExpressions:
          vendor: {op: In, value: ["0fff"]}
          class: {op: In, value: ["0200"]}
- description: anywhere
  tag: fallback
  weight: 1
  rules:
  - name: kernel
    matchFeatures:
    - feature: kernel.version
      matchExpressions:
        full: {op: Ge, value: ["5.10"], type: version}
"""
FAST = Features(
    flags={"kernel.loadedmodule": frozenset({"vfio-pci"}), "cpu.cpuid": frozenset({"AVX512F", "AVX2"})},
    attributes={"cpu.model": {"vendor_id": "AMD"}, "kernel.version": {"full": "6.1.0-18-amd64", "major": "6"}},
    instances={"pci.device": ({"vendor": "0eee", "class": "0300"}, {"vendor": "0fff", "class": "0200"})},
)


def host(features: Features, name: str = "h") -> Host:
    return Host(name=name, platform=Platform.parse("linux/amd64"), features=features)


def document(*terms: dict[str, Any], **rule: Any) -> spec.Spec:
    made = {"name": "r", "matchFeatures": list(terms), **rule}
    return spec.load(json.dumps({"version": "v1alpha1", "compatibilities": [{"rules": [made]}]}).encode())


def test_the_set_that_holds_and_weighs_most_is_chosen() -> None:
    read = spec.load(DOCUMENT.encode())
    chosen = evaluate(read, host(FAST)).chosen
    assert chosen is not None
    assert (chosen.number, chosen.tag) == (1, "preferred")
    other = Features(flags=FAST.flags, attributes=FAST.attributes)
    verdict = evaluate(read, host(other))
    assert verdict.chosen is not None
    assert verdict.chosen.tag == "fallback"
    assert verdict.sets[0].rules[1].reasons == (
        "none of: the profile says nothing of 'pci.device'; or the profile says nothing of 'pci.device'",
    )
    assert evaluate(read, host(other), ["preferred"]).chosen is None


FEATURES = Features(
    flags={"f.flags": frozenset({"A", "AB"}), "f.mixed": frozenset({"X"})},
    attributes={
        "f.attrs": {"n": "10", "neg": "-3", "v": "6.1.0-18-amd64", "t": "true", "f": "false", "s": "abc"},
        "f.mixed": {"Y": "1"},
    },
    instances={"f.devices": ({"vendor": "1", "class": "a"}, {"vendor": "2", "class": "b", "n": "5"})},
)

# feature, element, operator, values, type, whether it holds: as NFD's evaluateMatchExpression and MatchMulti have it
OPERATORS: list[tuple[str, str, str, list[str], str, bool]] = [
    ("f.flags", "A", "Exists", [], "", True),
    ("f.flags", "B", "Exists", [], "", False),
    ("f.flags", "B", "DoesNotExist", [], "", True),
    ("f.flags", "A", "DoesNotExist", [], "", False),
    ("f.flags", "A", "In", ["A", "true"], "", False),
    ("f.flags", "A", "IsTrue", [], "", False),
    ("F.Flags", "A", "Exists", [], "", True),
    ("f.attrs", "s", "In", ["x", "abc"], "", True),
    ("f.attrs", "s", "In", ["x"], "", False),
    ("f.attrs", "s", "NotIn", ["x"], "", True),
    ("f.attrs", "s", "NotIn", ["abc"], "", False),
    ("f.attrs", "gone", "NotIn", ["abc"], "", False),
    ("f.attrs", "s", "InRegexp", ["^a.c$"], "", True),
    ("f.attrs", "s", "InRegexp", ["^b", "c$"], "", True),
    ("f.attrs", "s", "InRegexp", ["^b"], "", False),
    ("f.attrs", "s", "Exists", [], "", True),
    ("f.attrs", "gone", "DoesNotExist", [], "", True),
    ("f.attrs", "n", "Gt", ["9"], "", True),
    ("f.attrs", "n", "Gt", ["10"], "", False),
    ("f.attrs", "n", "Ge", ["10"], "", True),
    ("f.attrs", "n", "Lt", ["11"], "", True),
    ("f.attrs", "n", "Le", ["9"], "", False),
    ("f.attrs", "neg", "Lt", ["-2"], "", True),
    ("f.attrs", "n", "GtLt", ["9", "11"], "", True),
    ("f.attrs", "n", "GtLt", ["10", "11"], "", False),
    ("f.attrs", "n", "GeLe", ["10", "11"], "", True),
    ("f.attrs", "s", "Gt", ["1"], "", False),
    ("f.attrs", "v", "Ge", ["6.1"], "version", True),
    ("f.attrs", "v", "Gt", ["6.1"], "version", False),
    ("f.attrs", "v", "GtLt", ["5.10", "6.2"], "version", True),
    ("f.attrs", "v", "Lt", ["10"], "version", True),
    ("f.attrs", "s", "Lt", ["10"], "version", False),
    ("f.attrs", "t", "IsTrue", [], "", True),
    ("f.attrs", "f", "IsTrue", [], "", False),
    ("f.attrs", "f", "IsFalse", [], "", True),
    ("f.attrs", "gone", "IsFalse", [], "", False),
    ("f.mixed", "X", "Exists", [], "", True),
    ("f.mixed", "Y", "In", ["1"], "", True),
    ("f.mixed", "X", "DoesNotExist", [], "", False),
    ("f.mixed", "Z", "DoesNotExist", [], "", True),
    ("f.devices", "vendor", "In", ["2"], "", True),
    ("f.devices", "n", "DoesNotExist", [], "", True),
    ("f.devices", "n", "Gt", ["5"], "", False),
    ("f.gone", "x", "DoesNotExist", [], "", False),
]


@pytest.mark.parametrize(("feature", "element", "op", "values", "kind", "holds"), OPERATORS)
def test_operators_mean_what_nfd_means(
    feature: str, element: str, op: str, values: list[str], kind: str, holds: bool
) -> None:
    expression = {"op": op, **({"value": values} if values else {}), **({"type": kind} if kind else {})}
    made = document({"feature": feature, "matchExpressions": {element: expression}})
    verdict = evaluate(made, host(FEATURES))
    (rule,) = verdict.sets[0].rules
    assert (verdict.chosen is not None) == rule.holds == holds
    assert bool(rule.reasons) == (not holds)


def test_every_operator_is_tried() -> None:
    assert {case[2] for case in OPERATORS} == set(spec.OPS)


def test_one_device_must_have_it_all() -> None:
    def devices(vendor: str, kind: str) -> bool:
        expressions = {"vendor": {"op": "In", "value": [vendor]}, "class": {"op": "In", "value": [kind]}}
        made = document({"feature": "f.devices", "matchExpressions": expressions})
        return evaluate(made, host(FEATURES)).chosen is not None

    assert devices("1", "a")
    assert not devices("1", "b")


@pytest.mark.parametrize(
    ("feature", "pattern", "holds"),
    [("f.flags", "^AB$", True), ("f.flags", "C", False), ("f.attrs", "^neg$", True), ("f.devices", "^vend", True)],
)
def test_names_are_matched(feature: str, pattern: str, holds: bool) -> None:
    made = document({"feature": feature, "matchName": {"op": "InRegexp", "value": [pattern]}})
    assert (evaluate(made, host(FEATURES)).chosen is not None) == holds


def test_variables_of_a_rule_are_there_for_the_next() -> None:
    first = {"name": "one", "vars": {"level": "high"}, "matchFeatures": [
        {"feature": "f.flags", "matchExpressions": {"A": {"op": "Exists"}}}]}  # fmt: skip
    second = {"name": "two", "matchFeatures": [
        {"feature": "rule.matched", "matchExpressions": {"level": {"op": "In", "value": ["high"]}}}]}  # fmt: skip

    def fits(*rules: dict[str, Any]) -> bool:
        data = {"version": "v1alpha1", "compatibilities": [{"rules": list(rules)}]}
        return evaluate(spec.load(json.dumps(data).encode()), host(FEATURES)).chosen is not None

    assert fits(first, second)
    assert not fits(second, first)


def test_reasons_say_what_is_and_what_is_wanted() -> None:
    made = document(
        {"feature": "f.attrs", "matchExpressions": {"n": {"op": "Gt", "value": ["99"]}, "gone": {"op": "Exists"}}},
        {"feature": "f.flags", "matchExpressions": {"A": {"op": "DoesNotExist"}}},
        {"feature": "f.devices", "matchExpressions": {"vendor": {"op": "In", "value": ["9"]}}},
    )
    (rule,) = evaluate(made, host(FEATURES)).sets[0].rules
    assert rule.reasons == (
        "f.attrs.n is '10', wanted Gt '99'",
        "f.attrs.gone is not there, wanted Exists",
        "f.flags.A is there, wanted DoesNotExist",
        "no f.devices of 2 has vendor In '9'",
    )


def test_patterns_that_take_too_long_together_are_an_error() -> None:
    many = Features(attributes={"a.b": {f"{'a' * 900}{number}": "1" for number in range(400)}})
    made = document({"feature": "a.b", "matchName": {"op": "InRegexp", "value": ["(.*a){200}b"]}})
    with pytest.raises(InvalidDocumentError, match=f"take more than {MAX_STEPS} steps"):
        evaluate(made, host(many))


def changed(old: str, new: str) -> str:
    assert old in DOCUMENT
    return DOCUMENT.replace(old, new, 1)


WRONG = [
    ("", "is empty; a compatibility document wanted"),
    ("- x", "is not a map"),
    ("version: v1alpha1", "compatibilities: is missing"),
    (changed("version: v1alpha1", "version: v1"), "c.yaml:2:10: version: is 'v1'; only 'v1alpha1' is known"),
    (changed("version: v1alpha1", "version: 1"), "version: is '1', a number; only 'v1alpha1' is known"),
    (changed("compatibilities:", "compatibilites:"), "did you mean 'compatibilities'?"),
    (changed("weight: 10", "weight: heavy"), "c.yaml:6:11: compatibilities[0].weight: is 'heavy', a text; a whole"),
    (changed("weight: 10", "weight: 1000"), "'1000' is not a weight"),
    (changed("tag: preferred", "tags: preferred"), "unknown key 'tags'; did you mean 'tag'?"),
    (changed("op: Exists", "op: Exist"), "is 'Exist'; did you mean 'Exists'?"),
    (changed("op: Exists", "op: ''"), "known are In, NotIn"),
    (changed("op: Exists", "op: Exists, value: [x]"), "has 1 values; operator Exists takes no value"),
    (changed("op: In, value: [Intel, AMD]", "op: In"), "vendor_id: has no value; operator In takes at least one"),
    (changed("op: In, value: [Intel, AMD]", "op: In, value: Intel"), 'a list such as ["Intel"] is wanted'),
    (changed("op: In, value: [Intel, AMD]", "op: In, value: [6]"), "is '6', a number; put it in quotes: '6'"),
    (changed('["5.10"], type: version', '["5.10"]'), "operator Ge takes a whole number; or add 'type: version'"),
    (changed('["5.10"]', '["five"]'), "is 'five'; operator Ge takes a version of one to three numbers"),
    (changed('["5.10"]', '["1", "2"]'), "has 2 values; operator Ge takes one value"),
    (changed('Ge, value: ["5.10"]', 'GtLt, value: ["6.1", "5.10"]'), "value: has its larger end first"),
    (changed('Ge, value: ["5.10"]', 'In, value: ["5.10"]'), "is 'version', which operator In has no use for"),
    (changed("type: version", "type: semver"), "is 'semver'; only 'version' is known"),
    (changed('"^AVX512"', '"(AVX"'), "'(AVX' has a '(' without ')'"),
    (changed('"^AVX512"', '"(?=A)"'), "has the group '(?=A', which is not supported"),
    (changed('"^AVX512"', '"(a{1000}){1000}"'), "has more than 1000 states"),
    (changed("feature: cpu.cpuid", "feature: cpuid"), "'cpuid' is not a feature"),
    (changed("feature: cpu.cpuid", "feature: "), "is empty; write a value such as cpu.cpuid"),
    (changed("matchName:", "matchNames:"), "did you mean 'matchName'?"),
    (changed("- name: kernel and cpu", "- names: kernel and cpu"), "did you mean 'name'?"),
    (changed("description: fast", "description: fast\n  description: slow"), "is given twice"),
    (changed("description: fast", "description: &a [*a]"), "refers to what it is part of"),
    (changed("description: fast", 'description: "a\\nb"'), "holds a line break"),
    ("version: v1alpha1\ncompatibilities: " + "[" * 100, "nested more than 64 deep"),
    (json.dumps({"version": "v1alpha1", "compatibilities": [{"rules": []}] * 65}), "has 65 sets; 64 are allowed"),
    (json.dumps({"version": "v1alpha1", "compatibilities": [{"rules": [{"name": "r"}] * 257}]}), "has 257 rules"),
    (json.dumps({"version": "v1alpha1", "compatibilities": [{"rules": [
        {"name": "r", "matchFeatures": [{"feature": "a.b"}] * 2001}]}]}), "has 2001 terms; 2000 are allowed"),
    ("x" * (1 << 20) + "x", "is larger than 1 MiB"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_wrong_document_is_one_clear_error(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec.load(text.encode(), "c.yaml")
    assert len(caught.value.problems) == 1
    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


def test_all_that_is_wrong_is_said_at_once() -> None:
    text = changed("op: Exists", "op: Exist").replace("weight: 10", "weight: x").replace("tag: fallback", "tga: f")
    with pytest.raises(SpecError) as caught:
        spec.load(text.encode(), "c.yaml")
    assert [problem.line for problem in caught.value.problems] == [6, 12, 31]


def test_the_schema_takes_what_the_loader_takes() -> None:
    check = jsonschema.Draft202012Validator(spec.schema())
    check.check_schema(spec.schema())
    check.validate(yaml.safe_load(DOCUMENT))
    assert not check.is_valid(yaml.safe_load(changed("op: Exists", "op: Exist")))
    assert not check.is_valid(yaml.safe_load(changed("weight: 10", "weight: 1000")))


def test_a_document_is_written_as_it_was_read() -> None:
    read = spec.load(DOCUMENT.encode())
    assert spec.load(spec.dump(read)) == read
    assert spec.dump(spec.load(spec.dump(read))) == spec.dump(read)


def test_an_image_needs_what_it_and_its_base_need() -> None:
    own, base = (
        document({"feature": "f.flags", "matchExpressions": {"A": {"op": "Exists"}}}),
        spec.load(DOCUMENT.encode()),
    )
    together = spec.both(own, base)
    assert [[rule.name for rule in found.rules] for found in together.compatibilities] == [
        ["kernel and cpu", "one of the cards", "r"], ["kernel", "r"],
    ]  # fmt: skip
    assert spec.load(spec.dump(together)) == together
    assert spec.both(own, own) == own
    many = own.model_copy(update={"compatibilities": own.compatibilities * 9})
    with pytest.raises(UsageError, match="with the base's there are 81 sets"):
        spec.both(many, many)


ODD: list[tuple[str, dict[str, Any], str]] = [
    ("COMPAT-001", {"matchFeatures": [{"feature": "cpu.cupid", "matchName": {"op": "Exists"}}]}, "'cpu.cupid' is no"),
    ("COMPAT-002", {"matchFeatures": [{"feature": "cpu.cpuid", "matchExpressions": {"AVX2": {"op": "IsTrue"}}}]},
     "'cpu.cpuid.AVX2' is a flag without a value, and IsTrue never holds"),
    ("COMPAT-003", {}, "rule 'r' matches every host"),
    ("COMPAT-003", {"matchAny": [{"matchFeatures": [{"feature": "cpu.cpuid"}]}]}, "the term of 'cpu.cpuid' asks for"),
    ("COMPAT-004", {"varsTemplate": "x", "matchFeatures": [{"feature": "cpu.model", "matchName": {"op": "Exists"}}]},
     "has a template"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "data", "message"), ODD)
def test_what_cannot_be_meant_is_found(rule: str, data: dict[str, Any], message: str) -> None:
    text = json.dumps({"version": "v1alpha1", "compatibilities": [{"rules": [{"name": "r", **data}]}]})
    (said,) = lint.lint(spec.loaded(text.encode(), "c.yaml"))
    assert (said.rule.id, said.where.artifact, said.where.line) == (rule, "c.yaml", 1)
    assert message in said.message
    assert said.where.column > 50


def test_a_good_document_has_nothing_to_be_said_of() -> None:
    assert lint.lint(spec.loaded(DOCUMENT.encode())) == ()
    valued = {"feature": "cpu.cpuid", "matchExpressions": {"AVX10_VERSION": {"op": "Ge", "value": ["1"]}}}
    text = json.dumps(
        {"version": "v1alpha1", "compatibilities": [{"rules": [{"name": "r", "matchFeatures": [valued]}]}]}
    )
    assert lint.lint(spec.loaded(text.encode())) == ()
    assert {case[0] for case in ODD} == {rule.id for rule in lint.RULES}


_elements = st.dictionaries(st.sampled_from("AB"), st.sampled_from(["1", "2", "x"]), max_size=2)
_expressions = st.dictionaries(
    st.sampled_from("AB"),
    st.one_of(
        st.sampled_from([{"op": "Exists"}, {"op": "DoesNotExist"}]),
        st.builds(lambda op, value: {"op": op, "value": [value]}, st.sampled_from(["In", "NotIn", "Gt"]), st.just("1")),
    ),
    max_size=2,
)
_terms = st.builds(lambda found: {"feature": "a.b", "matchExpressions": found}, _expressions)


@given(st.lists(_terms, min_size=1, max_size=2), st.lists(_terms, max_size=2), _elements)
def test_documents_together_hold_where_both_hold(
    one: list[dict[str, Any]], two: list[dict[str, Any]], elements: dict[str, str]
) -> None:
    there = host(Features(attributes={"a.b": elements}))
    first, second = document(*one), document(*two)
    together = evaluate(spec.both(first, second), there).chosen is not None
    assert together == all(evaluate(each, there).chosen is not None for each in (first, second))
