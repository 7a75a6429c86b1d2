"""The lock: which digest each reference of the documents led to, so that everybody gets the same images.

    {"version": 1, "artefacts": {"web": {"image": "web:1", "reference": "docker://docker.io/library/web:1",
                                         "digest": "sha256:..."}}}

An entry holds for as long as its document says the same `image`. Entries of what no document names any more are left
out when the lock is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runtimeimg import hostfile
from runtimeimg.errors import InvalidDocumentError, NotFoundError, RuntimeimgError
from runtimeimg.oci import Digest, Location
from runtimeimg.oci.documents import load_json
from runtimeimg.stores.files import write_atomically

NAME = "graph.lock"
VERSION = 1
MAX_BYTES = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """What a document said (`image`), where that was found (`reference`, with its transport), and its digest."""

    image: str
    reference: str
    digest: str


Lock = Mapping[str, Locked]


def beside(path: Path) -> Path:
    """Return where the lock of documents is that begin with `path`: in that folder, or in that of that file."""
    return (path if path.is_dir() else path.parent) / NAME


def read(path: Path) -> Lock:
    """Return the lock in a file, an empty one where there is none; InvalidDocumentError for what is no lock."""
    try:
        data = load_json(hostfile.read_file(path, MAX_BYTES, "a lock"), f"lock '{path}'")
    except NotFoundError:
        return {}
    if data.get("version") != VERSION:
        raise _wrong(path, f"has version {str(data.get('version'))[:20]!r}, and {VERSION} is known")
    entries = data.get("artefacts", {})
    if not isinstance(entries, dict):
        raise _wrong(path, "'artefacts' is not an object")
    return {name: _entry(path, name, entry) for name, entry in entries.items()}


def _entry(path: Path, name: str, entry: object) -> Locked:
    keys = ("image", "reference", "digest")
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in keys):
        raise _wrong(path, f"'{name[:80]}' is not an object with image, reference and digest")
    try:
        Digest.parse(entry["digest"])
        Location.parse(entry["reference"])
    except RuntimeimgError as error:
        raise _wrong(path, f"'{name[:80]}': {error}") from None
    return Locked(image=entry["image"], reference=entry["reference"], digest=entry["digest"])


def _wrong(path: Path, what: str) -> InvalidDocumentError:
    return InvalidDocumentError(f"lock '{path}': {what}", hint="remove the file to have it made anew")


def write(path: Path, lock: Lock) -> bool:
    """Write a lock where it says something else than what is there, and tell whether it did."""
    entries = {
        name: {"image": item.image, "reference": item.reference, "digest": item.digest}
        for name, item in sorted(lock.items())
    }
    text = json.dumps({"version": VERSION, "artefacts": entries}, indent=2, ensure_ascii=True) + "\n"
    try:
        if hostfile.read_file(path, MAX_BYTES, "a lock") == text.encode():
            return False
    except NotFoundError:
        pass
    write_atomically(path, text.encode())
    return True
