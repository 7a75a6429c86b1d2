"""The connection to a Docker Engine: found as the docker command finds it, its failures turned into our errors.

The SDK's low-level client is the transport (unix socket, TCP with TLS, ssh) and is imported when the first connection
is made. Requests are named by their path in the Engine API, so that each stream has an owner that closes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from runtimeimg.errors import (
    AuthError,
    InvalidDocumentError,
    NotFoundError,
    RemoteError,
    RuntimeimgError,
    TransientError,
    UnavailableError,
    UsageError,
)
from runtimeimg.oci import Reference
from runtimeimg.oci.documents import load_json

if TYPE_CHECKING:
    import requests
    from docker import APIClient

    from runtimeimg.stores.base import StoreOptions

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
OLDEST_API = "1.25"
MAX_MESSAGE = 4 * 1024 * 1024
"""Bytes; a longer message in a stream of the Engine is refused."""

_HINT = "start it (for example 'sudo systemctl start docker'), or set DOCKER_HOST to the one to use"
_BUSY = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where an Engine listens; `certificates` is a folder of ca.pem, cert.pem and key.pem, None for no TLS."""

    url: str
    certificates: Path | None = None
    verify: bool = True


def docker_config_folder(environ: Mapping[str, str]) -> Path | None:
    """Return the folder of the docker command's own settings: DOCKER_CONFIG, else ~/.docker; None without a home."""
    if folder := environ.get("DOCKER_CONFIG"):
        return Path(folder)
    home = environ.get("HOME")
    return Path(home) / ".docker" if home else None


def find_address(environ: Mapping[str, str]) -> Address:
    """Return the Engine's address: DOCKER_HOST, else DOCKER_CONTEXT, else the current context, else the local socket.

    Raises NotFoundError for a context that does not exist and InvalidDocumentError for a broken one.
    """
    if host := environ.get("DOCKER_HOST"):
        if not environ.get("DOCKER_TLS_VERIFY") and not environ.get("DOCKER_TLS"):
            return Address(url=host)
        folder = environ.get("DOCKER_CERT_PATH") or docker_config_folder(environ)
        return Address(
            url=host, certificates=Path(folder) if folder else None, verify=bool(environ.get("DOCKER_TLS_VERIFY"))
        )
    folder = docker_config_folder(environ)
    name = environ.get("DOCKER_CONTEXT") or _current_context(folder)
    if folder is None or name in {"", "default"}:
        return Address(url=DEFAULT_ADDRESS)
    return _context_address(folder, name)


def _current_context(folder: Path | None) -> str:
    if folder is None or not (folder / "config.json").is_file():
        return ""
    # A settings file that is no JSON is the business of whoever needs its logins; it names no context.
    with contextlib.suppress(InvalidDocumentError, OSError):
        name = load_json((folder / "config.json").read_bytes(), "docker's config.json").get("currentContext")
        return name if isinstance(name, str) else ""
    return ""


def _context_address(folder: Path, name: str) -> Address:
    """Read a context as the docker command keeps it: contexts/meta/SHA256/meta.json, keys under contexts/tls."""
    key = hashlib.sha256(name.encode()).hexdigest()
    path = folder / "contexts" / "meta" / key / "meta.json"
    try:
        raw = path.read_bytes()
    except OSError:
        raise NotFoundError(f"docker context '{name}' does not exist", hint="see 'docker context ls'") from None
    endpoint = load_json(raw, f"docker context '{name}'").get("Endpoints", {})
    endpoint = endpoint.get("docker") if isinstance(endpoint, Mapping) else None
    url = endpoint.get("Host") if isinstance(endpoint, Mapping) else None
    if not isinstance(endpoint, Mapping) or not isinstance(url, str) or not url:
        raise InvalidDocumentError(f"docker context '{name}' names no Engine")
    keys = folder / "contexts" / "tls" / key / "docker"
    return Address(
        url=url, certificates=keys if keys.is_dir() else None, verify=not endpoint.get("SkipTLSVerify", False)
    )


class Engine:
    """An open connection; use as a context manager. `address` is its URL, `options` those it was opened with."""

    def __init__(self, client: APIClient, address: str, options: StoreOptions) -> None:
        self._client = client
        self.address = address
        self.options = options

    @classmethod
    def connect(cls, options: StoreOptions) -> Self:
        """Return a connection to the Engine that `options.environ` names; UnavailableError when none answers."""
        where = find_address(options.environ)
        _knock(where.url, min(options.timeout, 10.0))
        client = _client(where, OLDEST_API, options)
        try:
            with _translated(where.url, "version"):
                version = str(client.version(api_version=False).get("ApiVersion", ""))
        except RuntimeimgError as error:
            raise UnavailableError(f"no Docker Engine answers at '{where.url}': {error}", hint=_HINT) from None
        finally:
            client.close()
        if not version:
            raise UnavailableError(f"what answers at '{where.url}' is not a Docker Engine", hint=_HINT)
        return cls(_client(where, version, options), where.url, options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def get(self, path: str, **params: object) -> Any:
        """Return the JSON that GET of `path` answers."""
        with self.call("GET", path, params=params) as response, _translated(self.address, path):
            return response.json()

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
    ) -> requests.Response:
        """Send a request and return its response, not yet read; the caller closes it.

        `body` is sent as JSON, `data` (bytes, a file or an iterator of bytes) as it is. `patient` waits for the
        answer without a limit, for what takes as long as it takes: a build, a load, a pull.
        """
        url = f"{self._client.base_url}/v{self._client.api_version}{path}"
        timeout = None if patient else self.options.timeout
        with _translated(self.address, path):
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
        with response, _translated(self.address, "stream"):
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
        from docker import auth

        with _login_errors(reference.registry):
            login = self._logins().resolve_authconfig(reference.registry)
            return {"X-Registry-Auth": auth.encode_header(login).decode("ascii")} if login else {}

    def _logins(self) -> Any:
        """Return the logins that the docker command would use, as the SDK reads them (helpers too)."""
        from docker import auth

        path = self.options.authfile
        if path is None:
            folder = docker_config_folder(self.options.environ)
            path = folder / "config.json" if folder else None
        if path is None or not path.is_file():
            return auth.AuthConfig({})
        with path.open("rb") as file:
            data = load_json(file.read(), f"logins '{path}'")
        return auth.AuthConfig.load_config(None, data or {"auths": {}}, dict(self.options.environ))


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
    from docker.tls import TLSConfig

    try:
        tls: TLSConfig | bool = False
        if where.certificates is not None:
            keys = where.certificates
            tls = TLSConfig(
                client_cert=(str(keys / "cert.pem"), str(keys / "key.pem")) if (keys / "cert.pem").exists() else None,
                ca_cert=str(keys / "ca.pem") if (keys / "ca.pem").exists() else None,
                verify=where.verify,
            )
        client = APIClient(
            base_url=where.url,
            version=version,
            timeout=int(options.timeout),
            tls=tls,
            use_ssh_client=True,
            credstore_env=dict(options.environ),
        )
    except (DockerException, OSError, ValueError) as error:
        raise UsageError(f"Docker Engine address '{where.url}' cannot be used: {error}") from None
    # The SDK's session would read proxies and passwords from the process's own environment.
    client.trust_env = False
    return client


def _parameter(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return value if isinstance(value, str) else json.dumps(value)


@contextlib.contextmanager
def _translated(address: str, path: str) -> Iterator[None]:
    """Turn what the SDK, requests and urllib3 raise into errors of ours."""
    import requests
    import urllib3
    from docker.errors import DockerException

    try:
        yield
    except requests.exceptions.Timeout:
        raise TransientError(f"engine at '{address}' gave no answer in time ({path})") from None
    except requests.exceptions.ConnectionError as error:
        # requests wraps a time-out in the middle of a body as a lost connection.
        if "timed out" in str(error):
            raise TransientError(f"engine at '{address}' gave no answer in time ({path})") from None
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


@contextlib.contextmanager
def _login_errors(registry: str) -> Iterator[None]:
    from docker.errors import DockerException

    try:
        yield
    except (DockerException, ValueError, KeyError, TypeError, OSError) as error:
        raise AuthError(f"login for '{registry}' cannot be read: {error}", hint="see 'docker login'") from None


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
