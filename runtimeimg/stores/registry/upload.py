"""One blob on its way into a repository: mounted, sent whole or in pieces (distribution-spec, "Pushing blobs")."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable
from functools import partial
from typing import IO, TYPE_CHECKING
from urllib.parse import urlencode

from runtimeimg.errors import IntegrityError, RuntimeimgError
from runtimeimg.oci import Digest
from runtimeimg.stores.contents import Blob
from runtimeimg.stores.parallel import Stopped
from runtimeimg.stores.registry.address import Address
from runtimeimg.stores.registry.answers import count, drain
from runtimeimg.stores.registry.auth import Access
from runtimeimg.stores.registry.client import RegistryClient, Request
from runtimeimg.stores.registry.failures import Passing, printable, refusal
from runtimeimg.stores.registry.http import Body
from runtimeimg.stores.verify import CHUNK

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_PIECES = (8 * 1024 * 1024, 512 * 1024)
"""Bytes sent at once where a blob is not taken whole, and where that is still too much (nginx takes 1 MB unless told
otherwise). A piece is held in memory."""
_MAX_PIECE = 64 * 1024 * 1024
_TOO_LARGE = (405, 411, 413, 501)
OCTETS = "application/octet-stream"


class Upload:
    """The upload of one blob; `stop` ends it early, `key` is what its progress is called."""

    def __init__(self, *, client: RegistryClient, repository: str, blob: Blob, stop: threading.Event, key: str) -> None:
        self._client = client
        self._repository = repository
        self._blob = blob
        self._stop = stop
        self._key = key
        self._access = Access.push(repository)
        self._what = f"upload of blob {blob.descriptor.digest}"
        self._session: Address | None = None
        self._least = 0

    def mount(self, source: str | None) -> bool:
        """Have the registry take the blob over from another repository; False, and no fuss, when it does not.

        A registry that does not mount begins an upload instead, which `run` then uses.
        """
        if source is None:
            return False
        digest = self._blob.descriptor.digest
        request = Request(
            method="POST",
            url=f"/v2/{self._repository}/blobs/uploads/?{urlencode({'mount': digest, 'from': source})}",
            access=Access.push(self._repository, mount_from=source),
            what=f"mount of blob {digest} from '{source}'",
            ok=(201, 202),
            headers={"Content-Length": "0"},
        )
        response = self._client.optional(request)
        if response is None:
            return False  # whether this matters, the upload will show
        drain(response)
        if response.status == 202:
            self._begin(response, f"/v2/{self._repository}/blobs/uploads/")
            return False
        confirm(response, digest, f"blob {digest}", self._client.registry)
        return True

    def finish(self, session: Address) -> bool:
        """End an upload by which all bytes were sent before; tell whether the registry took them for the blob."""
        try:
            self._finish(session, 0, b"")
        except (RuntimeimgError, _TooLarge):
            self._restart_progress()
            return False
        self._client.options.account.add(uploaded_bytes=self._blob.descriptor.size)
        return True

    def run(self) -> None:
        """Send the blob, anew as a whole when that fails on the way, in chunks when it is not taken whole."""
        budget = self._client.budget()
        pieces = iter(_PIECES)
        send = self._send_whole
        damaged = 0
        while True:
            try:
                send()
            except IntegrityError:
                damaged += 1
                if damaged > 1:
                    raise
            except _TooLarge as refused:
                if (piece := next(pieces, None)) is None:
                    raise refused.reason from None
                send = partial(self._send_pieces, piece)
            except Passing as failure:
                budget.spend(failure)
            else:
                self._client.options.account.add(uploaded_bytes=self._blob.descriptor.size)
                return
            self._session = None
            self._restart_progress()

    def _send_whole(self) -> None:
        """Send all bytes with the request that ends the upload."""
        size = self._blob.descriptor.size
        with contextlib.ExitStack() as stack:

            def body() -> Streamed:
                return Streamed(stack.enter_context(self._blob.open()), self._moved)

            self._finish(self._open_session(), size, body)

    def _send_pieces(self, length: int) -> None:
        """Send the bytes in several requests, then end the upload."""
        self._open_session()
        length = min(max(length, self._least), _MAX_PIECE)
        offset = 0
        with self._blob.open() as reader:
            while piece := _read_up_to(reader, length):
                self._send_piece(piece, offset)
                offset += len(piece)
        assert self._session is not None
        self._finish(self._session, 0, b"")

    def _send_piece(self, piece: bytes, start: int) -> None:
        """Send one piece; what of it has arrived when the connection breaks is not sent again."""
        budget = self._client.budget()
        sent = 0
        while sent < len(piece):
            if self._stop.is_set():
                raise Stopped
            try:
                self._patch(piece[sent:], start + sent)
            except Passing as failure:
                budget.spend(failure)
                sent = self._arrived() - start
                if not 0 <= sent <= len(piece):
                    raise Passing(f"registry '{self._client.registry}' lost the {self._what}") from failure
            else:
                sent = len(piece)
        self._moved(len(piece))

    def _patch(self, data: bytes, start: int) -> None:
        assert self._session is not None
        headers = {
            "Content-Type": OCTETS,
            "Content-Length": str(len(data)),
            "Content-Range": f"{start}-{start + len(data) - 1}",
        }
        response = self._attempt("PATCH", self._session, (202, 404, 416, *_TOO_LARGE), headers, data)
        if response.status in _TOO_LARGE:
            raise _TooLarge(self._refusal(response))
        if response.status != 202:
            raise Passing(f"registry '{self._client.registry}' answered {self._what} with {response.status}")
        if response.headers.get("Location"):
            self._session = self._client.location(response, self._session)

    def _arrived(self) -> int:
        """Return how many bytes of the upload the registry has (distribution-spec, "Pushing a blob in chunks")."""
        assert self._session is not None
        response = self._attempt("GET", self._session, (200, 204, 404), {})
        said = re.fullmatch(r"(?:bytes=)?0-([0-9]{1,15})", response.headers.get("Range") or "")
        if response.status == 404 or said is None:
            raise Passing(f"registry '{self._client.registry}' lost the {self._what}")
        if response.headers.get("Location"):
            self._session = self._client.location(response, self._session)
        return int(said[1]) + 1 if said[1] != "0" else 0

    def _open_session(self) -> Address:
        """Return the address to send to: of the upload that a refused mount began, or of a new one."""
        if self._session is None:
            url = f"/v2/{self._repository}/blobs/uploads/"
            self._begin(self._attempt("POST", url, (202,), {"Content-Length": "0"}), url)
        assert self._session is not None
        return self._session

    def _begin(self, response: BaseHTTPResponse, url: str) -> None:
        self._session = self._client.location(response, self._client.absolute(url))
        self._least = count(response.headers.get("OCI-Chunk-Min-Length")) or 0

    def _finish(self, session: Address, length: int, body: bytes | Callable[[], Streamed]) -> None:
        """End the upload by naming its digest; `body` are the bytes still to be sent."""
        digest = self._blob.descriptor.digest
        url = session.with_query([("digest", digest)])
        headers = {"Content-Type": OCTETS, "Content-Length": str(length)}
        response = self._attempt("PUT", url, (201, 204, 404, 416, *_TOO_LARGE), headers, body)
        if response.status in _TOO_LARGE:
            raise _TooLarge(self._refusal(response))
        if response.status in {404, 416}:
            raise Passing(f"registry '{self._client.registry}' lost the {self._what}")
        confirm(response, digest, f"blob {digest}", self._client.registry)

    def _attempt(
        self,
        method: str,
        url: str | Address,
        ok: tuple[int, ...],
        headers: dict[str, str],
        body: bytes | Callable[[], Streamed] | None = None,
    ) -> BaseHTTPResponse:
        request = Request(
            method=method, url=url, access=self._access, what=self._what, ok=ok, headers=headers, body=body
        )
        response = self._client.attempt(request)
        drain(response)
        return response

    def _refusal(self, response: BaseHTTPResponse) -> RuntimeimgError:
        return refusal(response.status, response.reason or "", b"", self._what, self._client.registry)

    def _moved(self, count: int) -> None:
        if self._stop.is_set():
            raise Stopped
        self._client.options.progress.advance(self._key, count)

    def _restart_progress(self) -> None:
        descriptor = self._blob.descriptor
        label = f"push {self._client.registry}/{self._repository} {descriptor.digest.short}"
        self._client.options.progress.start(self._key, label, descriptor.size)


class _TooLarge(Exception):  # noqa: N818 - it only carries the error from one way of sending to the next
    """The registry, or a proxy before it, does not take so many bytes at once."""

    def __init__(self, reason: RuntimeimgError) -> None:
        super().__init__(reason.message)
        self.reason = reason


class Streamed:
    """A reader as the body of a request: its own failures are told from those of the connection."""

    def __init__(self, reader: Body, moved: Callable[[int], None]) -> None:
        self._reader = reader
        self._moved = moved

    def read(self, count: int, /) -> bytes:
        """Return up to `count` bytes, none at the end."""
        try:
            data = self._reader.read(count)
        except OSError as error:
            raise RuntimeimgError(
                f"a blob to upload cannot be read: {(error.strerror or str(error)).lower()}"
            ) from error
        self._moved(len(data))
        return data


def call_off(client: RegistryClient, session: Address, access: Access, what: str) -> None:
    """Have the registry forget an upload that was begun; one that cannot do so forgets it in time."""
    request = Request(method="DELETE", url=session, access=access, what=what, ok=(200, 202, 204, 404, 405))
    with contextlib.suppress(RuntimeimgError):
        drain(client.attempt(request))


def confirm(response: BaseHTTPResponse, digest: Digest, what: str, host: str) -> None:
    """Raise IntegrityError when a registry says that it took something else than was sent."""
    said = response.headers.get("Docker-Content-Digest")
    if said and said.startswith(f"{digest.algorithm}:") and said != digest:
        raise IntegrityError(f"registry '{host}' took {what} as '{printable(said[:140])}', not as {digest}")


def _read_up_to(reader: IO[bytes], count: int) -> bytes:
    parts = []
    while count and (data := reader.read(min(count, CHUNK))):
        parts.append(data)
        count -= len(data)
    return b"".join(parts)
