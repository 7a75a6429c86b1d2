"""JSON Schemas (2020-12) of the documents that people write, made from their models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Generator(GenerateJsonSchema):
    """Leaves out null, which no field takes, and the titles that repeat keys."""

    schema_dialect = DIALECT

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Return the schema of what is not null."""
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        """Give no titles."""
        return False


def build(model: type[BaseModel], title: str, examples: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return the schema of a document."""
    schema = model.model_json_schema(by_alias=True, schema_generator=Generator, mode="validation")
    for definition in (*schema.get("$defs", {}).values(), schema):
        tidy(definition)
    head = {"$schema": DIALECT, "title": title, "description": schema.pop("description", title)}
    return {**head, "examples": [dict(example) for example in examples], **schema} if examples else {**head, **schema}


def tidy(definition: dict[str, Any]) -> None:
    """Take titles and defaults that say nothing out of the definition of a model."""
    definition.pop("title", None)
    for form in definition.get("anyOf", [definition]):
        form.pop("title", None)
        for value in form.get("properties", {}).values():
            if value.get("default", ...) in (None, {}, [], 0, ""):
                del value["default"]


def with_short_forms(forms: Sequence[Mapping[str, Any]], definition: dict[str, Any]) -> dict[str, Any]:
    """Return a definition that also takes `forms`, the short ways to write it."""
    description = definition.pop("description")
    return {"description": description, "anyOf": [*(dict(form) for form in forms), definition]}
