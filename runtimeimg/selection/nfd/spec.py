"""The compatibility document of Node Feature Discovery: what an image needs of a host.

Sources: NFD docs/usage/image-compatibility.md (v1alpha1), the NodeFeatureGroup API for the rules. NFD itself reads past
keys that it does not know and finds wrong operators when a node is looked at; here all is said when it is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from runtimeimg.errors import UsageError
from runtimeimg.selection.nfd import patterns
from runtimeimg.selection.nfd.versions import key
from runtimeimg.spec import checks, documents, jsonschema
from runtimeimg.spec.documents import Loaded
from runtimeimg.spec.fields import at
from runtimeimg.spec.problems import Guide

VERSION = "v1alpha1"
ARTIFACT_TYPE = "application/vnd.nfd.image-compatibility.v1alpha1"
SPEC_TYPE = "application/vnd.nfd.image-compatibility.spec.v1alpha1+yaml"
MAX_SETS, MAX_RULES, MAX_TERMS = 64, 256, 2000
"""Sets of a document, rules of a set, and terms of a document."""

Op = Literal[
    "In", "NotIn", "InRegexp", "Exists", "DoesNotExist", "Gt", "Ge", "Lt", "Le", "GtLt", "GeLe", "IsTrue", "IsFalse"
]
OPS: tuple[str, ...] = get_args(Op)
ORDERS, BETWEEN = frozenset({"Gt", "Ge", "Lt", "Le"}), frozenset({"GtLt", "GeLe"})
VALUELESS = frozenset({"Exists", "DoesNotExist", "IsTrue", "IsFalse"})


def _text(text: str) -> str:
    if len(text) > 4096:
        raise ValueError(f"has {len(text)} characters; 4096 are allowed")
    return checks.no_control(text, "a value", checks.CONTROL_BUT_TAB)


def _feature(text: str) -> str:
    domain, dot, name = _text(text).partition(".")
    if not (domain and dot and name):
        raise ValueError(f"{checks.shown(text)} is not a feature; write a domain and a name, as 'cpu.cpuid'")
    return text


def _weight(number: int) -> int:
    if not 0 <= number <= 100:
        raise ValueError(f"'{number}' is not a weight; weights of node affinity are 1 to 100")
    return number


Text = Annotated[str, AfterValidator(_text), WithJsonSchema({"type": "string", "maxLength": 4096})]
Feature = Annotated[str, AfterValidator(_feature), WithJsonSchema({"type": "string", "pattern": r"^[^.]+\..+"})]
_WEIGHTS = WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 100})
Weight = Annotated[int, Field(strict=True), AfterValidator(_weight), _WEIGHTS]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Expression(_Closed):
    """An operator and the values that it compares with."""

    op: Op = Field(description="The operator.", examples=["In"])
    value: tuple[Text, ...] = Field(default=(), description="What is compared with, texts.", examples=[["Intel"]])
    type: Literal["", "version"] = Field(default="", description="`version` compares as versions, not as numbers.")

    @model_validator(mode="after")
    def _fits(self) -> Expression:
        count = len(self.value)
        wanted = 0 if self.op in VALUELESS else 1 if self.op in ORDERS else 2 if self.op in BETWEEN else None
        if wanted is not None and count != wanted:
            what = {0: "no value", 1: "one value", 2: "two values"}[wanted]
            raise at(("value",), f"has {count} values; operator {self.op} takes {what}")
        if wanted is None and not count:
            raise at(("value",), f"has no value; operator {self.op} takes at least one")
        if self.type and not (self.op in ORDERS or self.op in BETWEEN):
            raise at(("type",), f"is 'version', which operator {self.op} has no use for; remove it")
        if self.op in ORDERS or self.op in BETWEEN:
            self._ordered()
        if self.op == "InRegexp":
            self._patterns()
        return self

    def _ordered(self) -> None:
        keys = [key(text, as_version=self.type == "version") for text in self.value]
        for place, (found, text) in enumerate(zip(keys, self.value, strict=True)):
            if found is None:
                what = "a version of one to three numbers" if self.type else "a whole number; or add 'type: version'"
                raise at(("value", place), f"is {checks.shown(text)}; operator {self.op} takes {what}")
        known = [found for found in keys if found is not None]
        if known != sorted(set(known)):
            raise at(("value",), "has its larger end first")

    def _patterns(self) -> None:
        for place, text in enumerate(self.value):
            try:
                patterns.parse(text)
            except patterns.PatternError as error:
                raise at(("value", place), f"{checks.shown(text)} {error}") from None


class Term(_Closed):
    """What one feature of a host must be."""

    feature: Feature = Field(description="The feature, as NFD names it.", examples=["cpu.cpuid"])
    match_expressions: Mapping[Text, Expression] | None = Field(
        default=None, alias="matchExpressions", description="Expressions by the element that each is about."
    )
    match_name: Expression | None = Field(
        default=None, alias="matchName", description="An expression about the names of elements, one of which fits."
    )


class Either(_Closed):
    """One of several ways to match."""

    match_features: tuple[Term, ...] = Field(alias="matchFeatures", description="Terms, all of which must match.")


class Rule(_Closed):
    """A rule: all of `matchFeatures` and one of `matchAny` must match."""

    name: Text = Field(description="Name of the rule.", examples=["kernel and cpu"])
    vars: Mapping[Text, Text] = Field(default={}, description="Attributes of `rule.matched` for the rules after it.")
    vars_template: Text = Field(
        default="", alias="varsTemplate", description="Template for more; is not expanded here."
    )
    match_features: tuple[Term, ...] = Field(
        default=(), alias="matchFeatures", description="Terms, all of which must match."
    )
    match_any: tuple[Either, ...] = Field(default=(), alias="matchAny", description="Ways, one of which must match.")

    @property
    def terms(self) -> int:
        """How many terms there are in it."""
        return len(self.match_features) + sum(len(each.match_features) for each in self.match_any)


class Compatibility(_Closed):
    """A set of rules, all of which must match; an image runs where one of its sets does."""

    rules: tuple[Rule, ...] = Field(description="Rules, all of which must match.")
    weight: Weight = Field(default=0, description="Weight of the set, as of a node affinity.", examples=[10])
    tag: Text = Field(default="", description="Groups sets, or tells them apart.", examples=["preferred"])
    description: Text = Field(default="", description="What the set is for.")


class Spec(_Closed):
    """What an image needs of a host."""

    version: Literal["v1alpha1"] = Field(description="Version of the document.")
    compatibilities: tuple[Compatibility, ...] = Field(description="Sets of rules, one of which must match.")

    @model_validator(mode="after")
    def _bounded(self) -> Spec:
        if len(self.compatibilities) > MAX_SETS:
            raise at(("compatibilities",), f"has {len(self.compatibilities)} sets; {MAX_SETS} are allowed")
        for place, found in enumerate(self.compatibilities):
            if len(found.rules) > MAX_RULES:
                path = ("compatibilities", place, "rules")
                raise at(path, f"has {len(found.rules)} rules; {MAX_RULES} are allowed")
        terms = sum(rule.terms for found in self.compatibilities for rule in found.rules)
        if terms > MAX_TERMS:
            raise at(("compatibilities",), f"has {terms} terms; {MAX_TERMS} are allowed")
        return self


GUIDE = Guide(
    model=Spec,
    examples={
        "version": VERSION,
        "compatibilities": "[{rules: [...]}]",
        "feature": "cpu.cpuid",
        "op": "Exists",
        "name": "cpu",
        "rules": "[{name: cpu, matchFeatures: [...]}]",
        "matchExpressions": "{AVX2: {op: Exists}}",
        "matchName": "{op: InRegexp, value: ['^AVX']}",
        "weight": "10",
    },
    meant={"operator": "op", "values": "value", "apiversion": "version", "matchexpression": "matchExpressions"},
)


def load(data: bytes, file: str = "<stdin>") -> Spec:
    """Return the document in `data`; raises SpecError with all that is wrong with it."""
    return loaded(data, file).value


def loaded(data: bytes, file: str = "<stdin>") -> Loaded[Spec]:
    """Return the document in `data` with the positions of its parts; errors as those of `load`."""
    return documents.load(data, Spec, "a compatibility document", file, GUIDE)


def dump(spec: Spec) -> bytes:
    """Return the YAML of a document; the same document gives the same bytes."""
    import yaml

    plain = spec.model_dump(by_alias=True, exclude_defaults=True, mode="json")
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120).encode()


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the document."""
    return jsonschema.build(Spec, "Image compatibility")


def both(own: Spec, base: Spec) -> Spec:
    """Return what holds where both do: each set of one with each of the other.

    Weights and tags are those of `own`, to whose image the result belongs; the base's rules come first. Raises
    UsageError where that is more than a document may have.
    """
    sets = []
    for mine in own.compatibilities:
        for theirs in base.compatibilities:
            rules = theirs.rules + tuple(rule for rule in mine.rules if rule not in theirs.rules)
            description = "; ".join(filter(None, (mine.description, theirs.description)))[:4096]
            sets.append(mine.model_copy(update={"rules": rules, "description": description}))
    terms = sum(rule.terms for found in sets for rule in found.rules)
    if len(sets) > MAX_SETS or terms > MAX_TERMS:
        raise UsageError(
            f"with the base's there are {len(sets)} sets and {terms} terms; {MAX_SETS} and {MAX_TERMS} are allowed",
            hint="attach it without what the base needs: --no-inherit",
        )
    return own.model_copy(update={"compatibilities": tuple(sets)})
