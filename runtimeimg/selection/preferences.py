"""The document of preferences: what a site requires and prefers, with what documents its annotations.

    apiVersion: runtimeimg.dev/v1
    kind: Preferences
    order: sum                                  # or lexicographic
    namespaces: [{name: com.example, documentation: https://example.com/annotations}]
    require: [{key: com.example.cuda, range: ">=12.2,<13", optional: true}]
    prefer:
      - {key: com.example.gpu, value: [model-2, model-1], weight: 10}
      - {key: com.example.mpi, glob: "open*"}

All values are texts: `12.20` and `true` need no quotes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from runtimeimg.errors import UsageError
from runtimeimg.selection.criteria import MAX_KEY, MAX_RULES, MAX_WEIGHT, Order, Preference, Requirement
from runtimeimg.selection.values import MAX_TEXT, Exact, Glob, Matcher, Present, VersionRange
from runtimeimg.spec import checks, documents, jsonschema
from runtimeimg.spec.problems import Guide

MAX_VALUES = 1000
"""Values of one rule."""
_FORMS = ("value", "glob", "range", "present")
_URL = r"^https?://[^\s<>\"'\\]{1,2000}$"
_SCALAR = {"anyOf": [{"type": "string", "maxLength": MAX_TEXT}, {"type": "number"}, {"type": "boolean"}]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What a document asks for; `documentation` is where annotations are explained, by namespace."""

    requirements: tuple[Requirement, ...] = ()
    preferences: tuple[Preference, ...] = ()
    order: Order | None = None
    namespaces: tuple[str, ...] = ()
    documentation: Mapping[str, str] = field(default_factory=dict)


def key_of(text: str) -> str:
    """Return the key of an annotation; ValueError for what can be none."""
    if not text or len(text) > MAX_KEY or any(item.isspace() or not item.isprintable() for item in text):
        raise ValueError(f"{checks.shown(text)} is not a key of an annotation; write one such as 'com.example.gpu'")
    return text


def _text(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ValueError(f"has {len(text)} characters; a value has {MAX_TEXT} at the most")
    return text


def _matching(parse: type[Glob | VersionRange]) -> AfterValidator:
    def check(text: str) -> str:
        try:
            parse.parse(text)
        except UsageError as error:
            raise ValueError(error.message + (f"; {error.hint}" if error.hint else "")) from None
        return text

    return AfterValidator(check)


def _url(text: str) -> str:
    if not re.match(_URL, text) or not text.isprintable():
        raise ValueError(f"{checks.shown(text)} is not a link; write one such as 'https://example.com/annotations'")
    return text


Text = Annotated[str, AfterValidator(_text), WithJsonSchema(_SCALAR)]
Texts = Annotated[
    tuple[Text, ...],
    Field(min_length=1, max_length=MAX_VALUES),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    WithJsonSchema({"anyOf": [*_SCALAR["anyOf"], {"type": "array", "items": _SCALAR, "minItems": 1}]}),
]
Key = Annotated[str, AfterValidator(key_of), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_KEY})]
Weight = Annotated[int, Field(ge=-MAX_WEIGHT, le=MAX_WEIGHT)]


class Closed(BaseModel):
    """A part of a document that has no keys but those named."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Rule(Closed):
    """An annotation and what its value must be: one of `value`, `glob`, `range` and `present`."""

    key: Key = Field(description="Key of the annotation.", examples=["com.example.gpu"])
    value: Texts | None = Field(default=None, description="A value, or several of which the first is liked best.")
    glob: Annotated[Text, _matching(Glob)] | None = Field(default=None, description="A pattern with `*`, `?`, `[ab]`.")
    range: Annotated[Text, _matching(VersionRange)] | None = Field(
        default=None, description="A range of versions.", examples=[">=12.2,<13"]
    )
    present: Annotated[Literal["true"], WithJsonSchema({"enum": [True, "true"]})] | None = Field(
        default=None, description="Any value."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in _FORMS if getattr(self, name) is not None]
        if len(given) != 1:
            what = f"has {' and '.join(given)}" if given else "says nothing of the value"
            raise ValueError(f"{what}; write one of value, glob, range and 'present: true'")
        return self

    def matchers(self) -> tuple[Matcher, ...]:
        """Return a matcher for each value, best first."""
        if self.value is not None:
            return tuple(Exact((text,)) for text in self.value)
        if self.glob is not None:
            return (Glob.parse(self.glob),)
        return (VersionRange.parse(self.range),) if self.range is not None else (Present(),)


class Require(Rule):
    """What must hold."""

    optional: bool = Field(default=False, description="Whether entries without the annotation do as well.")

    def requirement(self) -> Requirement:
        """Return it as a value."""
        one = Exact(self.value) if self.value is not None else self.matchers()[0]
        return Requirement(key=self.key, matcher=one, optional=self.optional)


class Prefer(Rule):
    """What is liked, and how much."""

    weight: Weight = Field(default=1, description="What it adds to the sum; below zero for what is to be avoided.")

    def preferences(self) -> list[Preference]:
        """Return a preference for each value."""
        return [Preference(key=self.key, matcher=item, weight=self.weight) for item in self.matchers()]


class Namespace(Closed):
    """The first part of keys, as a reverse domain name."""

    name: Key = Field(description="What its keys begin with.", examples=["com.example"])
    documentation: Annotated[str, AfterValidator(_url)] = Field(default="", description="Where its keys are explained.")


class PreferencesModel(Closed):
    """What a site requires and prefers of the annotations of an index's entries."""

    api_version: Literal["runtimeimg.dev/v1"] = Field(default="runtimeimg.dev/v1", alias="apiVersion")
    kind: Literal["Preferences"] = Field(default="Preferences")
    order: Order | None = Field(default=None, description="How preferences rank entries: `sum` of weights by default.")
    namespaces: tuple[Namespace, ...] = Field(
        default=(), max_length=MAX_RULES, description="Namespaces, the most important first."
    )
    require: tuple[Require, ...] = Field(default=(), max_length=MAX_RULES, description="What must hold.")
    prefer: tuple[Prefer, ...] = Field(default=(), max_length=MAX_RULES, description="What is liked, best first.")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [item.name for item in self.namespaces]
        twice = checks.first_repeated(names)
        if twice is not None:
            raise ValueError(f"namespaces names {checks.shown(names[twice[1]])} twice")
        return self

    def preferences(self) -> Preferences:
        """Return what the document asks for."""
        return Preferences(
            requirements=tuple(item.requirement() for item in self.require),
            preferences=tuple(one for item in self.prefer for one in item.preferences()),
            order=self.order,
            namespaces=tuple(item.name for item in self.namespaces),
            documentation={item.name: item.documentation for item in self.namespaces if item.documentation},
        )


GUIDE = Guide(
    model=PreferencesModel,
    examples={
        "apiVersion": "runtimeimg.dev/v1",
        "kind": "Preferences",
        "key": "com.example.gpu",
        "name": "com.example",
        "prefer": "{key: com.example.gpu, value: model-1, weight: 10}",
        "require": "{key: com.example.gpu, value: model-1}",
    },
    meant={
        "annotation": "key",
        "pattern": "glob",
        "version": "range",
        "values": "value",
        "requirements": "require",
        "preferences": "prefer",
        "docs": "documentation",
    },
    as_written=True,
)


def load(data: bytes, file: str = "<stdin>") -> Preferences:
    """Return the preferences in `data`; `file` is the name for messages. Raises SpecError with all that is wrong."""
    return documents.load(data, PreferencesModel, "a list of preferences", file, GUIDE).value.preferences()


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the document."""
    example = {
        "apiVersion": "runtimeimg.dev/v1",
        "kind": "Preferences",
        "namespaces": [{"name": "com.example", "documentation": "https://example.com/annotations"}],
        "require": [{"key": "com.example.cuda", "range": ">=12.2,<13", "optional": True}],
        "prefer": [{"key": "com.example.gpu", "value": "example-gpu-model", "weight": 10}],
    }
    return jsonschema.build(PreferencesModel, "Preferences", [example])
