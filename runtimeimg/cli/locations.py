"""Names of images and platforms as they come from the command line: read before anything is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtimeimg.errors import UsageError

if TYPE_CHECKING:
    from runtimeimg.oci import Location, Platform


def location_of(text: str) -> Location:
    """Return the location that `text` spells; where it is a path instead, the error says how to write that."""
    from runtimeimg.oci import Location
    from runtimeimg.stores.missing import path_hint

    try:
        return Location.parse(text)
    except UsageError as error:
        hint = path_hint(text) or (f"a path is written with its transport: oci:{text}" if "/" in text[:2] else None)
        raise UsageError(error.message, hint=hint or error.hint) from None


def platforms_of(text: str | None) -> tuple[Platform, ...]:
    """Return the platforms of `P,P,...`, each once."""
    from runtimeimg.oci import Platform

    return tuple(dict.fromkeys(Platform.parse(item) for item in text.split(","))) if text else ()


def platform_of(text: str | None) -> Platform | None:
    """Return the platform that `text` spells, None where there is none."""
    from runtimeimg.oci import Platform

    return Platform.parse(text) if text else None
