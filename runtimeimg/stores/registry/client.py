"""The API of one registry: requests with authorization, retries, redirects, and errors that say what was wanted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit
from weakref import WeakValueDictionary

from runtimeimg.errors import RemoteError, RuntimeimgError
from runtimeimg.stores.base import StoreOptions
from runtimeimg.stores.registry.auth import Access, Authorizer
from runtimeimg.stores.registry.failures import (
    MAX_ERROR_BODY,
    Budget,
    Passing,
    Timing,
    connection_failure,
    error_text,
    may_pass,
    printable,
    refusal,
    retry_after,
)
from runtimeimg.stores.registry.http import Body, Http, base_url

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request of the API.

    `url` is a path below the registry's address, or an address that the registry gave. `ok` are the statuses that the
    caller handles. `what` is the thing asked for, for messages. A body that streams is a function, called for each
    try, and its length is in `headers`.
    """

    method: str
    url: str
    access: Access
    what: str
    ok: Collection[int] = (200,)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Callable[[], Body] | None = None


class RegistryClient:
    """Speaks to one registry; may be used from several threads."""

    def __init__(self, registry: str, options: StoreOptions, timing: Timing) -> None:
        self.registry = registry
        self.options = options
        self.timing = timing
        self._base = base_url(registry, options)
        self._http = Http(options)
        self._authorizer = Authorizer(registry, self._base, self._http, options, timing)

    def request(self, request: Request) -> BaseHTTPResponse:
        """Send a request until it is answered by something that another try would not change.

        Returns a response with one of the statuses in `ok`, its body unread. Raises NotFoundError (404), AuthError,
        RemoteError for what is refused for good, TransientError when all tries are used up.
        """
        budget = self.budget()
        while True:
            try:
                return self.attempt(request)
            except Passing as failure:
                budget.spend(failure)

    def attempt(self, request: Request) -> BaseHTTPResponse:
        """Send a request once, apart from authorization that is asked for; raise Passing where it may be repeated."""
        url = self.absolute(request.url)
        for _ in range(_MAX_REDIRECTS):
            response = self._authorized(request, url)
            if response.status not in _REDIRECTS or request.method not in {"GET", "HEAD"}:
                break
            url = self.location(response, url)
            drain(response)
        else:
            raise RemoteError(f"registry '{self.registry}' redirects {request.what} more than {_MAX_REDIRECTS} times")
        if response.status in request.ok:
            return response
        raise self._failure(request, response, url)

    def absolute(self, url: str) -> str:
        """Return the address of a path of the registry's API; an address is left as it is."""
        return urljoin(self._base + "/", url)

    def budget(self) -> Budget:
        """Return the tries for one piece of work."""
        return Budget(self.options.attempts, self.timing)

    def location(self, response: BaseHTTPResponse, url: str) -> str:
        """Return the absolute address that a response to `url` points to; TLS is never given up on the way."""
        target = response.headers.get("Location")
        if not target:
            raise RemoteError(f"registry '{self.registry}' answered {response.status} without an address to go to")
        found, here = urljoin(url, target), urlsplit(url)
        parts = urlsplit(found)
        if here.scheme == "https" and parts.scheme == "http" and parts.hostname == here.hostname:
            # A registry behind a proxy that ends TLS often does not know that it is reached by TLS.
            return parts._replace(scheme="https", netloc=here.netloc).geturl()
        if (
            parts.scheme not in {"http", "https"}
            or not parts.hostname
            or (here.scheme, parts.scheme) == ("https", "http")
        ):
            shown = f"{parts.scheme}://{parts.netloc}"
            raise RemoteError(f"registry '{self.registry}' points to '{printable(shown)}', which is not gone to")
        return found

    def _authorized(self, request: Request, url: str) -> BaseHTTPResponse:
        """Send with the authorization that is known; when it is refused, once more with a new one."""
        if _authority(url) != _authority(self._base):
            return self._send(request, url, None)
        known = self._authorizer.current(request.access)
        response = self._send(request, url, known)
        if response.status != 401:
            return response
        challenges = response.headers.getlist("WWW-Authenticate")
        detail = error_text(drain(response))
        if not challenges:
            raise self._authorizer.refusal(request.access, detail)
        renewed = self._authorizer.answer(challenges, request.access, known)
        if renewed == known:
            raise self._authorizer.refusal(request.access, detail)
        response = self._send(request, url, renewed)
        if response.status == 401:
            raise self._authorizer.refusal(request.access, error_text(drain(response)))
        return response

    def _send(self, request: Request, url: str, authorization: str | None) -> BaseHTTPResponse:
        from urllib3.exceptions import HTTPError

        headers = {"User-Agent": "runtimeimg", **request.headers}
        if authorization is not None:
            headers["Authorization"] = authorization
        body = request.body() if callable(request.body) else request.body
        try:
            return self._http.send(request.method, url, headers, body)
        except HTTPError as error:
            raise connection_failure(error, urlsplit(url).netloc.rpartition("@")[2]) from error

    def _failure(self, request: Request, response: BaseHTTPResponse, url: str) -> RuntimeimgError:
        body = drain(response)
        status, reason = response.status, response.reason or ""
        if may_pass(status):
            text = error_text(body) or printable(reason)
            message = f"registry '{self.registry}' answered {request.what} with {status} {text}"
            return Passing(message.rstrip(), wait=retry_after(response.headers))
        if status == 403 and _authority(url) == _authority(self._base):
            return self._authorizer.refusal(request.access, error_text(body))
        return refusal(status, reason, body, request.what, self.registry)


_clients: WeakValueDictionary[tuple[str, int, Timing], RegistryClient] = WeakValueDictionary()
_clients_lock = threading.Lock()


def client_for(registry: str, options: StoreOptions, timing: Timing) -> RegistryClient:
    """Return the client of a registry: one for all that use the same options, who so share connections and tokens.

    It lives as long as somebody uses it. As it holds its options, the key cannot come to mean others meanwhile.
    """
    key = (registry, id(options), timing)
    with _clients_lock:
        client = _clients.get(key)
        if client is None:
            client = _clients[key] = RegistryClient(registry, options, timing)
        return client


def drain(response: BaseHTTPResponse) -> bytes:
    """Return the first bytes of a body that nobody needs, and let its connection go on to be used or closed."""
    from urllib3.exceptions import HTTPError

    body = b""
    try:
        while len(body) <= MAX_ERROR_BODY and (data := response.read(MAX_ERROR_BODY)):
            body += data
    except HTTPError:
        body = b""  # what it said is lost; its status is not
    response.close()
    return body


def _authority(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
