"""Artifacts in an OCI layout: unnamed entries of `index.json`, found by the subject of their manifests.

A layout has no list of referrers (image-layout.md knows none); what oras and regctl write is found the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runtimeimg.errors import InvalidDocumentError
from runtimeimg.oci import Descriptor, Digest, Location, Manifest, parse_manifest
from runtimeimg.oci.mediatypes import MANIFESTS
from runtimeimg.remains import held
from runtimeimg.stores.artifacts import MAX_REFERRERS, about, artifact, listing, read_files
from runtimeimg.stores.base import StoreOptions
from runtimeimg.stores.layout import files
from runtimeimg.stores.layout.layouts import LayoutBlobs, read_index, with_artifact
from runtimeimg.stores.opening import BytesBlob, read_manifest


class LayoutArtifacts:
    """The artifacts of a layout; `what` is the word for them in messages."""

    def __init__(self, location: Location, options: StoreOptions, what: str = "artifact") -> None:
        assert location.path is not None
        self._root = Path(location.path)
        self._what = what
        self._progress = options.progress
        self._blobs = LayoutBlobs(self._root, f"oci:{self._root}")

    def attach(
        self, artifact_type: str, parts: Sequence[BytesBlob], subject: Descriptor, more: Mapping[str, Any]
    ) -> Descriptor:
        """Write an artifact about `subject`, and list it: until then the layout says what it said before."""
        manifest, blobs = artifact(artifact_type, parts, {**about(subject), **more})
        entry = listing(manifest)
        with held.during(f"blobs in layout '{self._root}' that no name refers to"):
            files.prepare(self._root)
            for item in (*blobs, BytesBlob(descriptor=manifest.descriptor, raw=manifest.raw)):
                if not files.has_blob(self._root, item.descriptor):
                    files.write_blob(self._root, item, lambda _count: None)
            files.sync_blobs(self._root)
            with files.locked(self._root, self._progress.line):
                files.replace_index(self._root, with_artifact(read_index(self._root), entry))
        return entry

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """Return what is listed in the layout and says that it is about `subject`."""
        found: list[Descriptor] = []
        for entry in read_index(self._root).manifests:
            if entry.artifact_type is None or entry.media_type not in MANIFESTS:
                continue
            manifest = self.manifest(entry.digest)
            if manifest.subject is not None and manifest.subject.digest == subject:
                found.append(listing(manifest))
            if len(found) > MAX_REFERRERS:
                raise InvalidDocumentError(
                    f"layout '{self._root}' holds more than {MAX_REFERRERS} referrers of {subject}"
                )
        return tuple(found)

    def of_type(self, subject: Digest, artifact_type: str) -> tuple[Descriptor, ...]:
        """Return the referrers of one artifact type."""
        return tuple(item for item in self.referrers(subject) if item.artifact_type == artifact_type)

    def manifest(self, digest: Digest) -> Manifest:
        """Return the manifest of an artifact that is listed; InvalidDocumentError for what is none."""
        entries = [entry for entry in read_index(self._root).manifests if entry.digest == digest]
        if not entries:
            raise InvalidDocumentError(f"layout '{self._root}' lists no {self._what} {digest}")
        manifest = parse_manifest(read_manifest(self._blobs, entries[0], self._blobs.name), entries[0].media_type)
        if not isinstance(manifest, Manifest):
            raise InvalidDocumentError(f"{self._what} {digest} is no manifest of an artifact")
        return manifest

    def files(self, digest: Digest, limit: int) -> dict[str, bytes]:
        """Return the files of an artifact by media type."""
        return read_files(self.manifest(digest), self._blobs, limit, self._what)
