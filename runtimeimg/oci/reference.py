"""Names of images (distribution's reference grammar) and the transports they are reached by (as in skopeo)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Self

from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.oci.digest import Digest

DEFAULT_REGISTRY = "docker.io"
MAX_NAME = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?\Z")
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z")
_TAG = re.compile(r"[\w][\w.-]{0,127}\Z", re.ASCII)

LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost", "ip6-loopback"})
"""Names of this machine itself, as common systems have them in hosts(5)."""
TRANSPORTS = ("docker", "docker-daemon", "oci", "oci-archive", "docker-archive", "dir")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An image name taken apart: registry host, repository, and a tag or a digest or both.

    `short` tells that it was written without a host; it makes no other name of it.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None
    short: bool = field(default=False, compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the reference that `text` spells the way Docker reads it, or raise UsageError.

        `debian` is docker.io/library/debian; neither a tag nor a digest is filled in (see `tagged`).
        """
        name, at, digest_text = text.partition("@")
        tag: str | None = None
        if ":" in name.rsplit("/", 1)[-1]:
            name, _, tag = name.rpartition(":")
        host, slash, rest = name.partition("/")
        short = not slash or not ("." in host or ":" in host or host == "localhost")
        if short:
            host, rest = DEFAULT_REGISTRY, name
        host = DEFAULT_REGISTRY if host == "index.docker.io" else host
        if host == DEFAULT_REGISTRY and "/" not in rest:
            rest = f"library/{rest}"
        if not _HOST.match(host) or not _PATH.match(rest) or len(host) + len(rest) + 1 > MAX_NAME:
            raise UsageError(f"image name {_shown(text)} is not valid", hint=_name_hint(text))
        if tag is not None and not _TAG.match(tag):
            raise UsageError(f"image name {_shown(text)} has an invalid tag")
        digest = None
        if at:
            try:
                digest = Digest.parse(digest_text)
            except InvalidDocumentError:
                raise UsageError(f"image name {_shown(text)} has an invalid digest") from None
        return cls(registry=host, repository=rest, tag=tag, digest=digest, short=short)

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar(self) -> str:
        """The name as people write it: docker.io and library/ left out, with tag and digest where given."""
        name = self.name
        if self.registry == DEFAULT_REGISTRY:
            name = self.repository.removeprefix("library/")
        return name + self._suffix

    @property
    def tagged(self) -> Self:
        """The same reference, `latest` filled in where there is neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag="latest")

    @property
    def selector(self) -> str:
        """What a registry is asked for: the digest if there is one, else the tag, else `latest`."""
        return str(self.digest) if self.digest else self.tag or "latest"

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A transport and what it is asked for.

    `transport` is one of TRANSPORTS, or None for a bare name (looked up in the Engine, then in the registry).
    `reference` is set for names; `path` (and for layouts and archives `tag`) for files and folders. A docker-daemon
    location may name an image ID (`docker-daemon:sha256:...`), which is then in `image_id`.
    """

    transport: str | None
    reference: Reference | None = None
    path: str | None = None
    tag: str | None = None
    image_id: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the location that `text` spells, or raise UsageError."""
        transport, colon, rest = text.partition(":")
        if not colon or transport not in TRANSPORTS or _is_port_or_tag(transport, rest):
            return cls(transport=None, reference=Reference.parse(text))
        if not rest:
            raise UsageError(f"image {_shown(text)} names nothing after '{transport}:'")
        if transport == "docker":
            return cls(transport=transport, reference=replace(_in_registry(rest.removeprefix("//")), short=False))
        if transport == "docker-daemon":
            if re.match(r"sha256:[a-f0-9]{64}\Z", rest):
                return cls(transport=transport, image_id=rest)
            return cls(transport=transport, reference=Reference.parse(rest))
        if transport == "dir":
            return cls(transport=transport, path=rest)
        path, _, tag = rest.partition(":")
        if not path or "\0" in path:
            raise UsageError(f"image {_shown(text)} has no path")
        return cls(transport=transport, path=path, tag=tag or None)

    def __str__(self) -> str:
        if self.transport is None:
            return self.reference.familiar if self.reference else ""
        if self.transport == "docker":
            return f"docker://{self.reference}"
        body = self.image_id or (self.reference.familiar if self.reference else self.path or "")
        return f"{self.transport}:{body}" + (f":{self.tag}" if self.tag else "")


def _in_registry(text: str) -> Reference:
    """Return the reference after `docker://`, where a name of this machine itself is always a registry."""
    host, slash, path = text.partition("/")
    if host.partition(":")[0].lower() not in LOOPBACK_NAMES:
        return Reference.parse(text)
    if not slash or not path:
        raise UsageError(
            f"image {_shown('docker://' + text)} names a registry and nothing in it",
            hint=f"for example docker://{host}/web:1",
        )
    if not _HOST.match(host):
        raise UsageError(f"image name {_shown(text)} is not valid")
    return replace(Reference.parse(f"localhost/{path}"), registry=host)


def _is_port_or_tag(transport: str, rest: str) -> bool:
    """Tell `docker:24` and `oci:5000/x` (names) from transports: skopeo wants `//` after docker, a path otherwise."""
    return transport == "docker" and not rest.startswith("//")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 120 else text[:117] + "...")


def _name_hint(text: str) -> str | None:
    if text != text.strip() or re.search(r"\s", text):
        return "image names hold no white space"
    if text.lower() != text:
        return "repository names are lower case"
    return None
