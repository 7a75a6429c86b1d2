"""The entries of an index among which is chosen, and those that are passed over with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from runtimeimg.errors import InvalidDocumentError
from runtimeimg.oci import Descriptor, Index, Platform
from runtimeimg.oci.mediatypes import DOCKER_INDEX, INDEXES, MANIFESTS

ZSTD = "io.github.containers.compression.zstd"
"""Annotation of an entry whose layers are packed with zstd (containers/image)."""
_IMAGES = MANIFESTS | INDEXES
_ABOUT = "vnd.docker.reference.type"
"""Annotation of an entry that says something of another one (BuildKit's attestations)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An entry: its place in the index, from 0, and what the index says of it.

    `platform` is None where the index names none. `env` and `own_platform` are those of its config, None when nobody
    looked inside. `passed` says why it is no image to be chosen. `docker` is set in a Docker manifest list.
    """

    position: int
    descriptor: Descriptor
    platform: Platform | None
    env: Mapping[str, str] | None = None
    own_platform: Platform | None = None
    docker: bool = False
    passed: str = ""

    @property
    def annotations(self) -> Mapping[str, str]:
        """The annotations of the entry."""
        return self.descriptor.annotations

    @property
    def is_index(self) -> bool:
        """Whether the entry is an index itself."""
        return self.descriptor.media_type in INDEXES

    @property
    def zstd(self) -> bool:
        """Whether the entry says that its layers are packed with zstd."""
        return self.annotations.get(ZSTD) == "true"


def candidates(index: Index) -> tuple[Candidate, ...]:
    """Return the entries of an index in its order; InvalidDocumentError for one that is no descriptor."""
    return tuple(of_entries(index.manifests, docker=index.media_type == DOCKER_INDEX))


def of_entries(entries: Iterable[Descriptor], *, docker: bool = False) -> Iterable[Candidate]:
    """Yield a candidate for each descriptor."""
    seen: dict[str, int] = {}
    for position, entry in enumerate(entries):
        first = seen.setdefault(entry.digest, entry.size)
        if first != entry.size:
            raise InvalidDocumentError(f"index gives {entry.digest} two sizes, {first} and {entry.size}")
        platform = entry.platform or _partial(entry)
        passed = _passed(entry, platform)
        yield Candidate(position=position, descriptor=entry, platform=platform, passed=passed, docker=docker)


def _partial(entry: Descriptor) -> Platform | None:
    """Return a platform that names its architecture alone, which engines read as of their own OS."""
    found = entry.extra.get("platform")
    if not isinstance(found, Mapping) or not found.get("architecture") or found.get("os"):
        return None
    whole = Platform.from_json({**found, "os": "host"})
    return (
        None
        if whole is None
        else Platform(
            os="",
            architecture=whole.architecture,
            variant=whole.variant,
            os_version=whole.os_version,
            os_features=whole.os_features,
        )
    )


def _passed(entry: Descriptor, platform: Platform | None) -> str:
    """Return why an entry is no image, empty for one that may be chosen."""
    if entry.media_type not in _IMAGES:
        return f"is of the media type '{entry.media_type[:100]}', which is no image's"
    if platform is not None and platform.os == "unknown":
        return "is for an unknown platform, as attestations are"
    if _ABOUT in entry.annotations:
        return "says something of another entry"
    if platform is None and entry.artifact_type:
        return "is an artifact, not an image"
    return ""
