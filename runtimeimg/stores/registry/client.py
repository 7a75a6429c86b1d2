"""The API of one registry: requests with authorization, retries, redirects, and errors that say what was wanted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from runtimeimg.errors import NotFoundError, RemoteError, RuntimeimgError, TransientError
from runtimeimg.stores.base import StoreOptions
from runtimeimg.stores.registry.address import Address, BadAddressError
from runtimeimg.stores.registry.answers import drain, next_link, read_document
from runtimeimg.stores.registry.auth import Access, Authorizer
from runtimeimg.stores.registry.failures import (
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
from runtimeimg.stores.registry.http import Body, Http, find_base
from runtimeimg.stores.registry.places import Place

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_MAX_REDIRECTS = 5
_BRIEF_ATTEMPTS = 2
"""For what can be done without: an optional request; a mirror, whose registry itself is asked then."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request of the API.

    `url` is a path of the registry, or an address that it gave (read by `location`). `ok` are the statuses that the
    caller handles. `what` is the thing asked for, for messages. A body that streams is a function, called for each
    try, and its length is in `headers`.
    """

    method: str
    url: str | Address
    access: Access
    what: str
    ok: Collection[int] = (200,)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Callable[[], Body] | None = None


class RegistryClient:
    """Speaks to one registry; may be used from several threads."""

    def __init__(self, place: Place, options: StoreOptions, timing: Timing) -> None:
        self.registry = place.registry
        self.options = options
        self.timing = timing
        self._place = place
        self._found: Address | None = None
        self._said: float | None = None
        self._finding = threading.Lock()
        self._http = Http(place, options)
        self._authorizer = Authorizer(place, self._http, options, timing)

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

    def document(self, request: Request, limit: int) -> tuple[BaseHTTPResponse, bytes]:
        """Send a request like `request` and return the response with its whole body, at most `limit` bytes."""
        budget = self.budget()
        while True:
            try:
                response = self.attempt(request)
                return response, read_document(response, self.registry, request.what, limit)
            except Passing as failure:
                budget.spend(failure)

    def attempt(self, request: Request) -> BaseHTTPResponse:
        """Send a request once, apart from authorization that is asked for; raise Passing where it may be repeated."""
        url = self.absolute(request.url)
        for _ in range(_MAX_REDIRECTS):
            response = self._authorized(request, url)
            if response.status not in _REDIRECTS or request.method not in {"GET", "HEAD"}:
                break
            drain(response)
            url = self.location(response, url)
        else:
            raise RemoteError(f"registry '{self.registry}' redirects {request.what} more than {_MAX_REDIRECTS} times")
        if response.status in request.ok:
            return response
        raise self._failure(request, response, url)

    def absolute(self, url: str | Address) -> Address:
        """Return the address of a path of the registry's API; an address is left as it is."""
        return Address.parse(url, self._base()) if isinstance(url, str) else url

    def budget(self) -> Budget:
        """Return the tries for one piece of work."""
        if self._place.mirror:
            return self._brief_budget()
        return Budget(self.options.attempts, self.timing, self.options.retry_time, self._say_waiting)

    def optional(self, request: Request) -> BaseHTTPResponse | None:
        """Send a request that the work can do without; None where it fails, which is not waited for long."""
        budget = self._brief_budget()
        while True:
            try:
                return self.attempt(request)
            except Passing as failure:
                try:
                    budget.spend(failure)
                except TransientError:
                    return None
            except (NotFoundError, RemoteError):
                return None

    def _brief_budget(self) -> Budget:
        return Budget(min(self.options.attempts, _BRIEF_ATTEMPTS), self.timing)

    def _say_waiting(self, failure: Passing) -> None:
        """Say once in a while that a registry is waited for; several transfers wait for the same one."""
        now, seconds = self.timing.monotonic(), self.options.retry_time
        with self._finding:
            said, self._said = self._said, now
        if said is None or now - said > seconds:
            self.options.progress.line(f"{failure.message}; trying again for up to {seconds:.0f} seconds")

    def location(self, response: BaseHTTPResponse, here: Address) -> Address:
        """Return the address that a response to `here` points to; TLS is never given up on the way."""
        target = response.headers.get("Location")
        if not target:
            raise RemoteError(f"registry '{self.registry}' answered {response.status} without an address to go to")
        try:
            found = Address.parse(target, here)
        except BadAddressError as error:
            raise RemoteError(f"registry '{self.registry}' points to an address that {error}") from None
        if (here.scheme, found.scheme) != ("https", "http"):
            return found
        if found.host == here.host:
            # A registry behind a proxy that ends TLS often does not know that it is reached by TLS.
            return found.as_secure(here)
        raise RemoteError(f"registry '{self.registry}' points to '{found.origin}', which is without TLS")

    def next_page(self, response: BaseHTTPResponse, here: str | Address) -> Address | None:
        """Return where a list goes on that was read from `here`: at the registry itself, or nowhere."""
        target = next_link(response)
        if target is None:
            return None
        try:
            found = Address.parse(target, self.absolute(here))
        except BadAddressError as error:
            raise RemoteError(f"registry '{self.registry}' continues a list at an address that {error}") from None
        if found.authority != self._base().authority:
            raise RemoteError(f"registry '{self.registry}' continues a list elsewhere: '{found.origin}'")
        return found

    def _base(self) -> Address:
        """Return the address of the API, which for some registries has to be found out."""
        from urllib3.exceptions import HTTPError

        with self._finding:
            if self._found is None:
                try:
                    self._found = find_base(self._place, self._http)
                except HTTPError as error:
                    raise connection_failure(error, self.registry) from error
            return self._found

    def _authorized(self, request: Request, url: Address) -> BaseHTTPResponse:
        """Send with the authorization that is known; when it is refused, once more with a new one.

        Only the registry itself gets any, wherever it sends: storages are asked without.
        """
        base = self._base()
        if url.authority != base.authority:
            return self._send(request, url, None)
        known = self._authorizer.current(request.access, base)
        response = self._send(request, url, known)
        if response.status != 401:
            return response
        challenges = response.headers.getlist("WWW-Authenticate")
        detail = error_text(drain(response))
        if not challenges:
            raise self._authorizer.refusal(request.access, detail)
        renewed = self._authorizer.answer(challenges, request.access, base, known)
        if renewed == known:
            raise self._authorizer.refusal(request.access, detail)
        response = self._send(request, url, renewed)
        if response.status == 401:
            raise self._authorizer.refusal(request.access, error_text(drain(response)))
        return response

    def _send(self, request: Request, url: Address, authorization: str | None) -> BaseHTTPResponse:
        from urllib3.exceptions import HTTPError

        headers = {"User-Agent": "runtimeimg", **request.headers}
        if authorization is not None:
            headers["Authorization"] = authorization
        body = request.body() if callable(request.body) else request.body
        try:
            return self._http.send(request.method, url, headers, body)
        except HTTPError as error:
            raise connection_failure(error, url.host_port) from error

    def _failure(self, request: Request, response: BaseHTTPResponse, url: Address) -> RuntimeimgError:
        body = drain(response)
        status, reason = response.status, response.reason or ""
        if may_pass(status):
            text = error_text(body) or printable(reason)
            message = f"registry '{self.registry}' answered {request.what} with {status} {text}"
            return Passing(message.rstrip(), wait=retry_after(response.headers))
        if status == 403 and url.authority == self._base().authority:
            return self._authorizer.refusal(request.access, error_text(body))
        return refusal(status, reason, body, request.what, self.registry)


_clients: WeakValueDictionary[tuple[Place, int, Timing], RegistryClient] = WeakValueDictionary()
_clients_lock = threading.Lock()


def client_for(place: Place, options: StoreOptions, timing: Timing) -> RegistryClient:
    """Return the client of a registry: one for all that use the same options, who so share connections and tokens.

    It lives as long as somebody uses it. As it holds its options, the key cannot come to mean others meanwhile.
    """
    key = (
        replace(place, reference=replace(place.reference, repository="", tag=None, digest=None)),
        id(options),
        timing,
    )
    with _clients_lock:
        client = _clients.get(key)
        if client is None:
            client = _clients[key] = RegistryClient(place, options, timing)
        return client
