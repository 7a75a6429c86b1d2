"""Nodes as the JSON objects of a saved graph, and back.

    {"id": "automaton/shop", "address": "sha256:...", "given": {...}, "out": {"runs": ["artefact/shop"]}, "into": {...}}

`out` holds the ids that edges lead to from here, by relation; `into` those of the nodes whose edges lead here. What a
node says by its edges alone (the artefact of an automaton, the host of an instance) stands nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from runtimeimg.configgraph import shapes
from runtimeimg.configgraph.model import (
    ENDS,
    Artefact,
    Automaton,
    HostNode,
    Instance,
    Kind,
    Layer,
    Node,
    Origin,
    Relation,
    Resources,
    Role,
    Variant,
    kind_of,
    name_of,
)
from runtimeimg.errors import InvalidDocumentError

Links = Mapping[Relation, tuple[str, ...]]
"""Ids of nodes by the relation of the edges to or from them."""

MAX_NUMBER = 1 << 62
"""Largest number of a graph: bytes, thousandths of processors, replicas."""


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is nothing that JSON has")


_dump = json.JSONEncoder(separators=(",", ":"), sort_keys=True, default=_plain).encode


def encode(node: Node, into: Mapping[Relation, list[str]]) -> str:
    """Return a node as the text of a JSON object, its id first, the rest in the order of the keys."""
    data = _ENCODERS[type(node)](node)
    data["out"] = out(node)
    data["into"] = into
    kept = {key: value for key, value in data.items() if value not in _EMPTY}
    rest = _dump(kept)
    return f'{{"id":{_dump(node.id)}' + (f",{rest[1:]}" if kept else "}")


def to_json(node: Node, into: Links) -> dict[str, Any]:
    """Return a node as the JSON object that `encode` gives the text of."""
    found: dict[str, Any] = json.loads(encode(node, {key: list(ids) for key, ids in into.items()}))
    return found


_EMPTY: tuple[Any, ...] = (None, "", {}, [], ())


def out(node: Node) -> dict[Relation, list[str]]:
    """Return the ids that the edges of a node lead to, by relation, in their order."""
    found: dict[Relation, list[str]] = {}
    for edge in node.edges():
        found.setdefault(edge.relation, []).append(edge.target)
    return found


def _artefact(node: Artefact) -> dict[str, Any]:
    return {
        "reference": node.reference,
        "digest": node.digest,
        "index": node.index,
        "variants": [_variant(item) for item in node.variants],
        "paths": node.paths,
        "given": node.given,
        "lines": node.lines,
        "origin": _origin(node.origin),
    }


def _variant(item: Variant) -> dict[str, Any]:
    return {
        "manifest": item.manifest,
        "platform": item.platform,
        "config": item.config,
        "layers": item.layers,
        **({"runtime": item.runtime} if item.runtime else {}),
        **({"annotations": item.annotations} if item.annotations else {}),
    }


def _origin(origin: Origin) -> dict[str, Any]:
    return {"file": origin.file, "line": origin.line} if origin.file else {}


def _layer(node: Layer) -> dict[str, Any]:
    return {"role": str(node.role), "size": node.size, "mediaType": node.media_type}


def _automaton(node: Automaton) -> dict[str, Any]:
    return {
        "address": node.address,
        "replicas": node.replicas,
        "given": node.given,
        "lines": node.lines,
        "origin": _origin(node.origin),
    }


def _instance(node: Instance) -> dict[str, Any]:
    return {"ordinal": node.ordinal, "variant": node.variant, "why": node.why}


def _host(node: HostNode) -> dict[str, Any]:
    found = node.resources
    resources = {"cpu": found.cpu, "memory": found.memory, "others": dict(found.others)}
    return {
        "profile": node.profile,
        "resources": {key: value for key, value in resources.items() if value not in _EMPTY},
        "origin": _origin(node.origin),
    }


_ENCODERS: Mapping[type[Node], Callable[[Any], dict[str, Any]]] = {
    Artefact: _artefact,
    Layer: _layer,
    Automaton: _automaton,
    Instance: _instance,
    HostNode: _host,
}


# Reading. `where` names the place for messages.


def decode(data: object, where: str) -> tuple[Node, Links]:
    """Return a node and what leads into it; InvalidDocumentError for what is none."""
    if not isinstance(data, dict):
        raise InvalidDocumentError(f"{where}: a node is an object")
    node_id = checked_id(data.get("id"), where)
    where = f"{where}: {node_id[:200]!r}"
    kind = kind_of(node_id)
    unknown = data.keys() - _KEYS[kind]
    if unknown:
        raise InvalidDocumentError(f"{where} has {min(unknown)[:80]!r}, which no {kind} has")
    found = links(data.get("out"), kind, where, end=0)
    node = _DECODERS[kind](_Fields(data, where), node_id, found)
    if kind is Kind.ARTEFACT and out(node) != {relation: list(ids) for relation, ids in found.items()}:
        raise InvalidDocumentError(f"{where}: 'out' and what the node says differ")
    return node, links(data.get("into"), kind, where, end=1)


def checked_id(value: object, where: str) -> str:
    """Return the id of a node; InvalidDocumentError for what is none."""
    if not isinstance(value, str) or len(value) > MAX_ID:
        raise InvalidDocumentError(f"{where}: a node has an 'id', a text of {MAX_ID} characters at the most")
    kind, slash, name = value.partition("/")
    if kind not in _KINDS or not slash or not name:
        raise InvalidDocumentError(f"{where}: {value[:200]!r} is no id of a node; write one such as 'automaton/shop'")
    return value


MAX_ID = 8192
"""Characters of an id: a reference or a path with the name of its kind."""
_KINDS = frozenset(map(str, Kind))


def links(data: object, kind: Kind, where: str, *, end: int) -> dict[Relation, tuple[str, ...]]:
    """Return `out` (`end` 0) or `into` (1) of a node of a kind: each relation once, from and to what it may be."""
    name = ("out", "into")[end]
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InvalidDocumentError(f"{where}: '{name}' is a map of lists of ids by relation")
    found: dict[Relation, tuple[str, ...]] = {}
    for key, ids in data.items():
        if key not in _RELATIONS or ENDS[Relation(key)][end] is not kind:
            raise InvalidDocumentError(f"{where}: '{name}' has {key[:80]!r}, which no edge of this node is")
        start = f"{ENDS[Relation(key)][1 - end]}/"
        if not isinstance(ids, list) or not all(isinstance(item, str) and item.startswith(start) for item in ids):
            raise InvalidDocumentError(f"{where}: '{name}': '{key}' is a list of ids that begin with '{start}'")
        if ids:
            found[Relation(key)] = tuple(ids)
    return found


_RELATIONS = frozenset(map(str, Relation))


class _Fields:
    """The fields of an object, each of the type that is asked for."""

    __slots__ = ("data", "where")

    def __init__(self, data: object, where: str) -> None:
        if not isinstance(data, dict):
            raise InvalidDocumentError(f"{where} is not an object")
        self.data: dict[str, Any] = data
        self.where = where

    def text(self, key: str) -> str:
        value = self.data.get(key, "")
        if not isinstance(value, str):
            raise self.wrong(key, "a text")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.data.get(key, ())
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise self.wrong(key, "a list of texts")
        return tuple(value)

    def number(self, key: str) -> int | None:
        value = self.data.get(key)
        if value is not None and (type(value) is not int or not 0 <= value <= MAX_NUMBER):
            raise self.wrong(key, "a whole number from 0")
        return value

    def object(self, key: str) -> dict[str, Any]:
        value = self.data.get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, "an object")
        return value

    def map_of(self, key: str, kind: type) -> dict[str, Any]:
        value = self.object(key)
        if not all(type(item) is kind for item in value.values()):
            raise self.wrong(key, f"a map of {'texts' if kind is str else 'whole numbers'}")
        return value

    def shaped(self, key: str, shape: shapes.Shape) -> dict[str, Any]:
        value = self.object(key)
        if said := shapes.wrong(value, shape):
            raise InvalidDocumentError(f"{self.where}: '{key}': {said[:200]}")
        return value

    def objects(self, key: str) -> list[_Fields]:
        value = self.data.get(key, [])
        if not isinstance(value, list):
            raise self.wrong(key, "a list of objects")
        return [_Fields(item, f"{self.where}: {key}[{number}]") for number, item in enumerate(value)]

    def origin(self) -> Origin:
        found = self.data.get("origin")
        if found is None:
            return Origin()
        fields = _Fields(found, f"{self.where}: 'origin'")
        return Origin(fields.text("file"), fields.number("line") or 0)

    def wrong(self, key: str, wanted: str) -> InvalidDocumentError:
        return InvalidDocumentError(f"{self.where}: '{key}' is not {wanted}")


def _one(found: Links, relation: Relation, fields: _Fields, *, needed: bool = True) -> str:
    ids = found.get(relation, ())
    if len(ids) > 1 or (needed and not ids):
        raise InvalidDocumentError(f"{fields.where}: 'out' has {len(ids)} of '{relation}' and should have one")
    return ids[0] if ids else ""


def _artefact_of(fields: _Fields, node_id: str, found: Links) -> Artefact:
    return Artefact(
        id=node_id,
        reference=fields.text("reference"),
        digest=fields.text("digest"),
        origin=fields.origin(),
        index=fields.text("index"),
        variants=tuple(_variant_of(item) for item in fields.objects("variants")),
        paths=fields.texts("paths"),
        base=_one(found, Relation.BUILT_ON, fields, needed=False),
        builders=found.get(Relation.BUILT_FROM, ()),
        given=fields.object("given"),
        lines=fields.map_of("lines", int),
    )


def _variant_of(fields: _Fields) -> Variant:
    return Variant(
        manifest=fields.text("manifest"),
        platform=fields.text("platform"),
        config=fields.text("config"),
        layers=fields.texts("layers"),
        runtime=fields.object("runtime"),
        annotations=fields.map_of("annotations", str),
    )


def _layer_of(fields: _Fields, node_id: str, found: Links) -> Layer:
    role = fields.text("role")
    if role not in _ROLES:
        raise fields.wrong("role", f"one of {', '.join(Role)}")
    return Layer(
        id=node_id,
        role=Role(role),
        size=fields.number("size"),
        media_type=fields.text("mediaType"),
        references=found.get(Relation.REFERS_TO, ()),
    )


_ROLES = frozenset(map(str, Role))


def _automaton_of(fields: _Fields, node_id: str, found: Links) -> Automaton:
    return Automaton(
        id=node_id,
        artefact=_one(found, Relation.RUNS, fields),
        address=fields.text("address"),
        replicas=fields.number("replicas") or 0,
        given=fields.shaped("given", shapes.AUTOMATON),
        lines=fields.map_of("lines", int),
        origin=fields.origin(),
    )


def _instance_of(fields: _Fields, node_id: str, found: Links) -> Instance:
    automaton = _one(found, Relation.INSTANCE_OF, fields)
    ordinal = fields.number("ordinal") or 0
    if node_id != instance_id(automaton, ordinal):
        raise InvalidDocumentError(f"{fields.where}: the id does not end with its automaton's name and its ordinal")
    return Instance(
        id=node_id,
        automaton=automaton,
        ordinal=ordinal,
        host=_one(found, Relation.PLACED_ON, fields, needed=False),
        variant=fields.text("variant"),
        why=fields.text("why"),
    )


def instance_id(automaton: str, ordinal: int) -> str:
    """Return the id of an automaton's instance."""
    return f"{Kind.INSTANCE}/{name_of(automaton)}/{ordinal}"


def _host_of(fields: _Fields, node_id: str, found: Links) -> HostNode:
    given = _Fields(fields.object("resources"), f"{fields.where}: 'resources'")
    others = given.map_of("others", int)
    return HostNode(
        id=node_id,
        profile=fields.shaped("profile", shapes.HOST),
        resources=Resources(cpu=given.number("cpu"), memory=given.number("memory"), others=others),
        blobs=tuple(name_of(target) for target in found.get(Relation.HAS, ())),
        origin=fields.origin(),
    )


_DECODERS: Mapping[Kind, Callable[[_Fields, str, Links], Node]] = {
    Kind.ARTEFACT: _artefact_of,
    Kind.LAYER: _layer_of,
    Kind.AUTOMATON: _automaton_of,
    Kind.INSTANCE: _instance_of,
    Kind.HOST: _host_of,
}
_COMMON = frozenset({"id", "out", "into"})
_KEYS: Mapping[Kind, frozenset[str]] = {
    Kind.ARTEFACT: _COMMON | {"reference", "digest", "index", "variants", "paths", "given", "lines", "origin"},
    Kind.LAYER: _COMMON | {"role", "size", "mediaType"},
    Kind.AUTOMATON: _COMMON | {"address", "replicas", "given", "lines", "origin"},
    Kind.INSTANCE: _COMMON | {"ordinal", "variant", "why"},
    Kind.HOST: _COMMON | {"profile", "resources", "origin"},
}
