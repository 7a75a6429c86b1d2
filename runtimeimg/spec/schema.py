"""The JSON Schema (2020-12) of the Build spec, made from the models.

Keys are those that users write, short and long forms both. `spec.runtime` is closed, everything else is open.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from runtimeimg.spec.models import BuildSpec, Directory, Expose, User

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_OPEN = ("BuildSpec", "Metadata", "Spec", "Image", "OutputImage")
_SHORT: tuple[type[Directory | Expose | User], ...] = (Directory, Expose, User)
_DEFAULT_SNIPPET: dict[str, Any] = {
    "apiVersion": "shipwright.io/v1alpha1",
    "kind": "Build",
    "metadata": {"name": "web"},
    "spec": {
        "builder": {"image": "registry.example.com/web-build:1"},
        "output": {"image": "registry.example.com/web:1"},
        "runtime": {
            "base": {"image": "debian:bookworm-slim"},
            "directories": ["/workspace/source/dist:/app"],
            "entrypoint": ["/app/web"],
        },
    },
}


class _Generator(GenerateJsonSchema):
    """Leaves out null, which no field takes, and the titles that repeat keys."""

    schema_dialect = DIALECT

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        return False


def build() -> dict[str, Any]:
    """Return the schema."""
    schema = BuildSpec.model_json_schema(by_alias=True, schema_generator=_Generator, mode="validation")
    definitions: dict[str, Any] = schema["$defs"]
    for model in _SHORT:
        definitions[model.__name__] = _with_short_forms(model, definitions[model.__name__])
    for name, definition in (*definitions.items(), ("BuildSpec", schema)):
        _tidy(name, definition)
    runtime = definitions["Runtime"]
    runtime["allOf"] = [{"not": {"required": list(pair)}} for pair in (("directories", "paths"), ("cmd", "args"))]
    _allow_null(schema["properties"], "metadata")
    _allow_null(definitions["Metadata"]["properties"], "name")
    for key in ("builder", "output"):
        _allow_null(definitions["Spec"]["properties"], key)
    head = {
        "$schema": DIALECT,
        "title": "Build",
        "description": schema.pop("description"),
        "examples": [_DEFAULT_SNIPPET],
    }
    return head | {key: schema[key] for key in ("type", "required", "properties", "$defs")}


def _with_short_forms(model: type[BaseModel], definition: dict[str, Any]) -> dict[str, Any]:
    """Return a definition that also takes the short forms of a model."""
    description = definition.pop("description")
    forms = [dict(form) for form in getattr(model, "short_forms")]  # noqa: B009
    return {"description": description, "anyOf": [*forms, definition]}


def _tidy(name: str, definition: dict[str, Any]) -> None:
    definition.pop("title", None)
    for form in definition.get("anyOf", [definition]):
        form.pop("title", None)
        for value in form.get("properties", {}).values():
            if value.get("default", ...) in (None, {}, [], 0, ""):
                del value["default"]
        if name in _OPEN:
            form.pop("additionalProperties", None)


def _allow_null(properties: dict[str, Any], key: str) -> None:
    """Let a key outside of spec.runtime be null, as Kubernetes does."""
    value = properties[key]
    notes = {note: value.pop(note) for note in ("description", "examples") if note in value}
    properties[key] = {**notes, "anyOf": [value, {"type": "null"}]}
