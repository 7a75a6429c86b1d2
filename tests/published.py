"""Validation against the published JSON Schemas of the OCI specifications."""

import json
from functools import cache
from pathlib import Path

import jsonschema
from referencing import Registry
from referencing.jsonschema import DRAFT4


def validate(reference: Path, name: str, document: object, specification: str = "oci-image-spec") -> None:
    """Raise jsonschema's ValidationError unless `document` fits the schema file `name`."""
    validator(reference / specification, name).validate(document)


@cache
def validator(folder: Path, name: str) -> jsonschema.Draft4Validator:
    """Return what validates against a schema file of a folder, which may refer to others there."""
    schemas = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    registry: Registry[object] = Registry(
        retrieve=lambda uri: DRAFT4.create_resource(schemas[uri.rpartition("/")[2]])  # type: ignore[call-arg]
    )
    return jsonschema.Draft4Validator(schemas[name], registry=registry)
