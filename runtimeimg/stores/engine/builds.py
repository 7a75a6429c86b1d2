"""What a build by the classic builder leaves, removed: only what this very build made, and nothing that is used.

An image is this build's when it was not there before, carries no name, and the build named it in its output. A
container is this build's when it was not there before, the build named it, and it runs one of the build's images. When
the builder was killed the Engine may have gone on a little: what came of that is known by its parent, the last image
that the build named, and by its instruction.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runtimeimg.errors import NotFoundError, RemoteError
from runtimeimg.stores.engine.unfinished import remove_container, remove_image, unnamed

if TYPE_CHECKING:
    from runtimeimg.remains import Note
    from runtimeimg.stores.engine.connection import Engine

_SHORT = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """IDs of what an Engine had when a build began, and the first 12 digits of what the build named, found or made.

    `ahead` are the instructions that the Engine may have gone on with, from the image `last` on.
    """

    images_before: frozenset[str]
    containers_before: frozenset[str]
    images: frozenset[str]
    containers: frozenset[str]
    last: str
    ahead: tuple[str, ...]


def begin(engine: Engine, note: Note, dockerfile: str) -> None:
    """Note what an Engine has before a build, and what it is to build."""
    before = {"images": _ids(engine.images(every=True)), "containers": _containers(engine)}
    note.add(before=before, instructions=instructions(dockerfile))


def instructions(dockerfile: str) -> list[str]:
    """Return the instructions of a Dockerfile of ours, each in one line."""
    lines = re.sub(r"\\\n\s*", "", dockerfile).splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def read(lines: list[dict[str, Any]]) -> Build:
    """Return what was noted of a build."""
    first = next(line for line in lines if "before" in line)
    steps = sum(1 for line in lines if "step" in line)
    images = [str(line["image"]) for line in lines if "image" in line]
    told = [line for line in lines if "step" in line or "image" in line]
    begun = steps - 1 if told and "step" in told[-1] else steps
    ended = any("settled" in line for line in lines) or not images
    return Build(
        images_before=frozenset(first["before"]["images"]),
        containers_before=frozenset(first["before"]["containers"]),
        images=frozenset(images),
        containers=frozenset(str(line["container"]) for line in lines if "container" in line),
        last="" if ended else images[-1],
        ahead=() if ended else tuple(first["instructions"][begun:]),
    )


def sweep(engine: Engine, build: Build) -> bool:
    """Remove what a build made, and tell whether something was beyond what it named.

    Images that carry a name, or that others build on, stay.
    """
    for container_id in frozenset(_containers(engine)) - build.containers_before:
        if container_id[:_SHORT] in build.containers and _runs_one_of(engine, container_id, build):
            remove_container(engine, container_id)
    new = {
        str(entry["Id"])
        for entry in engine.images(every=True)
        if unnamed(entry) and entry["Id"] not in build.images_before
    }
    beyond = set(_beyond(engine, build, {one for one in new if _short(one) not in build.images}))
    left = [one for one in new if _short(one) in build.images or one in beyond]
    # An image can be removed when nothing builds on it: the last ones first, until none goes any more.
    while removed := [one for one in left if remove_image(engine, one)]:
        left = [image_id for image_id in left if image_id not in removed]
    return bool(beyond)


def _beyond(engine: Engine, build: Build, images: set[str]) -> Iterator[str]:
    """Yield, in order, the images that the Engine made after the last one that was told."""
    last = build.last
    for instruction in build.ahead:
        found = next((one for one in images if _follows(engine, one, last, instruction)), None)
        if found is None:
            return
        yield found
        last = _short(found)


def _follows(engine: Engine, image_id: str, parent: str, instruction: str) -> bool:
    with contextlib.suppress(NotFoundError, RemoteError):
        found = engine.get(f"/images/{image_id}/json")
        if _short(str(found.get("Parent") or "")) != parent:
            return False
        (newest, *_) = engine.get(f"/images/{image_id}/history")
        return same_instruction(instruction, str(newest.get("CreatedBy") or ""))
    return False


def same_instruction(instruction: str, created_by: str) -> bool:
    """Tell whether an image's history speaks of an instruction: of its keyword, and the last word is spelt alike."""
    keyword, _, rest = instruction.partition(" ")
    if f" {keyword} " not in created_by and (keyword != "RUN" or "#(nop)" in created_by):
        return False
    words = [re.sub(r"\W", "", text.split()[-1]) for text in (rest, created_by)]
    return words[0] == words[1] or "$" in rest


def _containers(engine: Engine) -> list[str]:
    return _ids(engine.get("/containers/json", all=True))


def _ids(entries: list[dict[str, Any]]) -> list[str]:
    return sorted(str(entry["Id"]) for entry in entries)


def _short(image_id: str) -> str:
    return image_id.rpartition(":")[2][:_SHORT]


def _runs_one_of(engine: Engine, container_id: str, build: Build) -> bool:
    with contextlib.suppress(NotFoundError):
        return _short(str(engine.get(f"/containers/{container_id}/json")["Image"])) in build.images
    return False
