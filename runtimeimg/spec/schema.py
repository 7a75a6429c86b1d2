"""The JSON Schema (2020-12) of the Build spec, made from the models.

Keys are those that users write, short and long forms both. `spec.runtime` is closed, everything else is open.
"""

from __future__ import annotations

from typing import Any

from runtimeimg.spec.jsonschema import DIALECT, Generator, tidy, with_short_forms
from runtimeimg.spec.models import BuildSpec
from runtimeimg.spec.parts import Directory, Expose, User

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


def build() -> dict[str, Any]:
    """Return the schema."""
    schema = BuildSpec.model_json_schema(by_alias=True, schema_generator=Generator, mode="validation")
    definitions: dict[str, Any] = schema["$defs"]
    for model in _SHORT:
        definitions[model.__name__] = with_short_forms(model.short_forms, definitions[model.__name__])
    for name, definition in (*definitions.items(), ("BuildSpec", schema)):
        tidy(definition)
        if name in _OPEN:
            definition.pop("additionalProperties", None)
    for name in ("Runtime", "Overrides"):
        pairs = (("directories", "paths"), ("cmd", "args"))
        definitions[name]["allOf"] = [{"not": {"required": list(pair)}} for pair in pairs]
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


def _allow_null(properties: dict[str, Any], key: str) -> None:
    """Let a key outside of spec.runtime be null, as Kubernetes does."""
    value = properties[key]
    notes = {note: value.pop(note) for note in ("description", "examples") if note in value}
    properties[key] = {**notes, "anyOf": [value, {"type": "null"}]}
