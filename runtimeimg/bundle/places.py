"""Where paths of a container lead in its rootfs: links on the way are found, the rest is kept where nothing is."""

from __future__ import annotations

from dataclasses import dataclass

from runtimeimg.bundle.values import Files
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image.layertar import SYMLINK

MAX_LINKS = 40
"""Links that a path may go through, as in Linux (path_resolution(7))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Led:
    """What a path comes to, whether or not that is there, and the first link on the way with its target."""

    path: str
    link: str | None = None
    target: str = ""


def led(path: str, files: Files) -> Led:
    """Return where a path leads, as within a chroot: absolute targets begin at the root, and `..` stops there."""
    pending = [part for part in reversed(path.split("/")) if part not in {"", "."}]
    at: list[str] = []
    first: tuple[str, str] | None = None
    followed = 0
    while pending:
        part = pending.pop()
        if part == "..":
            del at[-1:]
            continue
        at.append(part)
        here = "/" + "/".join(at)
        found = files.lookup(here)
        if found is None or found.kind != SYMLINK:
            continue
        followed += 1
        if followed > MAX_LINKS:
            raise InvalidDocumentError(f"'{path}' goes through more than {MAX_LINKS} links of the rootfs")
        target = found.target.decode("utf-8", "surrogateescape")
        first = first or (here, target)
        del at[0 if target.startswith("/") else -1 :]
        pending += [part for part in reversed(target.split("/")) if part not in {"", "."}]
    found_at = "/" + "/".join(at)
    return Led(path=found_at, link=first[0], target=first[1]) if first else Led(path=found_at)
