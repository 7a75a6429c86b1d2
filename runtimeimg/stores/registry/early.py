"""Blobs sent to a registry while they are made.

An upload is begun with the first mebibytes, and what follows is one request without a length, as Docker's own push has
it (distribution-spec, "Pushing a blob in chunks"). Nothing is in the repository before the request that names the
digest, which `Upload.finish` sends when the image is written; an upload that comes to nothing is called off. Whatever
goes wrong on the way is no failure: the blob is then sent when the image is written, as others are.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetError
from pathlib import Path

from runtimeimg.errors import RuntimeimgError
from runtimeimg.oci import Descriptor, Digest
from runtimeimg.remains import held
from runtimeimg.stores.growing import Growing, Making
from runtimeimg.stores.parallel import WORKERS, Stopped
from runtimeimg.stores.registry.address import Address
from runtimeimg.stores.registry.answers import drain, read_document
from runtimeimg.stores.registry.auth import Access
from runtimeimg.stores.registry.client import RegistryClient, Request
from runtimeimg.stores.registry.upload import OCTETS, Streamed, call_off

LEAST = 4 << 20
"""Bytes of a blob that is worth it."""
_MAX_LIST = 1 << 16
_LOOK_UP = 0.1


class EarlyUploads:
    """Uploads into one repository of blobs that are being made; see `Early`. Close it to call off what is left."""

    def __init__(self, client: RegistryClient, repository: str) -> None:
        self.client = client
        self.repository = repository
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="early")
        self._begun: list[EarlyUpload] = []
        self._asked = threading.Lock()
        self._empty: bool | None = None

    def begin(self, path: Path, *, new: bool) -> Making:
        """Send what is being written to `path` where the repository is not likely to have it."""
        upload = EarlyUpload(self, path, new=new)
        upload.future = self._pool.submit(upload.send)
        self._begun.append(upload)
        return upload

    def forget(self) -> None:
        """End all uploads; they are called off when this is closed."""
        for upload in self._begun:
            upload.dropped()

    def take(self, digest: Digest) -> EarlyUpload | None:
        """Return the upload of a blob, None where none was begun."""
        for upload in self._begun:
            if upload.digest == digest and upload.future is not None and not upload.future.cancel():
                return upload
        return None

    def close(self) -> None:
        """End and call off the uploads that came to nothing."""
        self.forget()
        self._pool.shutdown(cancel_futures=True)
        for upload in self._begun:
            upload.call_off()
        self._begun.clear()

    def is_empty(self) -> bool:
        """Tell whether the repository has no tag, and so hardly a blob that anybody would find there again."""
        with self._asked:
            if self._empty is None:
                self._empty = self._asks_for_tags()
            return self._empty

    def _asks_for_tags(self) -> bool:
        request = Request(
            method="GET",
            url=f"/v2/{self.repository}/tags/list?n=1",
            access=Access.push(self.repository),
            what=f"the tags of '{self.repository}'",
            ok=(200, 404),
        )
        response = self.client.optional(request)
        if response is None:
            return False
        if response.status == 404:
            drain(response)
            return True
        try:
            answer = json.loads(read_document(response, self.client.registry, request.what, _MAX_LIST))
            return not answer["tags"]
        except (RuntimeimgError, ValueError, LookupError, TypeError, RecursionError):
            return False


class EarlyUpload:
    """The upload of one blob that is being made."""

    def __init__(self, uploads: EarlyUploads, path: Path, *, new: bool) -> None:
        self._uploads = uploads
        self._growing = Growing(path)
        self._new = new
        self._session: Address | None = None
        self._sent = 0
        self.digest: Digest | None = None
        self.future: Future[bool] | None = None

    def grown(self, size: int) -> None:
        """Tell that the first `size` bytes are in the file."""
        self._growing.grown(size)

    def finished(self, descriptor: Descriptor) -> None:
        """Tell that it is whole, and what it came to."""
        self.digest = descriptor.digest
        self._growing.end()

    def dropped(self) -> None:
        """Tell that nothing comes of it."""
        self.digest = None
        self._growing.drop()

    def send(self) -> bool:
        """Send the blob as it comes, and tell whether all of it was sent."""
        try:
            if self._growing.wait_for(LEAST) < LEAST or not (self._new or self._uploads.is_empty()):
                return False
            client, repository = self._uploads.client, self._uploads.repository
            held.add(self, f"an upload to '{client.registry}/{repository}' was begun; the registry forgets it")
            self._attempt("POST", f"/v2/{repository}/blobs/uploads/", {"Content-Length": "0"})
            with contextlib.ExitStack() as stack:

                def body() -> Streamed:
                    self._sent = 0
                    return Streamed(stack.enter_context(self._growing.open()), self._moved)

                assert self._session is not None
                self._attempt("PATCH", self._session, {"Content-Type": OCTETS}, body)
        except (RuntimeimgError, OSError, Stopped):
            return False
        return True

    def wait(self, stop: threading.Event, moved: Callable[[int], None]) -> Address | None:
        """Return the address of the upload when all bytes are sent, None where they could not be sent.

        `moved` is told how many bytes more were sent meanwhile; Stopped is raised when `stop` is set.
        """
        assert self.future is not None
        told = 0
        while True:
            try:
                sent = self.future.result(_LOOK_UP)
            except NotYetError:
                sent = None
            moved(self._sent - told)
            told = self._sent
            if sent is not None:
                break
            if stop.is_set():
                raise Stopped
        if not sent:
            moved(-told)
            self.call_off()
            return None
        session, self._session = self._session, None
        held.drop(self)
        return session

    def call_off(self) -> None:
        """Have the registry forget what was sent of it; one that cannot do so forgets it in time."""
        held.drop(self)
        if self._session is not None:
            client, repository = self._uploads.client, self._uploads.repository
            client.options.account.add(uploaded_bytes=self._sent)
            call_off(client, self._session, Access.push(repository), _what(repository))
            self._session = None

    def _attempt(
        self, method: str, url: str | Address, headers: dict[str, str], body: Callable[[], Streamed] | None = None
    ) -> None:
        """Send a request of the upload, and note the address that the next one goes to."""
        client, repository = self._uploads.client, self._uploads.repository
        request = Request(
            method=method,
            url=url,
            access=Access.push(repository),
            what=_what(repository),
            ok=(202,),
            headers=headers,
            body=body,
        )
        response = client.attempt(request)
        drain(response)
        if self._session is None or response.headers.get("Location"):
            self._session = client.location(response, client.absolute(url))

    def _moved(self, count: int) -> None:
        self._sent += count


def _what(repository: str) -> str:
    return f"upload to '{repository}'"
