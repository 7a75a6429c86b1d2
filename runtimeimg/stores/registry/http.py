"""One HTTP request at a time: connection pools, proxies, certificates. urllib3 is imported with the first request."""

from __future__ import annotations

import ipaddress
import ssl
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from runtimeimg.errors import UsageError
from runtimeimg.stores.base import StoreOptions
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
    """Sends requests; responses come unread, redirects and errors as they are."""

    def __init__(self, options: StoreOptions) -> None:
        self._options = options
        self._managers: dict[str, PoolManager] = {}
        self._lock = threading.Lock()

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Body | None = None
    ) -> BaseHTTPResponse:
        """Send one request; urllib3's HTTPError is raised when no answer comes. `Content-Length` is the caller's."""
        from urllib3 import Timeout

        timeout = self._options.timeout
        return self._manager(url).request(
            method,
            url,
            headers=dict(headers),
            body=body,  # type: ignore[arg-type] # all that is asked of it is read()
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
            timeout=Timeout(connect=min(timeout, _CONNECT_TIMEOUT), read=timeout),
        )

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for manager in self._managers.values():
                manager.clear()
            self._managers.clear()

    def _manager(self, url: str) -> PoolManager:
        parts = urlsplit(url)
        proxy = proxy_for(parts.scheme, parts.hostname or "", parts.port, self._options.environ)
        key = f"{parts.scheme} {proxy or ''}"
        with self._lock:
            if key not in self._managers:
                self._managers[key] = self._make(parts.scheme, proxy)
            return self._managers[key]

    def _make(self, scheme: str, proxy: str | None) -> PoolManager:
        from urllib3 import PoolManager, ProxyManager
        from urllib3.util import make_headers

        context = self._tls_context() if scheme == "https" or (proxy or "").startswith("https:") else None
        if proxy is None:
            return PoolManager(maxsize=_CONNECTIONS, blocksize=CHUNK, ssl_context=context)
        login = urlsplit(proxy)
        headers = {}
        if login.username is not None:
            headers = make_headers(proxy_basic_auth=f"{login.username}:{login.password or ''}")
        return ProxyManager(
            proxy,
            proxy_headers=headers,
            maxsize=_CONNECTIONS,
            blocksize=CHUNK,
            ssl_context=context,
            proxy_ssl_context=context,
        )

    def _tls_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._options.ca_file is not None:
            try:
                context.load_verify_locations(self._options.ca_file)
            except OSError as error:
                raise UsageError(f"file '{self._options.ca_file}' holds no certificates that can be read") from error
        if not self._options.tls_verify:
            import urllib3

            # The user has asked for this by name; a warning for every request would say nothing new.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def is_loopback(host: str) -> bool:
    """Tell whether a host name (without port) is this machine's own."""
    name = host.strip("[]")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def base_url(registry: str, options: StoreOptions) -> str:
    """Return scheme and host of a registry's API: plain HTTP for loopback hosts and those named in the options."""
    if registry == "docker.io":
        return f"https://{DOCKER_HUB}"
    host = registry.rpartition(":")[0] if registry.rpartition(":")[2].isdigit() else registry
    plain = is_loopback(host) or registry in options.plain_http or host in options.plain_http
    return f"{'http' if plain else 'https'}://{registry}"


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
