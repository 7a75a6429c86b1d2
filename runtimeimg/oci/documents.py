"""Image configs, manifests and indexes: raw bytes beside what they say (OCI image-spec).

The bytes that came are the truth: a digest is that of `raw`. A change makes new bytes from the parsed document with
only the changed fields replaced, so fields unknown here survive.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Self

from runtimeimg.budgets import MAX_DOCUMENT, MAX_JSON_VALUES
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.oci import mediatypes
from runtimeimg.oci.descriptor import Descriptor
from runtimeimg.oci.digest import Digest
from runtimeimg.oci.platform import Platform


def dump_json(data: object) -> bytes:
    r"""Return compact JSON in the order given: the same value always gives the same bytes.

    Halves of pairs, which UTF-8 does not have, are written as `\uXXXX`.
    """
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "backslashreplace")


def parse_json(raw: bytes, what: str) -> Any:
    """Return the JSON value that `raw` holds, or raise InvalidDocumentError naming `what` it should be."""
    if len(raw) > MAX_DOCUMENT:
        raise InvalidDocumentError(f"{what} is larger than {MAX_DOCUMENT >> 20} MiB")
    if raw.count(b"{") + raw.count(b"[") + raw.count(b",") > MAX_JSON_VALUES:
        raise InvalidDocumentError(f"{what} holds more than {MAX_JSON_VALUES} values")
    try:
        return strict_json(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidDocumentError(f"{what} is not valid JSON: {error}") from None


def strict_json(raw: bytes) -> Any:
    """Return the JSON value that `raw` holds, however large; ValueError or RecursionError for what is none."""
    return _decoder().decode(raw.decode(json.detect_encoding(raw), "surrogatepass"))


@cache
def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(parse_constant=_no_number, parse_float=_number)


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _number(text: str) -> float:
    """Return a number with a fraction or an exponent; none that is too large, which would not be written as JSON."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"number {text[:40]} is too large")
    return value


def load_json(raw: bytes, what: str) -> dict[str, Any]:
    """Return the JSON object that `raw` holds, or raise InvalidDocumentError naming `what` it should be."""
    data = parse_json(raw, what)
    if not isinstance(data, dict):
        raise InvalidDocumentError(f"{what} is not a JSON object")
    return data


def _string_map(data: object, what: str) -> dict[str, str]:
    if data is None:
        return {}
    if not isinstance(data, Mapping) or not all(isinstance(value, str) for value in data.values()):
        raise InvalidDocumentError(f"{what} is not a map of strings")
    return dict(data)


def _objects(data: object, what: str) -> tuple[Mapping[str, Any], ...]:
    if data is None:
        return ()
    if not isinstance(data, list) or not all(isinstance(item, Mapping) for item in data):
        raise InvalidDocumentError(f"{what} is not a list of objects")
    return tuple(data)


@dataclass(frozen=True)
class Document:
    """A JSON document: its raw bytes, its media type, and `data`, the parsed object (not to be changed)."""

    raw: bytes = field(repr=False)
    media_type: str

    @cached_property
    def data(self) -> dict[str, Any]:
        """The parsed object."""
        return load_json(self.raw, self._what)

    def parsed_as(self, data: dict[str, Any]) -> Self:
        """Return this document, its parsed object known to be `data`."""
        self.__dict__["data"] = data
        return self

    @cached_property
    def digest(self) -> Digest:
        """The sha256 digest of the raw bytes."""
        return Digest.of(self.raw)

    @property
    def descriptor(self) -> Descriptor:
        """A descriptor of this document."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=len(self.raw))

    @property
    def annotations(self) -> dict[str, str]:
        """The document's own annotations."""
        return _string_map(self.data.get("annotations"), f"annotations of the {self._what}")

    def evolve(self, **changes: Any) -> Self:
        """Return a document with top-level fields replaced; None removes a field."""
        data = {**self.data, **changes}
        return type(self)(dump_json({key: value for key, value in data.items() if value is not None}), self.media_type)

    @property
    def _what(self) -> str:
        return type(self).__name__.lower()


class ImageConfig(Document):
    """An image configuration (config.md): platform, root file system, history, execution parameters."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any], media_type: str = mediatypes.OCI_CONFIG) -> Self:
        """Return a config made of `data`."""
        return cls(dump_json(data), media_type)

    @property
    def config(self) -> Mapping[str, Any]:
        """The execution parameters (`config` object), empty where there are none."""
        value = self.data.get("config") or {}
        if not isinstance(value, Mapping):
            raise InvalidDocumentError("'config' of the image config is not an object")
        return value

    @property
    def platform(self) -> Platform:
        """The platform the image is for; linux/amd64 fields missing are an error."""
        platform = Platform.from_json(self.data)
        if platform is None:
            raise InvalidDocumentError("image config names no os and architecture")
        return platform

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        """Digests of the uncompressed layers, base first."""
        rootfs = self.data.get("rootfs")
        ids = rootfs.get("diff_ids") if isinstance(rootfs, Mapping) else None
        if ids is None:
            return ()
        if not isinstance(ids, list):
            raise InvalidDocumentError("rootfs.diff_ids of the image config is not a list")
        return tuple(Digest.parse(item) for item in ids)

    @property
    def history(self) -> tuple[Mapping[str, Any], ...]:
        """One entry an instruction, base first; those with `empty_layer` made no layer."""
        return _objects(self.data.get("history"), "history of the image config")

    @property
    def env(self) -> dict[str, str]:
        """Environment by name, in the order of the config."""
        return dict(item.partition("=")[::2] for item in self.strings("Env"))

    @property
    def labels(self) -> dict[str, str]:
        """Labels by key."""
        return _string_map(self.config.get("Labels"), "Labels of the image config")

    def strings(self, key: str) -> tuple[str, ...]:
        """Return a list of strings of the execution parameters (Env, Entrypoint, Cmd), empty when unset."""
        value = self.config.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise InvalidDocumentError(f"{key} of the image config is not a list of strings")
        return tuple(value)

    def names(self, key: str) -> Mapping[str, Any]:
        """Return a set of the execution parameters (ExposedPorts, Volumes), a map to empty objects."""
        value = self.config.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise InvalidDocumentError(f"{key} of the image config is not an object")
        return value

    def check(self) -> None:
        """Raise InvalidDocumentError for execution parameters of other types than config.md says."""
        for key in ("Env", "Entrypoint", "Cmd", "OnBuild"):
            self.strings(key)
        for key in ("ExposedPorts", "Volumes"):
            self.names(key)
        for key in ("User", "WorkingDir", "StopSignal"):
            if not isinstance(self.config.get(key) or "", str):
                raise InvalidDocumentError(f"{key} of the image config is not a text")
        _ = (self.labels, self.history, self.diff_ids)

    def with_config(self, **changes: Any) -> Self:
        """Return a config whose execution parameters have these replaced; None removes one."""
        config = {**self.config, **changes}
        return self.evolve(config={key: value for key, value in config.items() if value is not None})


class Manifest(Document):
    """An image manifest (manifest.md), OCI's or Docker's schema 2."""

    @property
    def config(self) -> Descriptor:
        """The descriptor of the image config."""
        return Descriptor.from_json(self.data.get("config"))

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """The descriptors of the layers, base first."""
        return tuple(Descriptor.from_json(item) for item in _objects(self.data.get("layers"), "layers of the manifest"))

    @property
    def artifact_type(self) -> str | None:
        """What kind of artifact this is when it is no image."""
        value = self.data.get("artifactType")
        return value if isinstance(value, str) else None

    @property
    def subject(self) -> Descriptor | None:
        """The descriptor of the manifest that this one says something of."""
        value = self.data.get("subject")
        return None if value is None else Descriptor.from_json(value)

    @classmethod
    def of(
        cls, *, config: Descriptor, layers: Iterable[Descriptor], annotations: Mapping[str, str] | None = None
    ) -> Self:
        """Return an OCI manifest of these parts."""
        data: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": mediatypes.OCI_MANIFEST,
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
        if annotations:
            data["annotations"] = dict(annotations)
        return cls(dump_json(data), mediatypes.OCI_MANIFEST)


class Index(Document):
    """An image index (image-index.md) or a Docker manifest list."""

    @cached_property
    def manifests(self) -> tuple[Descriptor, ...]:
        """The descriptors of what is indexed, in order."""
        return tuple(
            Descriptor.from_json(item) for item in _objects(self.data.get("manifests"), "manifests of the index")
        )

    @classmethod
    def of(cls, manifests: Iterable[Descriptor], annotations: Mapping[str, str] | None = None) -> Self:
        """Return an OCI index of these manifests."""
        data: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": mediatypes.OCI_INDEX,
            "manifests": [item.to_json() for item in manifests],
        }
        if annotations:
            data["annotations"] = dict(annotations)
        return cls(dump_json(data), mediatypes.OCI_INDEX)


def declared_type(data: Mapping[str, Any], what: str) -> str | None:
    """Return the mediaType that a document says of itself, None when it says none."""
    declared = data.get("mediaType")
    if declared is not None and not isinstance(declared, str):
        raise InvalidDocumentError(f"mediaType of the {what} is not a string")
    return declared or None


def parse_manifest(raw: bytes, media_type: str | None = None, data: dict[str, Any] | None = None) -> Manifest | Index:
    """Return the manifest or index that `raw` holds; `data` is its parsed object, where the caller has it already.

    The document's own mediaType wins over `media_type` (what a descriptor or header said) only when that is missing;
    when both are there and differ the document is refused (manifest.md: "MUST match").
    """
    data = load_json(raw, "manifest") if data is None else data
    declared = declared_type(data, "manifest")
    if declared is not None and media_type and declared != media_type:
        raise InvalidDocumentError(f"manifest says it is {str(declared)[:80]!r} but was given as {media_type!r}")
    kind = declared or media_type
    if kind is None:
        kind = mediatypes.OCI_INDEX if "manifests" in data else mediatypes.OCI_MANIFEST
    if kind in mediatypes.INDEXES:
        return Index(raw, kind).parsed_as(data)
    if kind in mediatypes.MANIFESTS:
        return Manifest(raw, kind).parsed_as(data)
    raise InvalidDocumentError(
        f"manifest media type {str(kind)[:80]!r} is not supported",
        hint="images of Docker's schema 1 must be converted first, for example by pushing them again",
    )
