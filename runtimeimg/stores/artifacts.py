"""Artifacts about images: manifests with a subject, kept beside the images in a registry or a layout.

Source: OCI image-spec, manifest.md, "Guidelines for Artifact Usage" and the empty descriptor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.oci import Descriptor, Digest, Location, Manifest
from runtimeimg.oci.documents import dump_json
from runtimeimg.oci.mediatypes import OCI_EMPTY, OCI_MANIFEST
from runtimeimg.stores.base import StoreOptions
from runtimeimg.stores.opening import Blobs, BytesBlob, StoredBlob
from runtimeimg.stores.verify import read_all

_EMPTY = b"{}"
MAX_REFERRERS = 1000


class Artifacts(Protocol):
    """The artifacts of a repository or a layout."""

    def attach(
        self, artifact_type: str, files: Sequence[BytesBlob], subject: Descriptor, more: Mapping[str, Any]
    ) -> Descriptor:
        """Keep an artifact about `subject`, which may come later, and see that it is listed; return its descriptor.

        `more` are further fields of its manifest, such as annotations.
        """

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """Return what refers to `subject`, in no order that means anything."""

    def of_type(self, subject: Digest, artifact_type: str) -> tuple[Descriptor, ...]:
        """Return the referrers of one artifact type."""

    def manifest(self, digest: Digest) -> Manifest:
        """Return the manifest of an artifact; NotFoundError where there is none."""

    def files(self, digest: Digest, limit: int) -> dict[str, bytes]:
        """Return the files of an artifact by media type; InvalidDocumentError for one of more than `limit` bytes."""


def artifacts_of(location: Location, options: StoreOptions, what: str = "artifact") -> Artifacts:
    """Return the artifacts beside an image; UsageError where nothing keeps such."""
    if location.transport == "oci":
        from runtimeimg.stores.layout.referrers import LayoutArtifacts

        return LayoutArtifacts(location, options, what)
    if location.reference is None or location.transport not in {None, "docker"}:
        raise UsageError(f"image '{location}' is neither in a registry nor in a layout, which keep artifacts about it")
    from runtimeimg.stores.registry.referrers import RegistryArtifacts

    return RegistryArtifacts(location.reference, options, what)


def artifact(
    artifact_type: str, files: Sequence[BytesBlob], more: Mapping[str, Any]
) -> tuple[Manifest, tuple[BytesBlob, ...]]:
    """Return the manifest of an artifact, and the blobs that it names: its files and the empty config.

    Without files the empty descriptor is its one layer, as a manifest must have one.
    """
    empty = blob(_EMPTY, OCI_EMPTY)
    layers = tuple(files) or (empty,)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": empty.descriptor.to_json(),
        "layers": [file.descriptor.to_json() for file in layers],
        **more,
    }
    return Manifest(dump_json(document), OCI_MANIFEST), (empty, *files)


def about(subject: Descriptor) -> dict[str, Any]:
    """Return the field of a manifest that says what it is about."""
    bare = Descriptor(media_type=subject.media_type, digest=subject.digest, size=subject.size)
    return {"subject": bare.to_json()}


def listing(manifest: Manifest) -> Descriptor:
    """Return the entry of a list of referrers (distribution-spec, "Listing Referrers"): type and annotations with it.

    The type is that of the config where a manifest says none.
    """
    kind = manifest.artifact_type or manifest.config.media_type
    return dataclasses.replace(manifest.descriptor, annotations=manifest.annotations, extra={"artifactType": kind})


def read_files(manifest: Manifest, blobs: Blobs, limit: int, what: str) -> dict[str, bytes]:
    """Return the files of an artifact by media type, of several of one type the first."""
    found: dict[str, bytes] = {}
    for layer in manifest.layers:
        if layer.size > limit:
            raise InvalidDocumentError(f"{what} {manifest.digest} holds a file of {layer.size} bytes")
        stored = StoredBlob(descriptor=layer, diff_id=layer.digest, blobs=blobs)
        found.setdefault(layer.media_type, read_all(stored.open(), limit, what))
    return found


def blob(raw: bytes, media_type: str, annotations: Mapping[str, str] | None = None) -> BytesBlob:
    """Return a file of an artifact."""
    descriptor = Descriptor(
        media_type=media_type, digest=Digest.of(raw), size=len(raw), annotations=dict(annotations or {})
    )
    return BytesBlob(descriptor=descriptor, raw=raw)
