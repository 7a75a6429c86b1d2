"""Custom resources checked the way an API server does with strict field validation: by their CRD, nothing unknown."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
FILES = {
    "Build": "shipwright.io_builds.yaml",
    "BuildStrategy": "shipwright.io_buildstrategies.yaml",
    "ClusterBuildStrategy": "shipwright.io_clusterbuildstrategies.yaml",
    "BuildRun": "shipwright.io_buildruns.yaml",
    "Task": "tekton.dev_task.yaml",
    "TaskRun": "tekton.dev_taskrun.yaml",
    "StepAction": "tekton.dev_stepaction.yaml",
}
_ENVELOPE = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}


def problems(document: dict[str, Any], folder: Path) -> list[str]:
    """Return what the CRD of a document has against it; build.dev is read as shipwright.io, which it became."""
    group, _, version = document["apiVersion"].partition("/")
    validator = _validator(folder / FILES[document["kind"]], version)
    assert group in {"shipwright.io", "build.dev", "tekton.dev"}
    return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(document)]


@cache
def _validator(path: Path, version: str) -> jsonschema.Draft202012Validator:
    crd = yaml.load(path.read_bytes(), Loader=LOADER)
    versions = {item["name"]: item for item in crd["spec"]["versions"]}
    schema = _strict(versions[version]["schema"]["openAPIV3Schema"])
    schema["properties"] = {**schema["properties"], **_ENVELOPE}
    return jsonschema.Draft202012Validator(schema)


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a structural schema as JSON Schema that refuses what an API server would prune."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    result = {key: value for key, value in schema.items() if not key.startswith("x-")}
    for key in ("format", "description", "default"):
        result.pop(key, None)
    if "properties" in schema:
        result["properties"] = {key: _strict(value) for key, value in schema["properties"].items()}
    if isinstance(schema.get("items"), dict):
        result["items"] = _strict(schema["items"])
    values = schema.get("additionalProperties")
    if isinstance(values, dict):
        result["additionalProperties"] = _strict(values)
    elif schema.get("type") == "object" and values is None:
        open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "properties" not in schema
        result["additionalProperties"] = bool(open_ended)
    if schema.get("nullable") and "type" in result:
        result["type"] = [result["type"], "null"]
    return result
