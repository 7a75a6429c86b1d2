"""The build context as a folder, for other builders to build."""

from __future__ import annotations

import re
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

from runtimeimg import remains
from runtimeimg.builders.context import Source, stream
from runtimeimg.errors import NotFoundError, UsageError
from runtimeimg.hostfile import explained

_OWN = re.compile(r"(Dockerfile\.runtime|workspace|rootfs\d+)\Z")


def write(folder: Path, dockerfile: str, sources: Iterable[Source]) -> None:
    """Write the context as a folder, in the place of one written before; it appears whole or not at all.

    Raises UsageError for a folder that holds anything else.
    """
    others = sorted(path.name for path in folder.iterdir() if not _OWN.match(path.name)) if folder.is_dir() else []
    if others:
        raise UsageError(f"folder '{folder}' holds other files, such as '{others[0]}'", hint="name an empty or new one")
    folder = folder.absolute()
    if not folder.parent.is_dir():
        raise NotFoundError(f"folder '{folder.parent}' does not exist")
    with explained(folder), remains.folder_beside(folder.parent) as place:
        made = place / "made"
        made.mkdir()
        with tempfile.TemporaryFile(dir=place) as file:
            file.writelines(stream(dockerfile, sources))
            file.seek(0)
            with tarfile.open(fileobj=file) as archive:
                # Our own archive: its names do not lead out of it, and links in it stay as they are.
                archive.extractall(made, filter="fully_trusted")  # noqa: S202
        if folder.is_dir():
            folder.rename(place / "old")
        made.rename(folder)
