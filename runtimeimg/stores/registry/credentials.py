"""Logins: from the files of containers and docker, and from credential helpers.

Read in this order, the first that has a login for the host wins: `--authfile` or REGISTRY_AUTH_FILE (then nothing
else is looked at), DOCKER_AUTH_CONFIG (which holds such a file itself), `${XDG_RUNTIME_DIR}/containers/auth.json`,
`containers/auth.json` of the user's configuration, docker's `config.json`. Nothing is read before a registry asks for
a login.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtimeimg.errors import AuthError, InvalidDocumentError, NotFoundError
from runtimeimg.hostfile import read_file
from runtimeimg.oci.documents import load_json
from runtimeimg.process import find
from runtimeimg.stores.base import StoreOptions
from runtimeimg.stores.registry.failures import printable

_MAX_FILE = 1024 * 1024
_VARIABLE = "DOCKER_AUTH_CONFIG"
_TOKEN_USER = "<token>"  # noqa: S105 - the user name by which helpers mark an identity token
_HUB_KEYS = ("docker.io", "https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Who to be at a registry: a name with a password, or an identity token; `origin` is where it was found."""

    origin: str
    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header for basic authentication (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")


def find_login(registry: str, repository: str, options: StoreOptions) -> Login | None:
    """Return the login for a repository, None when there is none.

    Raises InvalidDocumentError for a broken file, AuthError naming a helper that fails.
    """
    for source, data in _sources(options):
        if (login := _from_file(source, data, registry, repository, options.environ)) is not None:
            return login
    return None


def _sources(options: StoreOptions) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield what may hold logins, as messages call it, with its contents."""
    text = options.environ.get(_VARIABLE)
    if text and not (options.authfile or options.environ.get("REGISTRY_AUTH_FILE")):
        data = load_json(text.encode("utf-8", "replace"), f"login variable '{_VARIABLE}'")
        # The docker command takes nothing else from it: a variable starts no program.
        yield _VARIABLE, {"auths": data.get("auths")}
    for path in _files(options):
        found = _read(path)
        if found is not None:
            yield str(path), found


def _files(options: StoreOptions) -> Iterator[Path]:
    environ = options.environ
    named = options.authfile or environ.get("REGISTRY_AUTH_FILE")
    if named:
        if not Path(named).is_file():
            raise NotFoundError(f"login file '{named}' does not exist")
        yield Path(named)
        return
    home = environ.get("HOME")
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers" / "auth.json"
    if config := environ.get("XDG_CONFIG_HOME") or (home and f"{home}/.config"):
        yield Path(config) / "containers" / "auth.json"
    if docker := environ.get("DOCKER_CONFIG") or (home and f"{home}/.docker"):
        yield Path(docker) / "config.json"


def _read(path: Path) -> Mapping[str, Any] | None:
    try:
        raw = read_file(path, _MAX_FILE, "login file")
    except NotFoundError:
        return None
    if len(raw) > _MAX_FILE:
        raise InvalidDocumentError(f"login file '{path}' is larger than {_MAX_FILE} bytes")
    return load_json(raw, f"login file '{path}'") if raw.strip() else {}


def _from_file(
    source: str, data: Mapping[str, Any], registry: str, repository: str, environ: Mapping[str, str]
) -> Login | None:
    helpers, store, auths = data.get("credHelpers") or {}, data.get("credsStore"), data.get("auths") or {}
    if not isinstance(helpers, Mapping) or not isinstance(auths, Mapping):
        raise InvalidDocumentError(f"login file '{source}': 'auths' and 'credHelpers' must be objects")
    hosts = _HUB_KEYS if registry == "docker.io" else (registry,)
    helper = next((helpers[host] for host in hosts if host in helpers), store)
    if not isinstance(helper or "", str):
        raise InvalidDocumentError(f"login file '{source}': the name of a credential helper is not a string")
    if helper and (login := _from_helper(helper, registry, source, environ)) is not None:
        return login
    for key in _keys(registry, repository, hosts):
        if key in auths and (login := _from_entry(source, key, auths[key])) is not None:
            return login
    for key, entry in auths.items():
        # Old entries are whole addresses: https://host/v1/ or https://host/v2/.
        host = str(key).removeprefix("https://").removeprefix("http://")
        if host != key and host.partition("/")[0] in hosts and (login := _from_entry(source, key, entry)) is not None:
            return login
    return None


def _keys(registry: str, repository: str, hosts: tuple[str, ...]) -> Iterator[str]:
    """Return the keys for a repository, the most specific first: host/a/b, host/a, host."""
    parts = repository.split("/")
    for count in range(len(parts), 0, -1):
        yield "/".join((registry, *parts[:count]))
    yield from hosts


def _from_entry(source: str, key: str, entry: object) -> Login | None:
    """Return the login of one entry; an empty one says only that somebody logged in through a helper."""
    if not isinstance(entry, Mapping):
        raise InvalidDocumentError(f"login file '{source}': entry '{printable(key)}' is not an object")
    token, auth = entry.get("identitytoken"), entry.get("auth")
    username, password = entry.get("username"), entry.get("password")
    if not all(_is_text(value) for value in (token, auth, username, password)):
        raise InvalidDocumentError(f"login file '{source}': entry '{printable(key)}' holds something that is no text")
    if isinstance(auth, str) and auth:
        try:
            decoded = base64.b64decode(auth, validate=False).decode("utf-8")
        except ValueError:
            raise InvalidDocumentError(f"login file '{source}': entry '{printable(key)}' is not base64") from None
        username, _, password = decoded.partition(":")
        password = password.rstrip("\0")
    if isinstance(token, str) and token:
        return Login(origin=source, username=str(username or ""), identity_token=token)
    if isinstance(username, str) and username and isinstance(password, str):
        return Login(origin=source, username=username, password=password)
    return None


def _is_text(value: object) -> bool:
    """Tell whether a value is nothing, or a string that can be sent: one without halves of surrogate pairs."""
    return value is None or (isinstance(value, str) and not re.search("[\ud800-\udfff]", value))


def _from_helper(name: str, registry: str, source: str, environ: Mapping[str, str]) -> Login | None:
    program = f"docker-credential-{name}"
    where = f"credential helper '{printable(program)}' (named in '{source}')"
    if "/" in name or find(program) is None:
        raise AuthError(f"{where} is not installed", hint=f"install it, or take it out of '{source}'")
    from docker.credentials import Store
    from docker.credentials.errors import CredentialsNotFound, StoreError

    server = _HUB_KEYS[1] if registry == "docker.io" else registry
    try:
        found = Store(name, environment=dict(environ)).get(server)  # type: ignore[no-untyped-call]
        username, secret = found["Username"], found["Secret"]
    except CredentialsNotFound:
        return None
    except StoreError as error:
        raise AuthError(f"{where} failed: {printable(str(error))}") from None
    except (ValueError, KeyError, TypeError):
        username = secret = None
    if username is None or secret is None or not (_is_text(username) and _is_text(secret)):
        raise AuthError(f"{where} gave an answer that is not understood")
    origin = f"{program} (named in {source})"
    if username == _TOKEN_USER:
        return Login(origin=origin, identity_token=secret)
    return Login(origin=origin, username=username, password=secret)
