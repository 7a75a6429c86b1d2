"""What a document calls its image: a name that the reader of the document can pull, never a transport."""

from __future__ import annotations

from runtimeimg.errors import UsageError
from runtimeimg.oci import Location

CLUSTER_TARGETS = ("pod", "deployment", "cri")
"""Targets whose readers do not look into the Engine of this machine."""
_QUALIFIED = (*CLUSTER_TARGETS, "podman", "systemd-quadlet")
"""Targets whose readers search several registries for a name without one."""


def image_for(location: Location, target: str) -> str:
    """Return the name of the image at `location` in a document for `target`.

    UsageError for what its reader cannot get: a layout or archive is no name at all, and what is in an Engine by its
    transport is not where a cluster looks.
    """
    reference = location.reference
    if location.transport == "docker" and reference is not None:
        return str(reference.tagged) if target in _QUALIFIED else reference.tagged.familiar
    if location.transport is None and reference is not None:
        return reference.familiar
    if location.transport == "docker-daemon" and target not in CLUSTER_TARGETS:
        return location.image_id or (reference.familiar if reference is not None else "")
    if target in CLUSTER_TARGETS:
        raise UsageError(
            f"image '{location}' is on this machine alone, where {_reader(target)} cannot pull it",
            hint=f"push it: runtimeimg copy {location} docker://HOST/NAME, and export that name; or pass --image NAME "
            "for what it is called there",
        )
    raise UsageError(
        f"image '{location}' has no name that {_reader(target)} could start",
        hint=f"load it: runtimeimg copy {location} docker-daemon:NAME, and export that; or pass --image NAME for what "
        "it is called there",
    )


def _reader(target: str) -> str:
    readers = {"compose": "docker-compose", "systemd-quadlet": "a quadlet", "cri": "a CRI runtime"}
    return "a cluster" if target in {"pod", "deployment"} else readers.get(target, target)
