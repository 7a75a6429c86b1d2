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
from runtimeimg.errors import InvalidDocumentError, NotFoundError, RemoteError, TransientError
from runtimeimg.oci import Descriptor, Digest, Index, Manifest, Reference, parse_manifest
from runtimeimg.oci.documents import dump_json, load_json
from runtimeimg.oci.mediatypes import OCI_INDEX
from runtimeimg.stores.artifacts import MAX_REFERRERS, about, artifact, listing, read_files
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

_MAX_PAGES = 50
_TRIES = 5


class RegistryArtifacts:
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
        manifest, blobs = artifact(artifact_type, files, more)
        for item in blobs:
            key = f"push {item.descriptor.digest}"
            upload = Upload(client=self._client, repository=self._name, blob=item, stop=threading.Event(), key=key)
            upload.run()
        return manifest

    def attach(
        self, artifact_type: str, files: Sequence[BytesBlob], subject: Descriptor, more: Mapping[str, Any]
    ) -> Descriptor:
        """Push an artifact about `subject`, which may come later, and see that it is listed; return its descriptor."""
        manifest = self.made(artifact_type, files, {**about(subject), **more})
        entry = listing(manifest)
        if not self.put(manifest, str(manifest.digest)):
            self._list(entry, fallback_tag(subject.digest))
        return entry

    def _list(self, entry: Descriptor, tag: str) -> None:
        """Add an entry under the fallback tag: once more where somebody else's list took its place meanwhile."""
        for _ in range(_TRIES):
            there = self._fallback(tag)
            if any(item.digest == entry.digest for item in there):
                return
            self.put(Index.of([*there, entry]), tag)
        raise TransientError(
            f"{self._what} {entry.digest} was not listed under '{tag}' in '{self._name}': others write there",
            hint="try again",
        )

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
            if following is None or len(found) > MAX_REFERRERS:
                break
            where = following
        return tuple(found[:MAX_REFERRERS])

    def of_type(self, subject: Digest, artifact_type: str) -> tuple[Descriptor, ...]:
        """Return the referrers of one artifact type."""
        return tuple(item for item in self.referrers(subject) if item.artifact_type == artifact_type)

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
        return read_files(self.manifest(digest), blobs, limit, self._what)

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
    if len(entries) > MAX_REFERRERS:
        raise InvalidDocumentError(f"list of referrers holds {len(entries)} entries; {MAX_REFERRERS} are allowed")
    return entries


def fallback_tag(subject: Digest) -> str:
    """Return the tag under which the referrers of an image are listed where the registry does not list them."""
    return f"{subject.algorithm}-{subject.encoded}"
