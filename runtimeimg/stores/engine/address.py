"""Where an Engine is: found as the docker command finds it; where that finds none, as people without root have it."""

from __future__ import annotations

import contextlib
import hashlib
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runtimeimg.budgets import MAX_DOCUMENT
from runtimeimg.errors import InvalidDocumentError, NotFoundError, RuntimeimgError
from runtimeimg.hostfile import read_file
from runtimeimg.oci.documents import load_json

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
SYSTEM_PODMAN = "/run/podman/podman.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where an Engine listens; `certificates` is a folder of ca.pem, cert.pem and key.pem.

    `fallback` tells that nobody named this address: it was found where the default one is not.
    """

    url: str
    certificates: Path | None = None
    verify: bool = True
    fallback: bool = field(default=False, compare=False)

    @property
    def tls(self) -> bool:
        """Whether TLS is spoken."""
        return self.certificates is not None or not self.verify


def docker_config_folder(environ: Mapping[str, str]) -> Path | None:
    """Return the folder of the docker command's own settings: DOCKER_CONFIG, else ~/.docker; None without a home."""
    if folder := environ.get("DOCKER_CONFIG"):
        return Path(folder)
    home = environ.get("HOME")
    return Path(home) / ".docker" if home else None


def find_address(environ: Mapping[str, str]) -> Address:
    """Return the Engine's address: DOCKER_HOST, else DOCKER_CONTEXT, else the current context, else a local socket.

    The local socket is docker's own; where there is none, that of a rootless docker or of podman, if there is one.
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
        return _local_address(environ)
    return _context_address(folder, name)


def engine_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for programs that look for the Engine by themselves, so that they find the same one."""
    where = find_address(environ)
    return {**environ, "DOCKER_HOST": where.url} if where.fallback else dict(environ)


def _local_address(environ: Mapping[str, str]) -> Address:
    if not _is_socket(DEFAULT_ADDRESS.removeprefix("unix://")):
        for path in _other_sockets(environ):
            if _is_socket(path):
                return Address(url=f"unix://{path}", fallback=True)
    return Address(url=DEFAULT_ADDRESS)


def _other_sockets(environ: Mapping[str, str]) -> Iterator[str]:
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime and runtime.startswith("/"):
        yield f"{runtime.rstrip('/')}/docker.sock"
        yield f"{runtime.rstrip('/')}/podman/podman.sock"
    yield SYSTEM_PODMAN


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(Path(path).stat().st_mode)
    except OSError:
        return False


def _current_context(folder: Path | None) -> str:
    if folder is None or not (folder / "config.json").is_file():
        return ""
    # A settings file that is no JSON is the business of whoever needs its logins; it names no context.
    with contextlib.suppress(RuntimeimgError):
        raw = read_file(folder / "config.json", MAX_DOCUMENT)
        name = load_json(raw, "docker's config.json").get("currentContext")
        return name if isinstance(name, str) else ""
    return ""


def _context_address(folder: Path, name: str) -> Address:
    """Read a context as the docker command keeps it: contexts/meta/SHA256/meta.json, keys under contexts/tls."""
    key = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    path = folder / "contexts" / "meta" / key / "meta.json"
    try:
        raw = read_file(path, MAX_DOCUMENT)
    except NotFoundError:
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
