"""Indexes written to where they can be kept: what they list is there before the name moves, and nothing for nothing."""

from __future__ import annotations

from dataclasses import dataclass

from runtimeimg.errors import InvalidDocumentError, NotFoundError, RemoteError, TransientError, UsageError
from runtimeimg.image import Image, ImageIndex
from runtimeimg.oci import Digest, Location
from runtimeimg.stores import StoreOptions, Written, open_destination, open_image

TRANSPORTS = ("docker", "oci", "oci-archive")
"""Where an index can be kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenIndex:
    """What a place holds now, and whether that was written or was there already."""

    written: Written
    changed: bool


def require_index_place(location: Location) -> None:
    """Raise UsageError for a place that keeps no index, or that is called by what it holds."""
    if location.transport not in TRANSPORTS:
        raise UsageError(
            f"'{location}' cannot hold an index", hint="write it to docker://NAME, oci:DIR:TAG or oci-archive:FILE:TAG"
        )
    if location.reference is not None and location.reference.digest is not None:
        raise UsageError(f"'{location}' names an index by its digest, which a change changes", hint="name a tag")


def write_index(
    made: ImageIndex, destination: Location, options: StoreOptions, *, expected: Digest | None = None
) -> WrittenIndex:
    """Write an index with all that it lists, its name last; where the name stands for it already, write nothing.

    With `expected` the name is moved only if it still stands for that digest; TransientError where somebody else has
    moved it.
    """
    require_index_place(destination)
    target = open_destination(destination, options)
    current = _current(destination, options)
    if current == made.index.digest:
        return WrittenIndex(written=Written(name=target.name, descriptor=made.index.descriptor), changed=False)

    def confirm() -> None:
        if expected is not None and _current(destination, options) != expected:
            raise TransientError(f"'{destination}' was changed by somebody else meanwhile", hint="try again")

    return WrittenIndex(written=target.write(made, confirm), changed=True)


def _current(location: Location, options: StoreOptions) -> Digest | None:
    """Return the digest of what a place holds under a name, None where that is nothing that can be read."""
    try:
        found = open_image(location, options)
    except (NotFoundError, UsageError, InvalidDocumentError, RemoteError):
        return None
    if isinstance(found, Image):
        return found.manifest.digest if found.manifest else None
    return found.index.digest
