"""Images into a registry (OCI distribution-spec, "Push"): blobs, then manifests by digest, the tag last."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import partial

from runtimeimg.errors import RuntimeimgError, UsageError
from runtimeimg.image import Image, ImageIndex, Origin
from runtimeimg.oci import Descriptor, Reference
from runtimeimg.remains import held
from runtimeimg.stores.base import StoreOptions, Written, unasked
from runtimeimg.stores.contents import Blob, contents
from runtimeimg.stores.growing import Early
from runtimeimg.stores.opening import BytesBlob
from runtimeimg.stores.parallel import for_each
from runtimeimg.stores.registry.answers import drain
from runtimeimg.stores.registry.auth import Access
from runtimeimg.stores.registry.client import Request, client_for
from runtimeimg.stores.registry.early import EarlyUploads
from runtimeimg.stores.registry.failures import Timing
from runtimeimg.stores.registry.places import push_place
from runtimeimg.stores.registry.upload import Upload, call_off, confirm


class RegistryDestination:
    """A name in a registry."""

    def __init__(self, reference: Reference, options: StoreOptions, *, timing: Timing | None = None) -> None:
        self._reference = reference.tagged
        place = push_place(self._reference, options)
        self._repository = place.repository
        self._client = client_for(place, options, timing or Timing())
        self._access = Access.push(place.repository)
        self._early: EarlyUploads | None = None
        self.name = f"docker://{self._reference}"

    def check(self) -> None:
        """Ask the registry for leave to push: an upload is begun and called off (distribution-spec, "Push")."""
        request = Request(
            method="POST",
            url=f"/v2/{self._repository}/blobs/uploads/",
            access=self._access,
            what=f"a push to '{self._repository}'",
            ok=(202,),
            headers={"Content-Length": "0"},
        )
        response = self._client.request(request)
        drain(response)
        with contextlib.suppress(RuntimeimgError):
            session = self._client.location(response, self._client.absolute(request.url))
            call_off(self._client, session, self._access, request.what)

    @contextlib.contextmanager
    def early(self) -> Iterator[Early]:
        """Take blobs while they are made; those that are not written before the context ends are called off."""
        self._early = EarlyUploads(self._client, self._repository)
        try:
            yield self._early
        finally:
            self._early.close()
            self._early = None

    def write(self, image: Image | ImageIndex, confirm: Callable[[], None] = unasked) -> Written:
        """Write what is missing, then the manifests by digest, and when all that is confirmed, the tag."""
        place = Origin(store="registry", place=f"{self._client.registry}/{self._repository}")
        parts = contents(image, lambda origin: origin == place)
        wanted = self._reference.digest
        if wanted is not None and wanted != parts.top.descriptor.digest:
            raise UsageError(
                f"image cannot be written as '{self.name}': its digest is {parts.top.descriptor.digest}",
                hint="name a tag instead",
            )
        with held.during(f"what was sent to '{self.name}', no name refers to it; the registry collects it"):
            for_each(parts.blobs, self._write_blob)
            for manifest in (*parts.children, parts.top):
                self._put_manifest(manifest, manifest.descriptor.digest)
            confirm()
            if self._reference.tag is not None:
                self._put_manifest(parts.top, self._reference.tag)
        return Written(name=self.name, descriptor=parts.top.descriptor)

    def _write_blob(self, blob: Blob, stop: threading.Event) -> None:
        descriptor, options = blob.descriptor, self._client.options
        key = f"push {descriptor.digest}"
        options.progress.start(
            key, f"push {self._client.registry}/{self._repository} {descriptor.digest.short}", descriptor.size
        )
        upload = Upload(client=self._client, repository=self._repository, blob=blob, stop=stop, key=key)
        early = self._early.take(descriptor.digest) if self._early is not None else None
        sent = early.wait(stop, partial(options.progress.advance, key)) if early is not None else None
        if sent is not None and upload.finish(sent):
            options.progress.done(key)
            return
        if self._has_blob(descriptor):
            options.account.add(existing_blobs=1)
            options.progress.done(key, "exists")
            return
        if upload.mount(self._mountable(blob)):
            options.account.add(mounted_bytes=descriptor.size)
            options.progress.done(key, "mounted")
            return
        upload.run()
        options.progress.done(key)

    def _has_blob(self, descriptor: Descriptor) -> bool:
        """Ask for a blob by HEAD; one of another size is not the one that is meant."""
        request = Request(
            method="HEAD",
            url=f"/v2/{self._repository}/blobs/{descriptor.digest}",
            access=self._access,
            what=f"blob {descriptor.digest}",
            ok=(200, 404),
        )
        response = self._client.optional(request)
        if response is None:
            return False  # whether it matters, the upload will show
        drain(response)
        length = response.headers.get("Content-Length")
        return response.status == 200 and (not length or length == str(descriptor.size))

    def _mountable(self, blob: Blob) -> str | None:
        """Return the repository of this registry that a blob can be mounted from."""
        origin = blob.origin
        if origin is None or origin.store != "registry":
            return None
        host, _, repository = origin.place.partition("/")
        return repository if host == self._client.registry and repository != self._repository else None

    def _put_manifest(self, manifest: BytesBlob, name: str) -> None:
        """Put a manifest under a digest or tag and check that the registry took it for what it is."""
        digest = manifest.descriptor.digest
        request = Request(
            method="PUT",
            url=f"/v2/{self._repository}/manifests/{name}",
            access=self._access,
            what=f"manifest '{self._repository}{'@' if name == digest else ':'}{name}'",
            ok=(200, 201, 202),
            headers={"Content-Type": manifest.descriptor.media_type, "Content-Length": str(len(manifest.raw))},
            body=manifest.raw,
        )
        response = self._client.request(request)
        drain(response)
        confirm(response, digest, f"manifest '{name}'", self._client.registry)
