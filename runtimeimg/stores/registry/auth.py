"""Authorization: challenges parsed, tokens fetched and kept (distribution's token specification, RFC 9110, 11)."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from runtimeimg.errors import AuthError, InvalidDocumentError, NoTlsError, RemoteError, RuntimeimgError
from runtimeimg.oci.documents import load_json
from runtimeimg.stores.base import StoreOptions
from runtimeimg.stores.registry.address import Address, BadAddressError
from runtimeimg.stores.registry.answers import drain, read_document
from runtimeimg.stores.registry.credentials import Login, find_login
from runtimeimg.stores.registry.failures import (
    Passing,
    Timing,
    connection_failure,
    error_text,
    may_pass,
    printable,
    retry_after,
)
from runtimeimg.stores.registry.http import Http, is_loopback
from runtimeimg.stores.registry.places import Place

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_MAX_TOKEN_ANSWER = 1024 * 1024
_MAX_CHALLENGE = 16 * 1024
_DEFAULT_LIFE = 60.0
_LONGEST_LIFE = 10**9
_MARGIN = 10.0
_CLIENT = "runtimeimg"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PARAMETER = re.compile(r'[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"=]+))')
_TOKEN68 = re.compile(r"(?:[ \t]+[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|\Z)))?")
_GAP = re.compile(r"[\s,]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One authentication scheme that a server offers, its name in lower case, with its parameters."""

    scheme: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a request needs: the repository whose login is used, and the scopes of its token."""

    repository: str
    scopes: tuple[str, ...]

    @classmethod
    def pull(cls, repository: str) -> Access:
        """Return what reading takes."""
        return cls(repository=repository, scopes=(f"repository:{repository}:pull",))

    @classmethod
    def push(cls, repository: str, mount_from: str | None = None) -> Access:
        """Return what writing takes, and reading the repository that a blob is mounted from."""
        scopes = (f"repository:{repository}:pull,push",)
        return cls(repository=repository, scopes=scopes + ((f"repository:{mount_from}:pull",) if mount_from else ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grant:
    header: str = field(repr=False)
    until: float


def parse_challenges(values: Iterable[str]) -> tuple[Challenge, ...]:
    """Return the challenges of WWW-Authenticate headers; what is not understood is passed over."""
    found: list[Challenge] = []
    for value in values:
        text, at = value[:_MAX_CHALLENGE], 0
        parameters: dict[str, str] = {}
        while True:
            at = _GAP.match(text, at).end()  # type: ignore[union-attr] # it matches nothing too
            name = _TOKEN.match(text, at)
            if name is None:
                break
            at = name.end()
            parameter = _PARAMETER.match(text, at)
            if parameter is None:
                parameters = {}
                found.append(Challenge(scheme=name[0].lower(), parameters=parameters))
                at = _TOKEN68.match(text, at).end()  # type: ignore[union-attr] # it matches nothing too
            else:
                quoted, plain = parameter.groups()
                parameters[name[0].lower()] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                at = parameter.end()
    return tuple(found)


def merge_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """Return scopes with the actions on the same resource put together, in order."""
    actions: dict[str, list[str]] = {}
    for scope in scopes:
        resource, colon, wanted = scope.rpartition(":")
        if colon and resource:
            known = actions.setdefault(resource, [])
            known += [action for action in wanted.split(",") if action and action not in known]
    return tuple(f"{resource}:{','.join(wanted)}" for resource, wanted in actions.items())


class Authorizer:
    """The authorizations of one registry: what it asked for, and the tokens that were granted.

    A login goes to the registry that it is for, and to the token server that this registry itself names: over TLS, or
    where the registry is spoken to in plain HTTP, on its own host, on this machine, or to a host of --plain-http.
    What is asked for there is the repository and the actions at hand, whatever scope the registry would have named.
    """

    def __init__(self, place: Place, http: Http, options: StoreOptions, timing: Timing) -> None:
        self._registry = place.registry
        self._http = http
        self._options = options
        self._timing = timing
        self._lock = threading.Lock()
        self._challenge: Challenge | None = None
        self._grants: dict[Access, _Grant] = {}
        self._logins: dict[str, Login | None] = {}

    def current(self, access: Access, base: Address) -> str | None:
        """Return the Authorization header for `access`, a new token fetched where it is known that one is needed.

        `base` is the address of the registry's API.
        """
        with self._lock:
            grant = self._grants.get(access)
            if grant is not None and self._timing.monotonic() < grant.until:
                return grant.header
            return self._obtain(self._challenge, access, base) if self._challenge is not None else None

    def answer(self, challenges: Iterable[str], access: Access, base: Address, refused: str | None) -> str:
        """Return another Authorization header after `refused` was; AuthError when there can be none."""
        with self._lock:
            grant = self._grants.get(access)
            if grant is not None and grant.header != refused:
                return grant.header
            offered = {challenge.scheme: challenge for challenge in reversed(parse_challenges(challenges))}
            chosen = offered.get("bearer") or offered.get("basic")
            if chosen is None:
                kinds = printable(", ".join(sorted(offered))) or "none"
                raise AuthError(f"registry '{self._registry}' offers no way to log in that is known (offered: {kinds})")
            self._challenge = chosen
            return self._obtain(chosen, access, base)

    def login(self, repository: str) -> Login | None:
        """Return the login that is used for a repository."""
        if repository not in self._logins:
            self._logins[repository] = find_login(self._registry, repository, self._options)
        return self._logins[repository]

    def refusal(self, access: Access, detail: str) -> AuthError:
        """Return the error for a request that was refused although all was done for it."""
        login = self.login(access.repository)
        end = f": {detail}" if detail else ""
        if login is None:
            return AuthError(
                f"registry '{self._registry}' refused access to '{access.repository}' without a login{end}",
                hint=f"check the name; if it is right, log in first: docker login {self._registry}",
            )
        if self._challenge is not None and self._challenge.scheme == "basic":
            return self._login_refused(login, detail)
        return AuthError(
            f"registry '{self._registry}' refused access to '{access.repository}' "
            f"with the login from '{login.origin}'{end}"
        )

    def _login_refused(self, login: Login, detail: str) -> AuthError:
        end = f": {detail}" if detail else ""
        return AuthError(
            f"login for '{self._registry}' from '{login.origin}' was refused{end}",
            hint=f"log in again: docker login {self._registry}",
        )

    def _obtain(self, challenge: Challenge, access: Access, base: Address) -> str:
        login = self.login(access.repository)
        if challenge.scheme == "basic":
            if login is None or not login.username:
                raise self.refusal(access, "")
            grant = _Grant(header=login.basic, until=float("inf"))
        else:
            grant = self._fetch_token(challenge, access, base, login)
        self._grants[access] = grant
        return grant.header

    def _fetch_token(self, challenge: Challenge, access: Access, base: Address, login: Login | None) -> _Grant:
        from urllib3.exceptions import HTTPError

        realm = self._realm(challenge, base, login)
        service = challenge.parameters.get("service", "")
        try:
            response = self._ask(realm, service, merge_scopes(access.scopes), login)
        except HTTPError as error:
            raise connection_failure(error, realm.host_port) from error
        if response.status != 200:
            raise self._ungranted(response, access, login, realm.origin)
        body = read_document(response, realm.host_port, "the request for a token", _MAX_TOKEN_ANSWER)
        return self._granted(body, realm.origin)

    def _realm(self, challenge: Challenge, base: Address, login: Login | None) -> Address:
        """Return the token server that a challenge names, where it may be asked."""
        try:
            realm = Address.parse(challenge.parameters.get("realm", ""))
        except BadAddressError as error:
            raise RemoteError(f"registry '{self._registry}' names a token server whose address {error}") from None
        if realm.scheme == "https":
            return realm
        if base.scheme == "https":
            raise RemoteError(f"registry '{self._registry}' names a token server without TLS: '{realm.origin}'")
        near = realm.host == base.host or is_loopback(realm.host)
        trusted = self._options.plain_http | self._options.insecure
        if login is not None and not near and trusted.isdisjoint({realm.host, realm.host_port}):
            raise NoTlsError(
                f"registry '{self._registry}' names a token server without TLS on another host: '{realm.origin}'; "
                f"the login from '{login.origin}' is not sent there",
                hint=f"pass --plain-http {realm.host_port} if you trust it",
            )
        return realm

    def _ask(self, realm: Address, service: str, scopes: tuple[str, ...], login: Login | None) -> BaseHTTPResponse:
        """Ask for a token: by GET with the login, or by POST with an identity token (token specification, OAuth2)."""
        headers = {"Accept": "application/json", "User-Agent": _CLIENT}
        if login is not None and login.identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": service,
                "scope": " ".join(scopes),
                "client_id": _CLIENT,
                "refresh_token": login.identity_token,
            }
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            return self._http.send("POST", realm, headers, urlencode(form).encode("ascii"))
        query = [("service", service)] if service else []
        query += [("scope", scope) for scope in scopes]
        if login is not None:
            headers["Authorization"] = login.basic
            query.append(("account", login.username))
        return self._http.send("GET", realm.with_query(query), headers)

    def _ungranted(
        self, response: BaseHTTPResponse, access: Access, login: Login | None, server: str
    ) -> RuntimeimgError:
        status, detail = response.status, error_text(drain(response))
        if status in {400, 401, 403} and (login is not None or status != 400):
            return self._login_refused(login, detail) if login is not None else self.refusal(access, detail)
        message = f"token server '{server}' answered {status} {detail}".rstrip()
        return Passing(message, wait=retry_after(response.headers)) if may_pass(status) else RemoteError(message)

    def _granted(self, body: bytes, server: str) -> _Grant:
        try:
            data = load_json(body, "token")
        except InvalidDocumentError:
            raise RemoteError(f"token server '{server}' gave an answer that is not understood") from None
        token, life = data.get("token") or data.get("access_token"), data.get("expires_in")
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise RemoteError(f"token server '{server}' gave no token")
        seconds = _DEFAULT_LIFE
        if isinstance(life, (int, float)) and 0 < life < _LONGEST_LIFE:
            seconds = float(life)
        until = self._timing.monotonic() + max(seconds - _MARGIN, seconds / 2)
        return _Grant(header=f"Bearer {token}", until=until)
