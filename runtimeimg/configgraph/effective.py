"""The effective value of every parameter of an automaton, and where each comes from.

    rows = effective(automaton, artefact, variant)
    rows[n].parameter.path, rows[n].value, rows[n].source

Values are those of config.json where the parameter lands there. What only the image's files tell (numbers of a user's
name, HOME) is not in a value but in `pending`, and found when the bundle is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from runtimeimg.bundle import defaults
from runtimeimg.configgraph import combining, grounds
from runtimeimg.configgraph.combining import Values
from runtimeimg.configgraph.grounds import Ground
from runtimeimg.configgraph.model import NO_ORIGIN, Artefact, Automaton, Instance, Origin, Variant, name_of
from runtimeimg.configgraph.parameter import Category, Parameter
from runtimeimg.configgraph.parameters import OF_ARTEFACT, OF_AUTOMATON
from runtimeimg.configgraph.reading import path_of


class Where(StrEnum):
    """What a value comes from."""

    DOCUMENT = "document"
    IMAGE = "image"
    DEFAULT = "default"
    PLACEMENT = "placement"
    NOBODY = "nobody"
    """A required value that nobody gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """`field` is that of the image config; `origin` the document's file and line."""

    where: Where
    field: str = ""
    origin: Origin = NO_ORIGIN

    def __str__(self) -> str:
        if self.where is Where.DOCUMENT:
            return str(self.origin)
        return f"{self.where}: {self.field}" if self.field else str(self.where)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of what is merged: a variable, a mount by its destination, a limit by its type, a port."""

    key: str
    value: Any
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """A parameter's value; `parts` say where each item of a merged value comes from.

    `pending` says by path what is found only when the bundle is made.
    """

    parameter: Parameter
    value: Any
    source: Source
    parts: tuple[Part, ...] = ()
    pending: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the row as `graph params --format json` has it."""
        found: dict[str, Any] = {
            "path": self.parameter.path,
            "kind": self.parameter.kind,
            "category": str(self.parameter.category),
            "stage": str(self.parameter.stage),
            "combine": str(self.parameter.combine),
            "value": self.value,
            "source": _source(self.source),
        }
        if self.parts:
            found["parts"] = [
                {"key": item.key, "value": item.value, "source": _source(item.source)} for item in self.parts
            ]
        return found | ({"pending": dict(self.pending)} if self.pending else {})


def _source(source: Source) -> dict[str, Any]:
    found: dict[str, Any] = {"where": str(source.where)}
    if source.field:
        found["field"] = source.field
    if source.origin.file:
        found |= {"file": source.origin.file, "line": source.origin.line}
    return found


def effective(
    automaton: Automaton, artefact: Artefact, variant: Variant | None, instance: Instance | None = None
) -> tuple[Effective, ...]:
    """Return a row for each parameter, in the order of `parameters`; `instance` tells the node, if one is placed.

    Raises UsageError for a variant of which no bundle is made (it is not for linux), InvalidDocumentError for an image
    config of wrong types.
    """
    base = grounds.ground(variant, name_of(artefact.id))
    values = combining.combine(automaton.given, base)
    told = _Told(automaton, artefact, base, values)
    return (
        *(_of_artefact(item, artefact) for item in OF_ARTEFACT.values()),
        *(told.row(item, instance) for item in OF_AUTOMATON.values()),
    )


def at(given: Mapping[str, Any], path: str) -> Any:
    """Return what a document sets at a path, None where it sets nothing."""
    value: Any = given
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _of_artefact(item: Parameter, artefact: Artefact) -> Effective:
    known: dict[str, Any] = {"name": name_of(artefact.id), "image": artefact.reference, "digest": artefact.digest}
    if item.path.startswith("store.") or artefact.paths:
        known["image"] = None if artefact.paths else known["image"]
    written = at(artefact.given, item.path)
    value = written if written is not None else known.get(item.path) or None
    line = artefact.lines.get(item.path) or artefact.lines.get(
        {"image": "imageName", "digest": "imageDigest"}.get(item.path, "")
    )
    if item.path == "name" and artefact.origin.file and artefact.given:
        written = value
    if written is not None:
        source = Source(where=Where.DOCUMENT, origin=Origin(artefact.origin.file, line or artefact.origin.line))
    elif value is not None and item.path == "digest":
        source = Source(
            where=Where.IMAGE, field="closure" if artefact.paths else "index" if artefact.index else "manifest"
        )
    else:
        source = Source(where=Where.DEFAULT)
    return Effective(parameter=item, value=value, source=source)


@dataclass(frozen=True, slots=True)
class _Told:
    automaton: Automaton
    artefact: Artefact
    base: Ground
    values: Values

    def row(self, item: Parameter, instance: Instance | None) -> Effective:
        """Return the row of a parameter of the automaton."""
        if item.path == "node":
            placed = instance is not None and instance.host
            where = Where.PLACEMENT if placed else Where.DEFAULT
            return Effective(parameter=item, value=name_of(placed) if placed else None, source=Source(where=where))
        parts = tuple(self._parts(item))
        pending = {
            key: text
            for key, text in self.values.pending.items()
            if key == item.path or key.startswith((f"{item.path}.", f"{item.path}["))
        }
        return Effective(parameter=item, value=self._value(item), source=self._from(item), parts=parts, pending=pending)

    def _value(self, item: Parameter) -> Any:
        path, given, values = item.path, self.automaton.given, self.values.of
        own: dict[str, Any] = {
            "name": name_of(self.automaton.id),
            "artefact": name_of(self.artefact.id),
            "replicas": self.automaton.replicas,
            "state": list(given.get("state", ())),
            "debug": values["process.terminal"],
            **values,
        }
        if path in own:
            return own[path]
        if path == "annotations":
            ports = tuple(f"{port['port']}/{port['protocol']}" for port in values["ports"])
            return dict(grounds.exposed(self.base, ports) if ports else self.base.config["annotations"])
        return at(self.base.config if item.category is Category.ENCAPSULATED else given, path)

    def _from(self, item: Parameter) -> Source:
        path = item.path
        line = self._line(path)
        if line is not None:
            return Source(where=Where.DOCUMENT, origin=Origin(self.automaton.origin.file, line))
        if item.image and self._image_says(path):
            return Source(where=Where.IMAGE, field=item.image)
        if path in {"process.terminal", "process.consoleSize", "debug"}:
            debug = self._line("debug")
            if debug is not None:
                return Source(where=Where.DOCUMENT, origin=Origin(self.automaton.origin.file, debug))
            if self.base.debug:
                return Source(where=Where.IMAGE, field="Config.Labels")
        if path == "process.args" and self.values.of[path] is None:
            return Source(where=Where.NOBODY)
        return Source(where=Where.DEFAULT)

    def _line(self, path: str) -> int | None:
        """Return the line where the document sets a parameter, None where it does not."""
        if path == "name":
            return self.automaton.lines.get(path, self.automaton.origin.line)
        if path != "artefact" and at(self.automaton.given, path) is None:
            return None
        return self.automaton.lines.get(path, self.automaton.origin.line)

    def _image_says(self, path: str) -> bool:
        config = self.base.source.config
        if path == "process.user":
            return bool(self.base.user)
        if path == "process.args":
            return self.base.command
        keys = {
            "process.cwd": "WorkingDir",
            "process.env": "Env",
            "mounts": "Volumes",
            "ports": "ExposedPorts",
            "annotations": "Labels",
        }
        return bool(config.config.get(keys[path]))

    def _parts(self, item: Parameter) -> Iterator[Part]:
        given = self.automaton.given
        match item.path:
            case "process.env":
                said = {text.partition("=")[0] for text in self.base.source.config.strings("Env")}
                asked = at(given, "process.env") or {}
                for text in self.values.of["process.env"]:
                    name, _, value = text.partition("=")
                    yield self._part(
                        name, value, path_of("process.env", name) if name in asked else "", name in said, "Config.Env"
                    )
            case "process.rlimits":
                types = {limit["type"] for limit in at(given, "process.rlimits") or ()}
                for limit in self.values.of["process.rlimits"]:
                    yield self._part(limit["type"], limit, "process.rlimits" if limit["type"] in types else "")
            case "mounts":
                places = {
                    mount[key]: f"{name}[{number}]"
                    for name, key in (("mounts", "destination"), ("state", "path"))
                    for number, mount in enumerate(given.get(name, ()))
                }
                kernel = {str(mount["destination"]) for mount in defaults.MOUNTS}
                for mount in self.values.of["mounts"]:
                    place = mount["destination"]
                    volume = place not in kernel
                    yield self._part(place, mount, places.get(place, ""), volume, "Config.Volumes")
            case "ports":
                numbers = {
                    f"{port['port']}/{port.get('protocol', 'tcp')}": f"ports[{number}]"
                    for number, port in enumerate(given.get("ports", ()))
                }
                for port in self.values.of["ports"]:
                    key = f"{port['port']}/{port['protocol']}"
                    yield self._part(key, port, numbers.get(key, ""), True, "Config.ExposedPorts")

    def _part(self, key: str, value: Any, path: str, image: bool = False, image_field: str = "") -> Part:
        if path:
            line = self.automaton.lines.get(path) or self.automaton.lines.get(path.partition("[")[0])
            origin = Origin(self.automaton.origin.file, line or self.automaton.origin.line)
            return Part(key=key, value=value, source=Source(where=Where.DOCUMENT, origin=origin))
        source = Source(where=Where.IMAGE, field=image_field) if image else Source(where=Where.DEFAULT)
        return Part(key=key, value=value, source=source)
