"""What an amended document says of what was added to it: an annotation, which an API server keeps where comments go."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtimeimg.errors import InvalidDocumentError
from runtimeimg.strategy.editing import entries_of

ANNOTATION = "runtimeimg.dev/amended"

_HINT = "take the annotation and what was added out by hand"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was added to a document.

    `added` are the names of the items, by the key of their list in the spec; `created` the keys of the spec that were
    not there before, and `empty` the maps around the annotation that were there with nothing in them; `renamed` the
    texts of the document's own steps that got a suffix; `digest` that of the items.
    """

    added: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    created: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    renamed: tuple[str, ...] = ()
    digest: str = ""

    def to_json(self) -> str:
        """Return the annotation's value; keys of `Record` that hold nothing are left out."""
        fields = {
            "added": {key: list(names) for key, names in self.added.items()},
            "created": list(self.created),
            "empty": list(self.empty),
            "renamed": list(self.renamed),
            "digest": self.digest,
        }
        return json.dumps({key: value for key, value in fields.items() if value})


def read_record(document: Any) -> Record | None:
    """Return what a document says was added to it, None where it says nothing; InvalidDocumentError for nonsense."""
    metadata = document.get("metadata") if isinstance(document, Mapping) else None
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    text = annotations.get(ANNOTATION) if isinstance(annotations, Mapping) else None
    if text is None:
        return None
    try:
        data = json.loads(text)
        record = Record(
            added={str(key): _names(names) for key, names in data.get("added", {}).items()},
            created=_names(data.get("created", [])),
            empty=_names(data.get("empty", [])),
            renamed=_names(data.get("renamed", [])),
            digest=str(data.get("digest", "")),
        )
    except (TypeError, ValueError, AttributeError, RecursionError):
        raise InvalidDocumentError(f"annotation '{ANNOTATION}' is not what an amendment wrote", hint=_HINT) from None
    if not record.added:
        raise InvalidDocumentError(f"annotation '{ANNOTATION}' lists nothing that was added", hint=_HINT)
    return record


def items_digest(document: Mapping[str, Any], added: Mapping[str, tuple[str, ...]]) -> str:
    """Return the digest of the items with these names, whatever the order of their keys and how they are written."""
    spec = document.get("spec")
    spec = spec if isinstance(spec, Mapping) else {}
    found = {
        key: [item for item in entries_of(spec, key) if isinstance(item, Mapping) and item.get("name") in names]
        for key, names in added.items()
    }
    text = json.dumps(found, sort_keys=True, ensure_ascii=True, default=str)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise TypeError
    return tuple(value)
