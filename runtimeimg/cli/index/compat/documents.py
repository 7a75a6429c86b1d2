"""Compatibility documents as the commands of the group are given them: files, or artifacts about images."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runtimeimg.cli.completion import images
from runtimeimg.errors import NotFoundError

if TYPE_CHECKING:
    from runtimeimg.compat import Found
    from runtimeimg.selection.criteria import Criteria
    from runtimeimg.stores import StoreOptions

F = TypeVar("F", bound=Callable[..., Any])

image_argument = click.argument("image", shell_complete=images)
platform_option = click.option(
    "--platform", metavar="P", help="Platform of an index whose image is meant; without it the index as a whole."
)


def read(path: str) -> tuple[bytes, str]:
    """Return the bytes of a document and its name for messages; `-` is standard input."""
    from runtimeimg.hostfile import read_file
    from runtimeimg.spec.yamltext import MAX_BYTES

    if path == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1), "<stdin>"
    return read_file(Path(path), MAX_BYTES, "document"), path if path.isprintable() else repr(path)[1:-1]


def criteria_of(platform: str | None) -> Criteria | None:
    """Return what chooses the image of the platform that an option names."""
    from runtimeimg.compat import on
    from runtimeimg.oci import Platform

    return on(Platform.parse(platform)) if platform else None


def required(image: str, criteria: Criteria | None, stores: StoreOptions) -> Found:
    """Return what an image or one of its bases needs; NotFoundError where neither says so."""
    from runtimeimg.cli.locations import location_of
    from runtimeimg.compat import find

    found = find(location_of(image), criteria, stores)
    if found is None:
        raise missing(image)
    return found


def missing(image: str) -> NotFoundError:
    """Return the error for an image that says nothing of what it needs."""
    return NotFoundError(
        f"image '{image}' has no compatibility artifact, and none of its bases has one",
        hint="'runtimeimg index compat attach' attaches one",
    )


def origin(found: Found) -> str:
    """Return where a document is from."""
    about = "inherited from" if found.inherited else "of"
    return f"{about} {found.image} ({found.subject.short}), artifact {found.artifact.digest.short}"
