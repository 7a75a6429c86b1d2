"""The document of a mapping: which facts of hosts decide about which annotations.

apiVersion: runtimeimg.dev/v1
kind: HostMapping
rules:
  - {annotation: com.example.gpu, fact: gpu.model, compare: pattern, weight: 10}
  - {annotation: com.example.fabric, fact: site.fabric, require: none, weight: 5}
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from runtimeimg.selection.criteria import MAX_RULES
from runtimeimg.selection.hostdocument import FactName
from runtimeimg.selection.mapping import DEFAULT, Compare, Demand, Rule
from runtimeimg.selection.preferences import Closed, Key, Weight
from runtimeimg.spec import checks, documents, jsonschema
from runtimeimg.spec.problems import Guide


class RuleModel(Closed):
    """What a fact of a host decides about an annotation."""

    annotation: Key = Field(description="Key of the annotation.", examples=["com.example.gpu"])
    fact: FactName = Field(description="Name of the fact.", examples=["gpu.model"])
    compare: Compare = Field(default=Compare.EQUAL, description="How the annotation's value and the fact compare.")
    require: Demand = Field(
        default=Demand.ANNOTATED,
        description="Which entries must compare: those that are `annotated`, `all`, or `none`.",
    )
    weight: Weight = Field(default=0, description="What an entry that compares is preferred by.")

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.require is Demand.NONE and not self.weight:
            raise ValueError("requires nothing and prefers nothing; write a weight, or 'require: annotated'")
        return self

    def rule(self) -> Rule:
        """Return it as a value."""
        return Rule(
            annotation=self.annotation,
            fact=self.fact,
            compare=self.compare,
            require=self.require,
            weight=self.weight,
        )


def _each_once(rules: tuple[RuleModel, ...]) -> tuple[RuleModel, ...]:
    twice = checks.first_repeated((item.annotation, item.fact, item.compare) for item in rules)
    if twice is not None:
        raise ValueError(f"rule {twice[0] + 1} compares what rule {twice[1] + 1} compares; write one of them")
    return rules


class MappingModel(Closed):
    """What facts of hosts mean for the choice among the entries of an index."""

    api_version: Literal["runtimeimg.dev/v1"] = Field(default="runtimeimg.dev/v1", alias="apiVersion")
    kind: Literal["HostMapping"] = Field(default="HostMapping")
    rules: Annotated[tuple[RuleModel, ...], Field(max_length=MAX_RULES), AfterValidator(_each_once)] = Field(
        description="The rules, the most important first."
    )


GUIDE = Guide(
    model=MappingModel,
    examples={
        "apiVersion": "runtimeimg.dev/v1",
        "kind": "HostMapping",
        "rules": "{annotation: com.example.gpu, fact: gpu.model}",
        "annotation": "com.example.gpu",
        "fact": "gpu.model",
    },
    meant={"key": "annotation", "match": "compare", "required": "require", "mapping": "rules"},
    as_written=True,
)


def load(data: bytes, file: str = "<stdin>") -> tuple[Rule, ...]:
    """Return the rules in `data`; `file` is the name for messages. Raises SpecError with all that is wrong."""
    found = documents.load(data, MappingModel, "a mapping of hosts", file, GUIDE).value
    return tuple(item.rule() for item in found.rules)


def document(rules: tuple[Rule, ...] = DEFAULT) -> dict[str, Any]:
    """Return rules as their document has them."""
    written = [
        {
            "annotation": rule.annotation,
            "fact": rule.fact,
            "compare": str(rule.compare),
            "require": str(rule.require),
            "weight": rule.weight,
        }
        for rule in rules
    ]
    return {"apiVersion": "runtimeimg.dev/v1", "kind": "HostMapping", "rules": written}


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the document."""
    return jsonschema.build(MappingModel, "HostMapping", [document()])
