"""The JSON Schema of a saved graph. What it cannot say (that edges lead to nodes of the graph) `saved.load` checks."""

from __future__ import annotations

from typing import Any

from runtimeimg.configgraph.codec import MAX_ID, MAX_NUMBER
from runtimeimg.configgraph.model import ENDS, Kind, Role
from runtimeimg.configgraph.saved import API_VERSION, KIND, VERSION
from runtimeimg.spec.jsonschema import DIALECT

_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_NUMBER = {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}
_OBJECT = {"type": "object"}
_LINES = {"type": "object", "additionalProperties": {"type": "integer"}}


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the document."""
    head = {"apiVersion": {"const": API_VERSION}, "kind": {"const": KIND}, "version": {"const": VERSION}}
    nodes = {"type": "array", "items": {"oneOf": [{"$ref": f"#/$defs/{kind}"} for kind in Kind]}}
    return {
        "$schema": DIALECT,
        "title": KIND,
        "description": "A configuration graph: artefacts, layers, automatons, instances and hosts, with their edges.",
        **_closed({**head, "nodes": nodes}, required=(*head, "nodes")),
        "$defs": {str(kind): _node(kind) for kind in Kind},
    }


def _closed(properties: dict[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    found = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": list(required)} if required else found


def _node(kind: Kind) -> dict[str, Any]:
    own = {"id": {**_id(kind), "maxLength": MAX_ID}, **_FIELDS[kind]}
    return _closed({**own, "out": _links(kind, 0), "into": _links(kind, 1)}, required=("id", *_REQUIRED.get(kind, ())))


def _links(kind: Kind, end: int) -> dict[str, Any]:
    """Return the schema of `out` (`end` 0) or `into` (1)."""
    there = {str(relation): ends[1 - end] for relation, ends in ENDS.items() if ends[end] is kind}
    return _closed({key: {"type": "array", "items": _id(to)} for key, to in there.items()})


def _id(kind: Kind) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^{kind}/", "minLength": len(kind) + 2}


_ORIGIN = _closed({"file": _TEXT, "line": _NUMBER})
_VARIANT = _closed(
    {
        "manifest": _TEXT,
        "platform": _TEXT,
        "config": _TEXT,
        "layers": _TEXTS,
        "runtime": _OBJECT,
        "annotations": {"type": "object", "additionalProperties": _TEXT},
    },
    required=("manifest", "platform", "config", "layers"),
)
_RESOURCES = _closed({"cpu": _NUMBER, "memory": _NUMBER, "others": {"type": "object", "additionalProperties": _NUMBER}})
_FIELDS: dict[Kind, dict[str, Any]] = {
    Kind.ARTEFACT: {
        "reference": _TEXT,
        "digest": _TEXT,
        "index": _TEXT,
        "variants": {"type": "array", "items": _VARIANT},
        "paths": _TEXTS,
        "given": _OBJECT,
        "lines": _LINES,
        "origin": _ORIGIN,
    },
    Kind.LAYER: {"role": {"enum": [str(role) for role in Role]}, "size": _NUMBER, "mediaType": _TEXT},
    Kind.AUTOMATON: {
        "address": _TEXT,
        "replicas": _NUMBER,
        "given": _OBJECT,
        "lines": _LINES,
        "origin": _ORIGIN,
    },
    Kind.INSTANCE: {"ordinal": _NUMBER, "variant": _TEXT, "why": _TEXT},
    Kind.HOST: {"profile": _OBJECT, "resources": _RESOURCES, "origin": _ORIGIN},
}
_REQUIRED = {
    Kind.LAYER: ("role",),
    Kind.AUTOMATON: ("address", "replicas", "out"),
    Kind.INSTANCE: ("ordinal", "out"),
}
