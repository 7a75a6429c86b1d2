"""Images out of a registry (OCI distribution-spec, "Pull")."""

from __future__ import annotations

import contextlib
import re
from typing import IO, TYPE_CHECKING

from runtimeimg.budgets import MAX_DOCUMENT
from runtimeimg.errors import (
    IntegrityError,
    InvalidDocumentError,
    NotFoundError,
    RemoteError,
    RuntimeimgError,
    TransientError,
    UsageError,
)
from runtimeimg.image import Image, ImageIndex, Origin
from runtimeimg.oci import Descriptor, Digest, Reference
from runtimeimg.oci.mediatypes import DOCKER_INDEX, DOCKER_MANIFEST, INDEXES, MANIFESTS, OCI_INDEX, OCI_MANIFEST
from runtimeimg.stores.base import StoreOptions
from runtimeimg.stores.missing import elsewhere
from runtimeimg.stores.opening import open_top
from runtimeimg.stores.registry.answers import count, refuse_page
from runtimeimg.stores.registry.auth import Access
from runtimeimg.stores.registry.client import RegistryClient, Request, client_for
from runtimeimg.stores.registry.failures import Passing, Timing, connection_failure, printable
from runtimeimg.stores.registry.places import Place, meanings, pull_places
from runtimeimg.stores.verify import CHUNK, check_bytes, once_more, verified

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

ACCEPT = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST))
_REPORT = 256 * 1024


class RegistrySource:
    """An image or index in a registry, or in one of its mirrors: all of it comes from where its manifest came from."""

    def __init__(self, reference: Reference, options: StoreOptions, *, timing: Timing | None = None) -> None:
        self._reference = reference.tagged
        self._options = options
        self._timing = timing or Timing()
        self.name = f"docker://{self._reference}"

    def open(self) -> Image | ImageIndex:
        """Return what the name stands for, its documents verified; NotFoundError when it is not there."""
        found = meanings(self._reference, self._options)
        for number, reference in enumerate(found, 1):
            try:
                return self._open(reference)
            except RuntimeimgError as error:
                if isinstance(error, UsageError) or len(found) == 1:
                    raise
                if number == len(found):
                    raise _nowhere(self._reference, found, error) from None
        raise AssertionError  # a name means something

    def _open(self, reference: Reference) -> Image | ImageIndex:
        """Return the image from the first place that gives it; what keeps a mirror from it is not told."""
        *mirrors, own = pull_places(reference, self._options)
        for place in mirrors:
            with contextlib.suppress(NotFoundError, RemoteError, TransientError):
                return self._open_at(place)
        return self._open_at(own)

    def _open_at(self, place: Place) -> Image | ImageIndex:
        client = client_for(place, self._options, self._timing)
        raw, media_type = once_more(lambda: fetch_manifest(client, place.reference))
        blobs = RegistryBlobs(client, place.repository, f"docker://{place.reference}")
        return open_top(raw, media_type, blobs, self._options.max_top)


def _nowhere(name: Reference, tried: tuple[Reference, ...], last: RuntimeimgError) -> RuntimeimgError:
    """Return the error for a name that none of the registries to search gave."""
    where = ", ".join(reference.registry for reference in tried)
    message = f"image '{name.familiar}' is in none of the registries that are searched for it: {where}"
    if isinstance(last, NotFoundError):
        return NotFoundError(message, hint="write it with its registry")
    return type(last)(f"{message} (the last one: {last})", hint="write it with its registry")


class RegistryBlobs:
    """The blobs of a repository."""

    def __init__(self, client: RegistryClient, repository: str, name: str) -> None:
        self._client = client
        self._repository = repository
        self.name = name

    def open_blob(self, descriptor: Descriptor) -> IO[bytes]:
        """Return a verified reader that takes a broken connection up again where it broke."""
        download = Download(self._client, self._repository, descriptor)
        return verified(download, descriptor, f"blob {descriptor.digest} from '{self._client.registry}'")

    def open_range(self, descriptor: Descriptor, start: int, end: int) -> Download:
        """Open the bytes of a blob from one offset up to another; they are not verified."""
        return Download(self._client, self._repository, descriptor, part=(start, end))

    def open_manifest(self, descriptor: Descriptor) -> IO[bytes]:
        """Return a verified reader of a manifest."""
        download = Download(self._client, self._repository, descriptor, kind="manifests", accept=descriptor.media_type)
        return verified(download, descriptor, f"manifest {descriptor.digest} from '{self._client.registry}'")

    def origin(self, descriptor: Descriptor) -> Origin:  # noqa: ARG002 - all blobs lie in the repository
        """Tell the repository."""
        return Origin(store="registry", place=f"{self._client.registry}/{self._repository}")


def fetch_manifest(client: RegistryClient, reference: Reference) -> tuple[bytes, str | None]:
    """Return the bytes of what a reference names, verified as far as it can be, and the media type that was said."""
    request = Request(
        method="GET",
        url=f"/v2/{reference.repository}/manifests/{reference.selector}",
        access=Access.pull(reference.repository),
        what=f"manifest '{reference.repository}:{reference.selector}'".replace(":sha", "@sha"),
        headers={"Accept": ACCEPT},
    )
    try:
        response, raw = client.document(request, MAX_DOCUMENT)
    except NotFoundError:
        raise NotFoundError(
            f"image 'docker://{reference}' does not exist",
            hint=f"registry '{client.registry}' has no such manifest",
        ) from None
    promised = reference.digest or _header_digest(response)
    if promised is not None:
        check_bytes(raw, promised, f"manifest of 'docker://{reference}'")
    if raw.lstrip()[:1] != b"{":
        raise RemoteError(f"registry '{client.registry}' answered {request.what} with something that is no manifest")
    return raw, _media_type(response)


def _header_digest(response: BaseHTTPResponse) -> Digest | None:
    value = response.headers.get("Docker-Content-Digest")
    try:
        return Digest.parse(value) if value else None
    except InvalidDocumentError:
        return None  # an algorithm that is not known here; the bytes are named by their own digest from here on


def _media_type(response: BaseHTTPResponse) -> str | None:
    """Return the Content-Type where it says something: some registries serve every document as plain JSON."""
    value = (response.headers.get("Content-Type") or "").partition(";")[0].strip()
    return value if value in INDEXES | MANIFESTS or value.startswith("application/vnd.docker.distribution") else None


class Download:
    """The bytes of a blob or manifest as they come; a connection that breaks is made again from there (RFC 9110, 14).

    `part` are the offsets of the first byte that is wanted and of the one behind the last; all by default. Tries are
    counted anew whenever a megabyte has come through. Nothing is verified here.
    """

    def __init__(
        self,
        client: RegistryClient,
        repository: str,
        descriptor: Descriptor,
        *,
        kind: str = "blobs",
        accept: str | None = None,
        part: tuple[int, int] | None = None,
    ) -> None:
        self._client = client
        self._descriptor = descriptor
        self._start, self._end = part or (0, descriptor.size)
        self._what = f"{kind[:-1]} {descriptor.digest}"
        self._place = f"{client.registry}/{repository}"
        self._url = f"/v2/{repository}/{kind}/{descriptor.digest}"
        self._access = Access.pull(repository)
        self._accept = {"Accept": accept} if accept else {}
        self._counted = kind == "blobs"
        self._response: BaseHTTPResponse | None = None
        self._offset = self._mark = self._start
        self._unreported = 0
        self._budget = client.budget()
        self._key = f"pull {descriptor.digest}"
        self._begun = False

    def read(self, count: int, /) -> bytes:
        """Return up to `count` bytes, none at the end."""
        if self._is_part:
            count = min(count, self._end - self._offset)
            if not count:
                return b""
        while True:
            try:
                data = self._read(count)
            except Passing as failure:
                self._drop()
                self._budget.spend(failure)
                continue
            self._note(len(data))
            return data

    def close(self) -> None:
        """Close the connection, unless all was read and it can be used again."""
        self._drop()
        self._report()
        if self._begun:
            self._begun = False
            self._client.options.progress.done(self._key)

    @property
    def _is_part(self) -> bool:
        return (self._start, self._end) != (0, self._descriptor.size)

    def _read(self, count: int) -> bytes:
        from urllib3.exceptions import HTTPError

        if self._response is None:
            self._response = self._connect()
        try:
            data = self._response.read(count)
        except HTTPError as error:
            raise connection_failure(error, self._client.registry) from error
        if not data and self._offset < self._end:
            raise Passing(f"registry '{self._client.registry}' ended {self._what} early")
        return data

    def _connect(self) -> BaseHTTPResponse:
        """Ask for what is still wanted; a registry without ranges sends all, and what was there is passed over."""
        ranged = self._offset > 0 or self._is_part
        wanted = f"bytes={self._offset}-{self._end - 1 if self._is_part else ''}"
        headers = {**self._accept, **({"Range": wanted} if ranged else {})}
        request = Request(
            method="GET",
            url=self._url,
            access=self._access,
            what=self._what,
            ok=(200, 206) if ranged else (200,),
            headers=headers,
        )
        try:
            response = self._client.attempt(request)
        except NotFoundError as error:
            raise NotFoundError(error.message, hint=elsewhere(self._descriptor) or error.hint) from error
        begin = self._offset if response.status == 206 else 0
        if response.status == 206:
            said = re.match(r"bytes ([0-9]+)-", response.headers.get("Content-Range") or "")
            if said is None or count(said[1]) != self._offset:
                response.close()
                raise RemoteError(
                    f"registry '{self._client.registry}' sent another part of {self._what} than was asked for"
                )
        refuse_page(response, self._client.registry, self._what)
        length = response.headers.get("Content-Length")
        end = self._end if response.status == 206 else self._descriptor.size
        if length and (count(length) or 0) + begin != end:
            response.close()
            raise IntegrityError(
                f"{self._what} from '{self._client.registry}' is {printable(length)} bytes, "
                f"not the {end - begin} of its descriptor"
            )
        self._skip(response, self._offset - begin)
        return response

    def _skip(self, response: BaseHTTPResponse, count: int) -> None:
        from urllib3.exceptions import HTTPError

        try:
            while count and (data := response.read(min(count, CHUNK))):
                count -= len(data)
        except HTTPError as error:
            response.close()
            raise connection_failure(error, self._client.registry) from error
        if count:
            response.close()
            raise Passing(f"registry '{self._client.registry}' ended {self._what} early")

    def _note(self, count: int) -> None:
        if self._counted and not self._begun:
            self._begun = True
            label = f"pull {self._place} {self._descriptor.digest.short}"
            self._client.options.progress.start(self._key, label, self._end - self._start)
        self._offset += count
        self._unreported += count
        if self._unreported >= _REPORT:
            self._report()
        if self._offset - self._mark >= CHUNK:
            self._mark = self._offset
            self._budget.refill()

    def _report(self) -> None:
        if self._counted and self._unreported:
            self._client.options.account.add(downloaded_bytes=self._unreported)
            self._client.options.progress.advance(self._key, self._unreported)
        self._unreported = 0

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None
