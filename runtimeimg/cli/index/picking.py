"""ENTRY: which entries of an index are meant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from runtimeimg.cli.index.images import fields_of
from runtimeimg.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from runtimeimg.image import ImageIndex
    from runtimeimg.oci import Descriptor

all_option = click.option("--all", "every", is_flag=True, help="Take all entries that an ENTRY fits, not just one.")

_NUMBER = re.compile(r"[0-9]{1,5}\Z", re.ASCII)
_DIGEST = re.compile(r"(?:sha(?:256|512):)?[0-9a-f]{6,128}\Z")
_LISTED = 20


def picked(found: ImageIndex, text: str, *, every: bool) -> list[int]:
    """Return the places, from 0, of the entries that `text` means.

    NotFoundError where it means none, UsageError where it means several and not every one is wanted.
    """
    conditions = fields_of(text, "entry")
    entries = found.index.manifests
    numbers = [at for at, entry in enumerate(entries) if all(_fits(entry, at, condition) for condition in conditions)]
    if not numbers:
        listed = ", ".join(f"{at} {_named(entry)}" for at, entry in enumerate(entries[:_LISTED], 1)) or "nothing"
        more = f" and {len(entries) - _LISTED} more" if len(entries) > _LISTED else ""
        raise NotFoundError(f"index '{found.name}' has no entry '{text}'", hint=f"it holds {listed}{more}")
    if len(numbers) > 1 and not every:
        listed = ", ".join(str(at + 1) for at in numbers[:_LISTED])
        raise UsageError(f"entry '{text}' means {len(numbers)} entries: {listed}", hint="name one, or pass --all")
    return numbers


def _fits(entry: Descriptor, at: int, condition: str) -> bool:
    from runtimeimg.oci import Platform

    if _NUMBER.match(condition):
        return int(condition) == at + 1
    if _DIGEST.match(condition):
        return condition in {entry.digest, entry.digest.encoded} or (
            entry.digest.startswith(condition) or entry.digest.encoded.startswith(condition)
        )
    key, equals, value = condition.partition("=")
    if equals:
        return entry.annotations.get(key) == value
    if entry.platform is None:
        Platform.parse(condition)
        return False
    wanted = Platform.parse(condition)
    own = entry.platform
    return own.full == wanted.full or (own.matches(wanted) and not wanted.os_version and not wanted.os_features)


def _named(entry: Descriptor) -> str:
    return f"({entry.platform.full if entry.platform else entry.digest.short})"
