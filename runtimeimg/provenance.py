"""What an image was made from, kept beside it: an OCI artifact whose subject is the image.

It holds the rendered Dockerfile.runtime and the resolved plan with the digests of the images that went in. A registry
with the referrers API lists it by itself; for others it is added to the index under the fallback tag
(OCI distribution-spec 1.1, "Pushing manifests with subject" and "Referrers tag schema").

A platform may change an image after it was made (labels, annotations, dates), and then it is another one. So the same
files are also kept as an artifact about nothing, under a tag of its own digest, and the image carries that digest as a
label.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtimeimg.budgets import MAX_DOCUMENT
from runtimeimg.errors import InvalidDocumentError, NotFoundError, RemoteError
from runtimeimg.image import Image
from runtimeimg.oci import Descriptor, Digest, Index, Location, Manifest, Reference, parse_manifest
from runtimeimg.oci.documents import dump_json, load_json
from runtimeimg.oci.mediatypes import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST
from runtimeimg.plan import BuildPlan
from runtimeimg.runtimegraph import RuntimeGraph
from runtimeimg.stores import StoreOptions
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

ARTIFACT_TYPE = "application/vnd.runtimeimg.provenance.v1"
DOCKERFILE_TYPE = "application/vnd.runtimeimg.dockerfile.v1"
PLAN_TYPE = "application/vnd.runtimeimg.plan.v1+json"

LABEL = "dev.runtimeimg.provenance"
"""Label of an image: digest of the artifact that is kept under `keep`."""

_EMPTY = b"{}"
_LAYERS = "dev.runtimeimg.layers"
_TITLE = "org.opencontainers.image.title"
_MAX_FILE = 1024 * 1024
_MAX_REFERRERS = 1000
_MAX_PAGES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The Dockerfile.runtime as rendered, and the plan as JSON."""

    dockerfile: str
    plan: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return both for `inspect --provenance --format json`."""
        return {"dockerfile": self.dockerfile, "plan": dict(self.plan)}


def plan_to_json(plan: BuildPlan, digests: Mapping[str, Digest]) -> dict[str, Any]:
    """Return a plan as JSON; `digests` are those of the images that went in, by name as the plan has them."""
    fields = {field.name: getattr(plan, field.name) for field in dataclasses.fields(plan)}
    document = {_camel(name): _plain(value) for name, value in fields.items() if name != "builder_origin"}
    names = dict.fromkeys(str(image) for image in (plan.base, plan.builder, *plan.images) if image is not None)
    images = [{"name": name, "digest": digests.get(name)} for name in names]
    return {**document, "images": images}


def push(reference: Reference, subject: Descriptor, provenance: Provenance, options: StoreOptions) -> Descriptor:
    """Push the artifact about `subject`, an image of the repository that `reference` names.

    The image itself may come later: a registry takes an artifact before its subject. Returns its descriptor.
    """
    repository = _Repository(reference, options)
    manifest = repository.artifact(provenance, {"subject": _bare(subject).to_json()})
    listed = repository.put(manifest, str(manifest.digest))
    entry = dataclasses.replace(manifest.descriptor, extra={"artifactType": ARTIFACT_TYPE})
    if not listed:
        repository.add_to_fallback(subject.digest, entry)
    return entry


def keep(reference: Reference, provenance: Provenance, images: Sequence[Image], options: StoreOptions) -> Digest:
    """Push the artifact for images that will name it by its digest as LABEL, and return that."""
    repository = _Repository(reference, options)
    counts = ",".join(sorted({str(len(image.layers)) for image in images}))
    manifest = repository.artifact(provenance, {"annotations": {_LAYERS: counts}})
    repository.put(manifest, f"{_fallback_tag(manifest.digest)}.provenance")
    return manifest.digest


def read_kept(reference: Reference, image: Image, options: StoreOptions) -> Provenance | None:
    """Return what the label of an image leads to; None where it has none, or inherited that of its base."""
    label = image.config.labels.get(LABEL)
    if label is None:
        return None
    digest = Digest.parse(label)
    repository = _Repository(reference, options)
    try:
        manifest = repository.manifest(digest)
    except NotFoundError:
        return None
    if str(len(image.layers)) not in manifest.annotations.get(_LAYERS, "").split(","):
        return None
    return repository.provenance(digest)


def read(reference: Reference, subject: Digest, options: StoreOptions) -> Provenance | None:
    """Return what is kept about an image of a repository, None when there is nothing; the last one of several."""
    repository = _Repository(reference, options)
    found = [entry for entry in repository.referrers(subject) if entry.extra.get("artifactType") == ARTIFACT_TYPE]
    return repository.provenance(found[-1].digest) if found else None


class _Repository:
    """A repository of a registry, as far as artifacts need it."""

    def __init__(self, reference: Reference, options: StoreOptions) -> None:
        place = push_place(reference, options)
        self._reference = place.reference
        self._name = place.repository
        self._client: RegistryClient = client_for(place, options, Timing())

    def upload(self, blob: BytesBlob) -> None:
        key = f"push {blob.descriptor.digest}"
        upload = Upload(client=self._client, repository=self._name, blob=blob, stop=threading.Event(), key=key)
        upload.run()

    def put(self, document: Manifest | Index, name: str) -> bool:
        """Put a manifest or index; tell whether the registry noted its subject (`OCI-Subject`)."""
        response = self._client.request(
            Request(
                method="PUT",
                url=f"/v2/{self._name}/manifests/{name}",
                access=Access.push(self._name),
                what=f"provenance in '{self._name}'",
                ok=(200, 201, 202),
                headers={"Content-Type": document.media_type, "Content-Length": str(len(document.raw))},
                body=document.raw,
            )
        )
        drain(response)
        confirm(response, document.digest, "the provenance", self._client.registry)
        return "OCI-Subject" in response.headers

    def add_to_fallback(self, subject: Digest, entry: Descriptor) -> None:
        tag = _fallback_tag(subject)
        there = [item for item in self._fallback(tag) if item.digest != entry.digest]
        self.put(Index.of([*there, entry]), tag)

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
                return self._fallback(_fallback_tag(subject))
            try:
                found += _entries(Index(dump_json(load_json(raw, "list of referrers")), OCI_INDEX))
            except InvalidDocumentError as error:
                raise RemoteError(f"registry '{self._client.registry}': {error}") from None
            following = self._client.next_page(response, where)
            if following is None or len(found) > _MAX_REFERRERS:
                break
            where = following
        return tuple(found[:_MAX_REFERRERS])

    def artifact(self, provenance: Provenance, more: Mapping[str, Any]) -> Manifest:
        """Upload the files of an artifact and return its manifest, which is not put yet."""
        files = [
            _blob(provenance.dockerfile.encode(), DOCKERFILE_TYPE, "Dockerfile.runtime"),
            _blob(dump_json(provenance.plan), PLAN_TYPE, "plan.json"),
        ]
        empty = _blob(_EMPTY, OCI_EMPTY, None)
        for blob in (empty, *files):
            self.upload(blob)
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": ARTIFACT_TYPE,
            "config": empty.descriptor.to_json(),
            "layers": [file.descriptor.to_json() for file in files],
            **more,
        }
        return Manifest(dump_json(document), OCI_MANIFEST)

    def manifest(self, digest: Digest) -> Manifest:
        """Return the manifest of an artifact."""
        raw, media_type = fetch_manifest(self._client, dataclasses.replace(self._reference, tag=None, digest=digest))
        manifest = parse_manifest(raw, media_type)
        if not isinstance(manifest, Manifest):
            raise InvalidDocumentError(f"provenance {digest} is no manifest of an artifact")
        return manifest

    def provenance(self, digest: Digest) -> Provenance:
        """Return the files of an artifact."""
        manifest = self.manifest(digest)
        blobs = RegistryBlobs(self._client, self._name, f"docker://{self._reference}")
        files = {}
        for layer in manifest.layers:
            if layer.size > _MAX_FILE:
                raise InvalidDocumentError(f"provenance {digest} holds a file of {layer.size} bytes")
            files[layer.media_type] = read_all(blobs.open_blob(layer), _MAX_FILE, "provenance")
        if DOCKERFILE_TYPE not in files or PLAN_TYPE not in files:
            raise InvalidDocumentError(f"provenance {digest} lacks the Dockerfile or the plan")
        plan = load_json(files[PLAN_TYPE], f"plan of provenance {digest}")
        images = plan.get("images", [])
        if not isinstance(images, list) or not all(isinstance(item, Mapping) for item in images):
            raise InvalidDocumentError(f"plan of provenance {digest}: 'images' is not a list of objects")
        return Provenance(dockerfile=files[DOCKERFILE_TYPE].decode("utf-8", "replace"), plan=plan)

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


def _fallback_tag(subject: Digest) -> str:
    return f"{subject.algorithm}-{subject.encoded}"


def _blob(raw: bytes, media_type: str, title: str | None) -> BytesBlob:
    annotations = {_TITLE: title} if title else {}
    descriptor = Descriptor(media_type=media_type, digest=Digest.of(raw), size=len(raw), annotations=annotations)
    return BytesBlob(descriptor=descriptor, raw=raw)


def _bare(descriptor: Descriptor) -> Descriptor:
    return Descriptor(media_type=descriptor.media_type, digest=descriptor.digest, size=descriptor.size)


def _plain(value: Any) -> Any:
    """Return a value of the plan as JSON knows it."""
    if isinstance(value, RuntimeGraph):
        return value.to_json()
    if isinstance(value, Location):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {_camel(field.name): _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def show(provenance: Provenance) -> str:
    """Return the provenance for people: the images by digest as comments, then the Dockerfile."""
    lines = [f"# {json.dumps(item.get('name'))} is {item.get('digest')}" for item in provenance.plan.get("images", [])]
    return "\n".join([*lines, provenance.dockerfile])
