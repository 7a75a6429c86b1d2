"""Names of images in one spelling, so that two that mean the same image are equal."""

from __future__ import annotations

from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.oci import Location


def spelling(text: str) -> str:
    """Return a name in full, empty for what is none.

    `debian:12`, `docker://docker.io/library/debian:12` and `docker-daemon:debian:12` are the same image.
    """
    try:
        location = Location.parse(text)
    except (InvalidDocumentError, UsageError):
        return ""
    return str(location.reference.tagged) if location.reference is not None else str(location)
