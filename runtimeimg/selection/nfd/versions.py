"""Numbers and versions as the operators of Node Feature Discovery compare them."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"[+-]?[0-9]{1,19}\Z")
_VERSION = re.compile(r"v?([0-9]{1,18})(?:\.([0-9]{1,18}))?(?:\.([0-9]{1,18}))?(?:[-+][0-9A-Za-z.+-]*)?\Z")


def number(text: str) -> int | None:
    """Return a whole number of 64 bits, None for what is none (Go's strconv.Atoi)."""
    if not _NUMBER.match(text):
        return None
    value = int(text)
    return value if -(2**63) <= value < 2**63 else None


def version(text: str) -> tuple[int, int, int] | None:
    """Return a version of one to three numbers, None for none; what follows `-` or `+` does not count."""
    found = _VERSION.match(text)
    return (int(found[1]), int(found[2] or 0), int(found[3] or 0)) if found else None


def key(text: str, *, as_version: bool) -> tuple[int, ...] | None:
    """Return what a text is ordered by: a version, or a number alone; None for what is neither."""
    if as_version:
        return version(text)
    found = number(text)
    return None if found is None else (found,)
