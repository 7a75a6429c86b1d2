"""Artifacts about images: manifests with a subject, listed by a registry, or under the fallback tag.

A registry with the referrers API lists them by itself; for others they are added to the index under the fallback tag
(OCI distribution-spec 1.1, "Pushing manifests with subject" and "Referrers tag schema").
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from runtimeimg.budgets import MAX_DOCUMENT
from runtimeimg.errors import InvalidDocumentError, NotFoundError, RemoteError
from runtimeimg.oci import Descriptor, Digest, Index, Manifest, Reference, parse_manifest
from runtimeimg.oci.documents import dump_json, load_json
from runtimeimg.oci.mediatypes import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST
from runtimeimg.stores.base import StoreOptions
from runtimeimg.stores.opening import BytesBlob
from runtimeimg.stores.registry.address import Address
from runtimeimg.stores.registry.answers import drain
from runtimeimg.stores.registry.auth import Access
from runtimeimg.stores.registry.client import RegistryClient, Request, client_for
from runtimeimg.stores.registry.failures import Timing
from runtimeimg.stores.registry.places import push_place
from runtimeimg.stores.registry.pull import RegistryBlobs, fetch_manifest
from runtimeimg.stores.registry.upload import Upload, confirm
from runtimeimg.stores.verify import read_all

_EMPTY = b"{}"
_MAX_REFERRERS = 1000
_MAX_PAGES = 50


class Artifacts:
    """The artifacts of a repository; `what` is the word for them in messages."""

    def __init__(self, reference: Reference, options: StoreOptions, what: str = "artifact") -> None:
        place = push_place(reference, options)
        self._what = what
        self._reference = place.reference
        self._name = place.repository
        self._client: RegistryClient = client_for(place, options, Timing())

    def made(self, artifact_type: str, files: Sequence[BytesBlob], more: Mapping[str, Any]) -> Manifest:
        """Upload the files of an artifact and return its manifest, which is not put yet.

        `more` are further fields of the manifest (manifest.md, "Guidelines for Artifact Usage").
        """
        empty = blob(_EMPTY, OCI_EMPTY)
        for item in (empty, *files):
            key = f"push {item.descriptor.digest}"
            upload = Upload(client=self._client, repository=self._name, blob=item, stop=threading.Event(), key=key)
            upload.run()
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": artifact_type,
            "config": empty.descriptor.to_json(),
            "layers": [file.descriptor.to_json() for file in files],
            **more,
        }
        return Manifest(dump_json(document), OCI_MANIFEST)

    def attach(
        self, artifact_type: str, files: Sequence[BytesBlob], subject: Descriptor, more: Mapping[str, Any]
    ) -> Descriptor:
        """Push an artifact about `subject`, which may come later, and see that it is listed; return its descriptor."""
        bare = Descriptor(media_type=subject.media_type, digest=subject.digest, size=subject.size)
        manifest = self.made(artifact_type, files, {"subject": bare.to_json(), **more})
        listed = self.put(manifest, str(manifest.digest))
        entry = dataclasses.replace(
            manifest.descriptor, annotations=manifest.annotations, extra={"artifactType": artifact_type}
        )
        if not listed:
            tag = fallback_tag(subject.digest)
            there = [item for item in self._fallback(tag) if item.digest != entry.digest]
            self.put(Index.of([*there, entry]), tag)
        return entry

    def put(self, document: Manifest | Index, name: str) -> bool:
        """Put a manifest or index; tell whether the registry noted its subject (`OCI-Subject`)."""
        response = self._client.request(
            Request(
                method="PUT",
                url=f"/v2/{self._name}/manifests/{name}",
                access=Access.push(self._name),
                what=f"{self._what} in '{self._name}'",
                ok=(200, 201, 202),
                headers={"Content-Type": document.media_type, "Content-Length": str(len(document.raw))},
                body=document.raw,
            )
        )
        drain(response)
        confirm(response, document.digest, f"the {self._what}", self._client.registry)
        return "OCI-Subject" in response.headers

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """Return what refers to `subject`: by the API, or where the registry has none, by the fallback tag."""
        found: list[Descriptor] = []
        where: str | Address = f"/v2/{self._name}/referrers/{subject}"
        for _ in range(_MAX_PAGES):
            request = Request(
                method="GET",
                url=where,
                access=Access.pull(self._name),
                what=f"referrers of '{self._name}@{subject}'",
                headers={"Accept": OCI_INDEX},
            )
            try:
                response, raw = self._client.document(request, MAX_DOCUMENT)
            except NotFoundError:
                return self._fallback(fallback_tag(subject))
            try:
                found += _entries(Index(dump_json(load_json(raw, "list of referrers")), OCI_INDEX))
            except InvalidDocumentError as error:
                raise RemoteError(f"registry '{self._client.registry}': {error}") from None
            following = self._client.next_page(response, where)
            if following is None or len(found) > _MAX_REFERRERS:
                break
            where = following
        return tuple(found[:_MAX_REFERRERS])

    def of_type(self, subject: Digest, artifact_type: str) -> tuple[Descriptor, ...]:
        """Return the referrers of one artifact type."""
        return tuple(item for item in self.referrers(subject) if item.extra.get("artifactType") == artifact_type)

    def manifest(self, digest: Digest) -> Manifest:
        """Return the manifest of an artifact."""
        raw, media_type = fetch_manifest(self._client, dataclasses.replace(self._reference, tag=None, digest=digest))
        manifest = parse_manifest(raw, media_type)
        if not isinstance(manifest, Manifest):
            raise InvalidDocumentError(f"{self._what} {digest} is no manifest of an artifact")
        return manifest

    def files(self, digest: Digest, limit: int) -> dict[str, bytes]:
        """Return the files of an artifact by media type; InvalidDocumentError for one of more than `limit` bytes."""
        blobs = RegistryBlobs(self._client, self._name, f"docker://{self._reference}")
        found: dict[str, bytes] = {}
        for layer in self.manifest(digest).layers:
            if layer.size > limit:
                raise InvalidDocumentError(f"{self._what} {digest} holds a file of {layer.size} bytes")
            found.setdefault(layer.media_type, read_all(blobs.open_blob(layer), limit, self._what))
        return found

    def _fallback(self, tag: str) -> tuple[Descriptor, ...]:
        try:
            raw, media_type = fetch_manifest(self._client, dataclasses.replace(self._reference, tag=tag, digest=None))
        except NotFoundError:
            return ()
        try:
            document = parse_manifest(raw, media_type)
            return _entries(document) if isinstance(document, Index) else ()
        except InvalidDocumentError as error:
            raise RemoteError(f"registry '{self._client.registry}', tag '{tag}': {error}") from None


def _entries(index: Index) -> tuple[Descriptor, ...]:
    entries = index.manifests
    if len(entries) > _MAX_REFERRERS:
        raise InvalidDocumentError(f"list of referrers holds {len(entries)} entries; {_MAX_REFERRERS} are allowed")
    return entries


def fallback_tag(subject: Digest) -> str:
    """Return the tag under which the referrers of an image are listed where the registry does not list them."""
    return f"{subject.algorithm}-{subject.encoded}"


def blob(raw: bytes, media_type: str, annotations: Mapping[str, str] | None = None) -> BytesBlob:
    """Return a file of an artifact."""
    descriptor = Descriptor(
        media_type=media_type, digest=Digest.of(raw), size=len(raw), annotations=dict(annotations or {})
    )
    return BytesBlob(descriptor=descriptor, raw=raw)
