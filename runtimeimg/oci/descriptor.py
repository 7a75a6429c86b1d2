"""Content descriptors (OCI image-spec, descriptor.md)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

from runtimeimg.errors import InvalidDocumentError
from runtimeimg.oci.digest import Digest
from runtimeimg.oci.platform import Platform

_LARGEST = 2**63 - 1  # descriptor.md: an int64
_KNOWN = frozenset({"mediaType", "digest", "size", "platform", "annotations"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What some content is: media type, digest, size in bytes; `extra` keeps the fields not named here.

    `annotation`, as an example of the runtime-annotations proposal spells it, is read as `annotations`, which wins.
    A platform without OS or architecture stays in `extra`.
    """

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_json(cls, data: object) -> Self:
        """Return the descriptor that a document holds, or raise InvalidDocumentError."""
        if not isinstance(data, (dict, Mapping)):
            raise InvalidDocumentError("descriptor is not a JSON object")
        media_type, size, annotations = data.get("mediaType"), data.get("size"), data.get("annotations") or {}
        if not isinstance(media_type, str):
            raise InvalidDocumentError("descriptor has no mediaType")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _LARGEST:
            raise InvalidDocumentError(f"descriptor size {str(size)[:40]!r} is not a number of bytes")
        if not _is_string_map(annotations):
            raise InvalidDocumentError("descriptor annotations are not a map of strings")
        platform = Platform.of_entry(data.get("platform"))
        extra = {} if data.keys() <= _KNOWN else {key: value for key, value in data.items() if key not in _KNOWN}
        if platform is None and data.get("platform") is not None:
            extra["platform"] = data["platform"]
        if "annotation" in extra and _is_string_map(extra["annotation"]):
            annotations = {**extra.pop("annotation"), **annotations}
        return cls(
            media_type=media_type,
            digest=Digest.parse(data.get("digest")),
            size=size,
            platform=platform,
            annotations=MappingProxyType(dict(annotations)),
            extra=MappingProxyType(extra),
        )

    @property
    def artifact_type(self) -> str | None:
        """What kind of artifact it is, where that is said and it is no image."""
        value = self.extra.get("artifactType")
        return value if isinstance(value, str) and value else None

    @property
    def urls(self) -> tuple[str, ...]:
        """Places from which the content may be had besides; they are named in messages and never asked."""
        value = self.extra.get("urls")
        return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()

    @property
    def data(self) -> bytes | None:
        """The content, where the descriptor carries it ("Embedded Content"), None where not.

        Raises InvalidDocumentError unless it is base64 of content of the descriptor's size and digest.
        """
        value = self.extra.get("data")
        if value is None:
            return None
        try:
            raw = base64.b64decode(value, validate=True)
        except (ValueError, TypeError):
            raise InvalidDocumentError(f"data in the descriptor of {self.digest} is not base64") from None
        if len(raw) != self.size or hashlib.new(self.digest.algorithm, raw).hexdigest() != self.digest.encoded:
            raise InvalidDocumentError(f"data in the descriptor of {self.digest} is other content than it names")
        return raw

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object, fields in the specification's order, empty ones left out."""
        result: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.annotations:
            result["annotations"] = dict(self.annotations)
        if self.platform is not None:
            result["platform"] = self.platform.to_json()
        return result | dict(self.extra)


def _is_string_map(data: object) -> bool:
    if not isinstance(data, (dict, Mapping)):
        return False
    return not data or {*map(type, data.values())} == {str} or all(isinstance(value, str) for value in data.values())
