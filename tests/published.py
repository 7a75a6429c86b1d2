"""Validation against the published JSON Schemas of the OCI image specification."""

import json
from pathlib import Path

import jsonschema
from referencing import Registry
from referencing.jsonschema import DRAFT4


def validate(reference: Path, name: str, document: object) -> None:
    """Raise jsonschema's ValidationError unless `document` fits the schema file `name`."""
    schemas = {path.name: json.loads(path.read_text()) for path in (reference / "oci-image-spec").glob("*.json")}
    registry: Registry[object] = Registry(
        retrieve=lambda uri: DRAFT4.create_resource(schemas[uri.rpartition("/")[2]])  # type: ignore[call-arg]
    )
    jsonschema.Draft4Validator(schemas[name], registry=registry).validate(document)
