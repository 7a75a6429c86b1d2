"""The connection to a Docker Engine: found as the docker command finds it, its failures turned into our errors.

The SDK's low-level client is the transport (unix socket, TCP with TLS, ssh) and is imported when the first connection
is made. Requests are named by their path in the Engine API, so that each stream has an owner that closes it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from runtimeimg.errors import (
    AuthError,
    NotFoundError,
    RemoteError,
    RuntimeimgError,
    TransientError,
    UnavailableError,
    UsageError,
)
from runtimeimg.oci import Reference
from runtimeimg.oci.documents import load_json
from runtimeimg.oci.reference import DEFAULT_REGISTRY
from runtimeimg.stores.engine.address import DEFAULT_ADDRESS, Address, find_address
from runtimeimg.stores.engine.unfinished import sweep_quietly
from runtimeimg.stores.tls import Trust, client_context, quiet_unverified, reason

if TYPE_CHECKING:
    import requests
    from docker import APIClient

    from runtimeimg.stores.base import StoreOptions

OLDEST_API = "1.25"
MAX_MESSAGE = 4 * 1024 * 1024
"""Bytes; a longer message in a stream of the Engine is refused."""

_HINT = "start it (for example 'sudo systemctl start docker'), or set DOCKER_HOST to the one to use"
_TLS_HINT = "DOCKER_TLS_VERIFY=1 asks for TLS; ca.pem, cert.pem and key.pem are in DOCKER_CERT_PATH, else in ~/.docker"
_SSH_HINT = "see whether the docker command gets there: docker --host ADDRESS version"
_BEHIND_SSH = "tcp://localhost:2375"
HUB_LOGIN = "https://index.docker.io/v1/"
PATIENCE = "RUNTIMEIMG_ENGINE_TIMEOUT"
DEFAULT_PATIENCE = 600.0
_LISTINGS = 5
_told: set[str] = set()
_BUSY = frozenset({429, 502, 503, 504})


class Engine:
    """An open connection; use as a context manager. `address` is its URL, `options` those it was opened with."""

    def __init__(self, client: APIClient, address: str, version: str, options: StoreOptions) -> None:
        self._client = client
        self._version = version
        self.address = address
        self.options = options

    @classmethod
    def connect(cls, options: StoreOptions) -> Self:
        """Return a connection to the Engine that `options.environ` names; UnavailableError when none answers."""
        where = find_address(options.environ)
        _knock(where.url, min(options.timeout, 10.0))
        client = _client(where, OLDEST_API, options)
        engine = cls(client, where.url, OLDEST_API, options)
        try:
            with engine._translated("version"):
                found: object = client.version(api_version=False)
            version = str(found.get("ApiVersion", "")) if isinstance(found, Mapping) else ""
        except RuntimeimgError as error:
            client.close()
            message = f"no Docker Engine answers at '{where.url}': {error}"
            raise UnavailableError(message, hint=error.hint or _HINT) from None
        except BaseException:
            client.close()
            raise
        if not re.fullmatch(r"[0-9]{1,3}\.[0-9]{1,3}", version):
            client.close()
            raise UnavailableError(f"what answers at '{where.url}' is not a Docker Engine", hint=_HINT)
        engine._version = version
        sweep_quietly(engine)
        if where.fallback and where.url not in _told:
            _told.add(where.url)
            options.progress.line(f"no Docker Engine at '{DEFAULT_ADDRESS}': the one at '{where.url}' is used")
        return engine

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def get(self, path: str, *, api: str | None = None, **params: object) -> Any:
        """Return the JSON that GET of `path` answers; see `call` for `api`."""
        with self.call("GET", path, params=params, api=api) as response, self._translated(path):
            return response.json()

    def images(self, *, every: bool = False, filters: object = None) -> list[dict[str, Any]]:
        """Return the Engine's list of images; `every` one, those too that only others build on."""
        for _ in range(_LISTINGS):
            # Docker's own store fails to list an image that is removed at that moment.
            with contextlib.suppress(RemoteError):
                return list(self.get("/images/json", all=every, filters=filters))
        return list(self.get("/images/json", all=every, filters=filters))

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, object] | None = None,
        data: object = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        patient: bool = False,
        endless: bool = False,
        api: str | None = None,
    ) -> requests.Response:
        """Send a request and return its response, not yet read; the caller closes it.

        `body` is sent as JSON, `data` (bytes, a file or an iterator of bytes) as it is. `patient` waits
        longer from byte to byte, for what may be silent for a while: a build, a load, a pull. `endless` waits without
        a limit, for what ends when somebody else wants it to: a container, its output. `api` asks by an older version
        of the Engine API where the Engine speaks a newer one.
        """
        version = self._version if api is None else min(self._version, api, key=_number)
        url = f"{self._client.base_url}/v{version}{path}"
        timeout = None if endless else patience(self.options.environ) if patient else self.options.timeout
        with self._translated(path):
            response = self._client.request(
                method,
                url,
                params={key: _parameter(value) for key, value in (params or {}).items() if value is not None},
                data=data,  # type: ignore[arg-type]
                json=body,
                headers=dict(headers or {}),
                timeout=timeout,
                stream=True,
            )
            if response.status_code >= 400:
                with response:
                    _raise_for(response, path)
            return response

    def chunks(self, response: requests.Response, size: int | None = None) -> Iterator[bytes]:
        """Yield the body of `response`, in pieces of `size` bytes or as they come; closes it at the end."""
        with response, self._translated("stream"):
            yield from response.iter_content(size)

    def messages(self, response: requests.Response) -> Iterator[dict[str, Any]]:
        """Yield the JSON messages of a streamed answer, one a line, as they come; closes it at the end."""
        rest = b""
        for chunk in self.chunks(response):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > MAX_MESSAGE:
                raise RemoteError(f"engine at '{self.address}' sent a message of more than {MAX_MESSAGE >> 20} MiB")
            for line in filter(None, map(bytes.strip, lines)):
                yield load_json(line, "message of the engine")
        if rest.strip():
            yield load_json(rest, "message of the engine")

    def login_header(self, reference: Reference) -> dict[str, str]:
        """Return the header that carries the login for a pull, empty when there is none."""
        from runtimeimg.stores.registry.credentials import find_login

        login = find_login(reference.registry, reference.repository, self.options)
        if login is None:
            return {}
        server = HUB_LOGIN if reference.registry == DEFAULT_REGISTRY else reference.registry
        fields = {"serveraddress": server, "username": login.username, "password": login.password}
        if login.identity_token:
            fields = {"serveraddress": server, "identitytoken": login.identity_token}
        return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(fields).encode()).decode("ascii")}

    @contextlib.contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        """Turn what the SDK, requests and urllib3 raise into errors of ours, with what ssh said of it."""
        try:
            with _translated(self.address, path):
                yield
        except RemoteError as error:
            adapter = self._client.adapters.get(f"{self._client.base_url}/")
            said = getattr(adapter, "said", lambda: "")()
            if not said:
                raise
            raise RemoteError(f"{error.message}: ssh says: {said}", hint=_SSH_HINT) from None


def patience(environ: Mapping[str, str]) -> float | None:
    """Return the seconds without a byte that an Engine at work is given; None for no limit."""
    text = environ.get(PATIENCE) or ""
    if not text:
        return DEFAULT_PATIENCE
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UsageError(f"{PATIENCE} {text[:40]!r} is not a number of seconds", hint="0 is for no limit")
    return float(text) or None


def _knock(url: str, timeout: float) -> None:
    """Try a unix socket before the SDK does: the reason is told apart, and no socket is left half open."""
    if not url.startswith("unix://"):
        return
    path = url.removeprefix("unix://")
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(timeout)
            probe.connect(path if path.startswith("/") else f"/{path}")
    except PermissionError:
        raise UnavailableError(
            f"Docker Engine at '{url}' may not be used by this user",
            hint="add the user to the group 'docker', or use another --builder",
        ) from None
    except OSError as error:
        reason = error.strerror or "no answer"
        raise UnavailableError(f"no Docker Engine answers at '{url}': {reason.lower()}", hint=_HINT) from None


def _client(where: Address, version: str, options: StoreOptions) -> APIClient:
    from docker import APIClient
    from docker.errors import DockerException

    from runtimeimg.stores.engine.transports import SshAdapter, TlsAdapter

    scheme = where.url.partition("://")[0]
    secure = where.tls and scheme in {"tcp", "http", "https"}
    try:
        client = APIClient(
            base_url=_BEHIND_SSH if scheme == "ssh" else where.url,
            version=version,
            timeout=int(options.timeout),
            tls=secure,
            credstore_env=dict(options.environ),
        )
        if scheme == "ssh":
            client.mount(f"{client.base_url}/", SshAdapter(where.url, options.environ))
        elif secure:
            client.mount("https://", TlsAdapter(client_context(_trust(where))))
    except (DockerException, OSError, ValueError) as error:
        raise UsageError(f"Docker Engine address '{where.url}' cannot be used: {error}") from None
    # The SDK's session would read proxies and passwords from the process's own environment.
    client.trust_env = False
    return client


def _trust(where: Address) -> Trust:
    """Return whom to believe: as with the docker command, ca.pem and nobody else where there is one."""
    if not where.verify:
        quiet_unverified()
    if where.certificates is None:
        return Trust(verify=where.verify)
    authority, certificate, key = (where.certificates / name for name in ("ca.pem", "cert.pem", "key.pem"))
    own = authority.exists()
    return Trust(
        authorities=(authority,) if own else (),
        pairs=((certificate, key),) if certificate.exists() else (),
        verify=where.verify,
        alone=own,
    )


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _parameter(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return value if isinstance(value, str) else json.dumps(value)


@contextlib.contextmanager
def _translated(address: str, path: str) -> Iterator[None]:
    """Turn what the SDK, requests and urllib3 raise into errors of ours."""
    import requests
    import urllib3
    from docker.errors import APIError, DockerException

    silent = f"engine at '{address}' gave no answer in time ({path})"
    longer = f"see whether it still works; {PATIENCE} sets the seconds without a byte that a build is given"
    try:
        yield
    except APIError as error:
        # Only the question for the version is the SDK's own: what answers may not be an Engine, or want TLS.
        text = " ".join(str(error.explanation or error).split())[:300]
        raise RemoteError(f"engine at '{address}' answered: {text}", hint=_TLS_HINT) from None
    except requests.exceptions.Timeout:
        raise TransientError(silent, hint=longer) from None
    except requests.exceptions.SSLError as error:
        raise _tls_failure(address, error) from None
    except requests.exceptions.ConnectionError as error:
        # requests wraps a time-out in the middle of a body as a lost connection.
        if "timed out" in str(error):
            raise TransientError(silent, hint=longer) from None
        raise RemoteError(
            f"engine at '{address}' went away", hint="see whether the Docker Engine still runs, then try again"
        ) from None
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise RemoteError(
            f"engine at '{address}' went away: {type(error).__name__}",
            hint="see whether the Docker Engine still runs, then try again",
        ) from None
    except DockerException as error:
        raise RemoteError(f"engine at '{address}' cannot be talked to: {error}") from None


def _tls_failure(address: str, error: Exception) -> RemoteError:
    """Return the error for a connection that TLS refused, in OpenSSL's words."""
    cause: object = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        # requests keeps what urllib3 raised as an argument, urllib3 the reason as an attribute.
        inner = getattr(cause, "args", ())
        cause = getattr(cause, "reason", None) or next((item for item in inner if isinstance(item, Exception)), None)
    text = reason(cause) if isinstance(cause, ssl.SSLError) else str(error)
    return RemoteError(
        f"TLS with the engine at '{address}' failed: {text}",
        hint=_TLS_HINT,
    )


def _raise_for(response: requests.Response, path: str) -> None:
    try:
        message = str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        message = response.text[:500].strip() or f"status {response.status_code}"
    text = f"engine: {message}"
    if response.status_code == 404:
        raise NotFoundError(text)
    if response.status_code in {401, 403}:
        raise AuthError(text)
    if response.status_code in _BUSY:
        raise TransientError(text)
    raise RemoteError(text, hint=f"the request was {path}" if response.status_code == 400 else None)


def quoted(name: str) -> str:
    """Return an image name or id as a segment of a request's path."""
    from urllib.parse import quote

    return quote(name, safe="/:@")
