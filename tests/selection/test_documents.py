"""Preferences and mappings as documents: what they mean, and one clear error for each that is malformed or hostile."""

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimeimg.errors import InvalidDocumentError, RuntimeimgError, SpecError
from runtimeimg.oci import Platform
from runtimeimg.selection import mapping, mappingdocument, preferences
from runtimeimg.selection.criteria import Order, Preference, Requirement
from runtimeimg.selection.hosts import Host
from runtimeimg.selection.values import AllOf, AtMost, Exact, Glob, PatternOf, Present, RangeOf, VersionRange
from runtimeimg.spec import yamlnodes
from tests.indexes.command import run

PREFERENCES = """
apiVersion: runtimeimg.dev/v1
kind: Preferences
order: lexicographic
namespaces:
  - {name: com.example, documentation: https://example.com/annotations}
  - {name: org.site}
require:
  - {key: com.example.cuda, range: ">=12.2,<13", optional: true}
  - {key: com.example.mpi, value: [open, mpich]}
prefer:
  - {key: com.example.gpu, value: [model-2, 12.20], weight: 10}
  - {key: com.example.libc, glob: "gl*", weight: -2}
  - {key: org.site.debug, present: true}
"""
MAPPING = """
kind: HostMapping
rules:
  - {annotation: com.example.gpu, fact: gpu.model, compare: pattern, weight: 10}
  - {annotation: com.example.level, fact: cpu.level, compare: at-most, require: all, weight: 2}
  - {annotation: org.site.fabric, fact: site.fabric, require: none, weight: 5}
  - {annotation: org.site.flags, fact: cpu.flags, compare: all}
  - {annotation: org.site.cuda, fact: cuda.driver.version, compare: range}
"""


def test_preferences_are_read_with_values_as_they_are_written() -> None:
    found = preferences.load(PREFERENCES.encode())
    assert found.order is Order.LEXICOGRAPHIC
    assert found.namespaces == ("com.example", "org.site")
    assert found.documentation == {"com.example": "https://example.com/annotations"}
    assert found.requirements == (
        Requirement(key="com.example.cuda", matcher=VersionRange.parse(">=12.2,<13"), optional=True),
        Requirement(key="com.example.mpi", matcher=Exact(("open", "mpich"))),
    )
    assert found.preferences == (
        Preference(key="com.example.gpu", matcher=Exact(("model-2",)), weight=10),
        Preference(key="com.example.gpu", matcher=Exact(("12.20",)), weight=10),
        Preference(key="com.example.libc", matcher=Glob.parse("gl*"), weight=-2),
        Preference(key="org.site.debug", matcher=Present()),
    )


def test_an_empty_list_of_preferences_prefers_nothing() -> None:
    assert preferences.load(b"kind: Preferences") == preferences.Preferences()


HOST = Host(
    name="node",
    platform=Platform.parse("linux/amd64"),
    facts={"gpu.model": ("NVIDIA A100",), "cpu.level": ("v3",), "cpu.flags": ("avx2", "fma")},
)


def test_a_mapping_makes_requirements_and_preferences_of_facts() -> None:
    required, preferred = mapping.wishes(HOST, mappingdocument.load(MAPPING.encode()))
    model = PatternOf(("NVIDIA A100",))
    assert [(item.key, item.matcher, item.optional) for item in required] == [
        ("com.example.gpu", model, True),
        ("com.example.level", AtMost(("v3",)), False),
        ("org.site.flags", AllOf(("avx2", "fma")), True),
        ("org.site.cuda", RangeOf(()), True),
    ]
    assert [(item.key, item.matcher, item.weight) for item in preferred] == [
        ("com.example.gpu", model, 10),
        *(("com.example.level", Exact((f"v{number}",)), 2 * number) for number in (3, 2, 1)),
    ]


@pytest.mark.parametrize(
    ("annotations", "fits"),
    [
        ({}, True),
        ({"dev.runtimeimg.cpu.level": "v2"}, True),
        ({"dev.runtimeimg.cpu.level": "v4"}, False),
        ({"dev.runtimeimg.cpu.flags": "fma, avx2"}, True),
        ({"dev.runtimeimg.cpu.flags": "avx512f"}, False),
        ({"dev.runtimeimg.gpu.model": "NVIDIA A*"}, True),
        ({"dev.runtimeimg.gpu.model": "NVIDIA H*"}, False),
        ({"dev.runtimeimg.gpu.model": "[" * 100}, False),
        ({"dev.runtimeimg.gpu.model": "*a" * 2000}, False),
        ({"dev.runtimeimg.cuda": "12.2"}, False),
        ({"com.example.anything": "else"}, True),
    ],
)
def test_the_rules_that_ship_keep_from_a_host_what_it_cannot_run(annotations: dict[str, str], fits: bool) -> None:
    required, _ = mapping.wishes(HOST)
    assert all(not item.failure(annotations) for item in required) is fits


def test_the_rules_that_ship_are_a_valid_document_that_says_the_same() -> None:
    assert mappingdocument.load(json.dumps(mappingdocument.document()).encode()) == mapping.DEFAULT


def plain(text: str) -> object:
    return yamlnodes.compose(text.encode(), "x")[0].root.plain()


def test_the_schemas_take_what_the_loaders_take() -> None:
    for schema, good, bad in (
        (preferences.schema(), PREFERENCES, {"prefer": [{"key": "a", "weigth": 1}]}),
        (mappingdocument.schema(), MAPPING, {"rules": [{"annotation": "a"}]}),
    ):
        jsonschema.Draft202012Validator.check_schema(schema)
        check = jsonschema.Draft202012Validator(schema)
        check.validate(plain(good))
        assert not check.is_valid(bad)
        for example in schema["examples"]:
            check.validate(example)


def test_every_key_of_the_schemas_is_described() -> None:
    for schema in (preferences.schema(), mappingdocument.schema()):
        for part in (schema, *schema["$defs"].values()):
            for name, value in part.get("properties", {}).items():
                assert name in {"apiVersion", "kind"} or value.get("description"), name


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{after}: &{after} [{','.join([f'*{before}'] * 9)}]\n" for before, after in pairwise("abcdefghi")
)
BAD_PREFERENCES = {
    "empty": ("", "is empty"),
    "comment": ("# nothing", "is empty"),
    "list": ("- a", "is not a map"),
    "text": ("hello", "is not a map"),
    "two documents": ("kind: Preferences\n---\nkind: Preferences", "holds 2 documents"),
    "other kind": ("kind: Host", "kind"),
    "other version": ("apiVersion: v2", "apiVersion"),
    "misspelt key": ("perfer: []", "did you mean 'prefer'"),
    "other word": ("preferences: []", "did you mean 'prefer'"),
    "prefer is a text": ("prefer: com.example.gpu", "a list"),
    "prefer is a map": ("prefer: {key: a}", "a list"),
    "rule is a text": ("prefer: [a]", "a map"),
    "no key": ("prefer: [{value: a}]", "is missing"),
    "no value": ("prefer: [{key: a.b}]", "says nothing of the value"),
    "two forms": ("prefer: [{key: a.b, value: x, glob: y}]", "has value and glob"),
    "empty key": ("prefer: [{key: '', value: x}]", "is not a key"),
    "key with space": ("prefer: [{key: 'a b', value: x}]", "is not a key"),
    "key turned around": ('prefer: [{key: "a\\u202eb", value: x}]', "is not a key"),
    "key is long": (f"prefer: [{{key: {'k' * 2000}, value: x}}]", "is not a key"),
    "value is a map": ("prefer: [{key: a.b, value: {c: d}}]", "value"),
    "no values": ("prefer: [{key: a.b, value: []}]", "value"),
    "value is long": (f"prefer: [{{key: a.b, value: {'v' * 5000}}}]", "characters"),
    "glob not closed": ("prefer: [{key: a.b, glob: '[a'}]", "not closed"),
    "glob explodes": (f"prefer: [{{key: a.b, glob: '{'*a' * 200}'}}]", "is longer than"),
    "empty glob range": ("prefer: [{key: a.b, glob: '[z-a]'}]", "is empty"),
    "no range": ("prefer: [{key: a.b, range: twelve}]", "is not a comparison"),
    "endless range": (f"prefer: [{{key: a.b, range: '{','.join(['>1'] * 300)}'}}]", "is longer than"),
    "range of a megabyte": (f"prefer: [{{key: a.b, range: '{','.join(['>1'] * 300_000)}'}}]", "characters"),
    "regex as range": ("prefer: [{key: a.b, range: '(a+)+$'}]", "is not a comparison"),
    "present: false": ("prefer: [{key: a.b, present: false}]", "present"),
    "weight is a text": ("prefer: [{key: a.b, value: x, weight: much}]", "weight"),
    "weight with fraction": ("prefer: [{key: a.b, value: x, weight: 1.5}]", "weight"),
    "weight too large": ("prefer: [{key: a.b, value: x, weight: 99999999}]", "weight"),
    "weight endless": (f"prefer: [{{key: a.b, value: x, weight: {'9' * 5000}}}]", "weight"),
    "weight infinite": ("prefer: [{key: a.b, value: x, weight: .inf}]", "weight"),
    "weight null": ("prefer: [{key: a.b, value: x, weight: }]", "weight"),
    "requirement with a weight": ("require: [{key: a.b, value: x, weight: 1}]", "weight"),
    "optional is a number": ("require: [{key: a.b, value: x, optional: 7}]", "optional"),
    "order": ("order: random", "order"),
    "namespace twice": ("namespaces: [{name: a.b}, {name: a.b}]", "twice"),
    "link": ("namespaces: [{name: a.b, documentation: 'javascript:alert(1)'}]", "is not a link"),
    "link with control": ('namespaces: [{name: a.b, documentation: "https://a\\u0007"}]', "is not a link"),
    "key twice": ("order: sum\norder: sum", "order"),
    "alias bomb": (BOMB, ""),
    "deep": ("[" * 5000, ""),
    "tag": ("prefer: !!python/object/apply:os.system [id]", ""),
    "not UTF-8": (b"prefer: \xff\xfe", ""),
    "NUL": (b"prefer: \0", ""),
    "tab": ("prefer:\n\t- a", ""),
    "unclosed": ("prefer: [", ""),
}  # fmt: skip
RULE = "{annotation: a.b, fact: c.d}"
BAD_MAPPINGS = {
    "empty": ("", "is empty"),
    "list": ("- a", "is not a map"),
    "text": ("hello", "is not a map"),
    "no rules": ("kind: HostMapping", "rules"),
    "rules null": ("rules:", "rules"),
    "rules a map": ("rules: {a: b}", "a list"),
    "rules a text": ("rules: a", "a list"),
    "two documents": (f"rules: [{RULE}]\n---\nrules: []", "holds 2 documents"),
    "other kind": ("kind: Preferences\nrules: []", "kind"),
    "other version": ("apiVersion: 7\nrules: []", "apiVersion"),
    "misspelt": ("ruels: []", "did you mean 'rules'"),
    "rule is text": ("rules: [a]", "a map"),
    "rule is null": ("rules: [null]", ""),
    "no fact": ("rules: [{annotation: a.b}]", "is missing"),
    "no annotation": ("rules: [{fact: a.b}]", "is missing"),
    "annotation empty": ("rules: [{annotation: '', fact: a}]", "is not a key"),
    "annotation with line break": ('rules: [{annotation: "a\\nb", fact: a}]', "is not a key"),
    "annotation a list": ("rules: [{annotation: [a], fact: a}]", "annotation"),
    "fact empty": ("rules: [{annotation: a.b, fact: ''}]", "is not a name of a fact"),
    "fact with space": ("rules: [{annotation: a.b, fact: 'a b'}]", "is not a name of a fact"),
    "fact long": (f"rules: [{{annotation: a.b, fact: {'f' * 500}}}]", "is not a name of a fact"),
    "fact look-alike": ("rules: [{annotation: a.b, fact: \u0441pu.level}]", "is not a name of a fact"),
    "compare": ("rules: [{annotation: a.b, fact: c, compare: regex}]", "compare"),
    "compare a list": ("rules: [{annotation: a.b, fact: c, compare: [equal]}]", "compare"),
    "require": ("rules: [{annotation: a.b, fact: c, require: sometimes}]", "require"),
    "does nothing": ("rules: [{annotation: a.b, fact: c, require: none}]", "requires nothing and prefers nothing"),
    "weight text": ("rules: [{annotation: a.b, fact: c, weight: x}]", "weight"),
    "weight large": ("rules: [{annotation: a.b, fact: c, weight: -1000001}]", "weight"),
    "weight NaN": ("rules: [{annotation: a.b, fact: c, weight: .nan}]", "weight"),
    "unknown key": ("rules: [{annotation: a.b, fact: c, wieght: 1}]", "did you mean 'weight'"),
    "twice": (f"rules: [{RULE}, {RULE}]", "rule 2 compares what rule 1 compares"),
    "key twice": ("rules: []\nrules: []", "rules"),
    "too many": ("rules: [" + ",".join(["{annotation: a, fact: b}"] * 10_001) + "]", ""),
    "deep": ("{" * 5000, ""),
    "anchor to itself": ("rules: &a [*a]", ""),
    "binary": (bytes(range(256)), ""),
}


def refused(kind: str, data: str | bytes, tmp_path: Path) -> str:
    """Give a document to the command line and return what it says, after it refused it with one error."""
    path = tmp_path / "bad.yaml"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    began = time.monotonic()
    outcome = run("index", "select", f"oci:{tmp_path}/none:1", f"--{kind}", path)
    assert time.monotonic() - began < 30
    assert (outcome.code, outcome.out) == (2, ""), outcome
    assert len(outcome.err) < 20_000
    assert str(path) in outcome.err
    return outcome.err


@pytest.mark.parametrize("name", BAD_PREFERENCES)
def test_bad_preferences_give_one_clear_error(name: str, tmp_path: Path) -> None:
    data, wanted = BAD_PREFERENCES[name]
    said = refused("preferences", data, tmp_path)
    assert wanted in said
    assert "internal error" not in said
    assert len([line for line in said.splitlines() if line.startswith(str(tmp_path))]) <= 10


@pytest.mark.parametrize("name", BAD_MAPPINGS)
def test_bad_mappings_give_one_clear_error(name: str, tmp_path: Path) -> None:
    data, wanted = BAD_MAPPINGS[name]
    said = refused("mapping", data, tmp_path)
    assert wanted in said
    assert "internal error" not in said


def test_a_place_is_told(tmp_path: Path) -> None:
    said = refused(
        "preferences", "prefer:\n  - {key: a.b, value: x}\n  - {key: a.b, value: x, weight: much}\n", tmp_path
    )
    assert said.startswith(f"runtimeimg: {tmp_path}/bad.yaml:3:34: prefer[1].weight: ")


@pytest.mark.parametrize("what", ["preferences", "mapping", "host"])
def test_files_that_are_none(what: str, tmp_path: Path) -> None:
    assert run("index", "select", "oci:none:1", f"--{what}", tmp_path / "none.yaml").code == 3
    assert run("index", "select", "oci:none:1", f"--{what}", tmp_path).code == 2
    assert run("index", "select", "oci:none:1", f"--{what}", "/dev/zero").code == 2
    large = tmp_path / "large.yaml"
    large.write_bytes(b"a: " + b"x" * (5 << 20))
    assert run("index", "select", "oci:none:1", f"--{what}", large).code == 2


KEYS = ["key", "value", "glob", "range", "weight", "rules", "annotation", "fact", "prefer", "require", "name", "order"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_any_document_is_read_or_refused(value: Any) -> None:
    data = json.dumps(value).encode()
    for load in (preferences.load, mappingdocument.load):
        try:
            found: object = load(data)
        except RuntimeimgError as error:
            found = error
        assert isinstance(found, (preferences.Preferences, tuple, SpecError, InvalidDocumentError))
