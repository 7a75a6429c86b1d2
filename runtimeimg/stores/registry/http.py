"""One HTTP request at a time: connection pools, proxies, certificates. urllib3 is imported with the first request."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

from runtimeimg.errors import UsageError
from runtimeimg.oci.reference import DEFAULT_REGISTRY, LOOPBACK_NAMES
from runtimeimg.stores.base import StoreOptions
from runtimeimg.stores.registry.address import Address
from runtimeimg.stores.registry.certificates import find_certificates
from runtimeimg.stores.registry.failures import speaks_no_tls
from runtimeimg.stores.registry.places import Place, without_port
from runtimeimg.stores.tls import Trust, client_context, quiet_unverified
from runtimeimg.stores.verify import CHUNK

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

_CONNECT_TIMEOUT = 15.0
_CONNECTIONS = 16
DOCKER_HUB = "registry-1.docker.io"


class Body(Protocol):
    """What a request streams."""

    def read(self, count: int, /) -> bytes:
        """Return up to `count` bytes, none at the end."""


class Http:
    """Sends requests for the client of one registry; responses come unread, redirects and errors as they are.

    What is kept for the registry in `certs.d` holds for its own host, its authorities also for wherever it sends
    (a token server, a storage of blobs), which may have certificates of its own besides. Only the registry's own host
    may go unverified, and only it sees the client's certificate.
    """

    def __init__(self, place: Place, options: StoreOptions) -> None:
        self._place = place
        self._options = options
        self._managers: dict[tuple[str, str, Trust], PoolManager] = {}
        self._trusts: dict[str, Trust] = {}
        self._lock = threading.Lock()

    def send(
        self, method: str, address: Address, headers: Mapping[str, str], body: bytes | Body | None = None
    ) -> BaseHTTPResponse:
        """Send one request; urllib3's HTTPError is raised when no answer comes. `Content-Length` is the caller's."""
        return self._send(self._manager(address, self._trust(address)), method, address, headers, body)

    def speaks_tls(self, address: Address) -> bool:
        """Tell whether an address speaks TLS at all, whoever it may be: nothing but a plain question is sent."""
        from urllib3.exceptions import SSLError

        manager = self._manager(address, Trust(verify=False))
        try:
            self._send(manager, "GET", address, {"User-Agent": "runtimeimg"}, None).close()
        except SSLError as error:
            # Some that expect plain HTTP hang up without a word.
            return not speaks_no_tls(error) and "EOF occurred" not in str(error)
        return True

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for manager in self._managers.values():
                manager.clear()
            self._managers.clear()

    def _send(
        self,
        manager: PoolManager,
        method: str,
        address: Address,
        headers: Mapping[str, str],
        body: bytes | Body | None,
    ) -> BaseHTTPResponse:
        from urllib3 import Timeout

        timeout = self._options.timeout
        return manager.request(
            method,
            address.url,
            headers=dict(headers),
            body=body,  # type: ignore[arg-type] # all that is asked of it is read()
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
            timeout=Timeout(connect=min(timeout, _CONNECT_TIMEOUT), read=timeout),
        )

    def _trust(self, address: Address) -> Trust:
        """Return whom to believe at an address; the files are read once a host."""
        if address.scheme != "https":
            return Trust()
        with self._lock:
            key = address.host_port
            if key not in self._trusts:
                self._trusts[key] = self._find_trust(address)
            return self._trusts[key]

    def _find_trust(self, address: Address) -> Trust:
        own = find_certificates(self._place.registry, self._options)
        here = is_host_of(address, self._place.registry)
        there = Trust() if here else find_certificates(address.host_port, self._options)
        named = (self._options.ca_file,) if self._options.ca_file is not None else ()
        return Trust(
            authorities=tuple(dict.fromkeys((*named, *own.authorities, *there.authorities))),
            pairs=own.pairs if here else there.pairs,
            verify=self._options.tls_verify and not (here and self._place.insecure),
        )

    def _manager(self, address: Address, trust: Trust) -> PoolManager:
        proxy = proxy_for(address.scheme, address.host, address.port, self._options.environ)
        key = (address.scheme, proxy or "", trust)
        with self._lock:
            if key not in self._managers:
                self._managers[key] = _make_manager(address.scheme, proxy, trust)
            return self._managers[key]


def _make_manager(scheme: str, proxy: str | None, trust: Trust) -> PoolManager:
    from urllib3 import PoolManager, ProxyManager
    from urllib3.util import make_headers

    from runtimeimg.stores.registry.wire import POOLS

    context = client_context(trust) if scheme == "https" else None
    if not trust.verify:
        quiet_unverified()
    if proxy is None:
        manager = PoolManager(maxsize=_CONNECTIONS, blocksize=CHUNK, ssl_context=context)
        manager.pool_classes_by_scheme = POOLS
        return manager
    headers = {}
    auth = _parsed_proxy(proxy)
    if auth is not None:
        name, _, password = auth.partition(":")
        headers = make_headers(proxy_basic_auth=f"{unquote(name)}:{unquote(password)}")
    through = ProxyManager(
        proxy,
        proxy_headers=headers,
        maxsize=_CONNECTIONS,
        blocksize=CHUNK,
        ssl_context=context,
        proxy_ssl_context=client_context(replace(trust, pairs=())) if proxy.startswith("https:") else None,
    )
    through.pool_classes_by_scheme = POOLS
    return through


def _parsed_proxy(proxy: str) -> str | None:
    """Return the login in a proxy's address; UsageError, without the address, for one that cannot be used."""
    from urllib3.exceptions import LocationParseError
    from urllib3.util import parse_url

    try:
        found = parse_url(proxy)
    except (LocationParseError, ValueError):
        found = None
    if found is None or found.scheme not in {"http", "https"} or not found.host:
        raise UsageError(
            "the proxy of the environment is no address that can be used", hint="https_proxy=http://HOST:PORT"
        )
    return found.auth


def is_loopback(host: str) -> bool:
    """Tell whether a host name (without port) is this machine's own."""
    name = host.strip("[]").lower()
    if name in LOOPBACK_NAMES or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_host_of(address: Address, registry: str) -> bool:
    """Tell whether an address is on the host of a registry, as that is named."""
    return address.host.lower() == without_port(registry).lower() or (
        registry == DEFAULT_REGISTRY and address.host == DOCKER_HUB
    )


def may_be_plain(place: Place) -> bool:
    """Tell whether a registry may be spoken to in plain HTTP."""
    return place.plain or place.insecure or is_loopback(without_port(place.registry))


def find_base(place: Place, http: Http) -> Address:
    """Return where the API of a registry is.

    Loopback registries and insecure ones are asked whether they speak TLS, and are spoken to in plain HTTP only when
    they do not: a certificate that is not trusted is no reason to do without.
    """
    if place.registry == DEFAULT_REGISTRY:
        return Address.parse(f"https://{DOCKER_HUB}/")
    plain, secure = (Address.parse(f"{scheme}://{place.registry}/") for scheme in ("http", "https"))
    if place.plain:
        return plain
    if not may_be_plain(place):
        return secure
    return secure if http.speaks_tls(Address.parse("/v2/", secure)) else plain


def proxy_for(scheme: str, host: str, port: int | None, environ: Mapping[str, str]) -> str | None:
    """Return the proxy that the environment names for a host, None for none; loopback hosts are always direct."""
    proxy = environ.get(f"{scheme}_proxy") or (environ.get("HTTPS_PROXY") if scheme == "https" else None)
    if scheme == "http":
        # Not HTTP_PROXY where a request header could have set it (CGI); as other clients do.
        proxy = proxy or (None if "REQUEST_METHOD" in environ else environ.get("HTTP_PROXY"))
    if (
        not proxy
        or is_loopback(host)
        or _bypassed(host, port, environ.get("no_proxy") or environ.get("NO_PROXY") or "")
    ):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _bypassed(host: str, port: int | None, rules: str) -> bool:
    """Tell whether NO_PROXY names the host: `*`, a name or `.name` (subdomains too), with `:port`, an address range."""
    for rule in (item.strip().lower() for item in rules.split(",")):
        name, _, wanted = rule.partition(":") if rule.count(":") == 1 else (rule, "", "")
        if wanted and wanted != str(port):
            continue
        bare = name.removeprefix("*").removeprefix(".")
        if name == "*" or (bare and (host.lower() == bare or host.lower().endswith(f".{bare}"))):
            return True
        try:
            if "/" in name and ipaddress.ip_address(host.strip("[]")) in ipaddress.ip_network(name, strict=False):
                return True
        except ValueError:
            continue
    return False
