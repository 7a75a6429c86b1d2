"""What a build leaves on an Engine, removed: only what this very build made, and nothing that something else uses.

An image is this build's when it was not there before, carries no name, and the build named it in its output. A
container is this build's when it was not there before, the build named it, and it runs one of the build's images.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runtimeimg.errors import InvalidDocumentError, NotFoundError, RemoteError, TransientError, UnavailableError
from runtimeimg.oci.documents import load_json
from runtimeimg.stores.base import StoreOptions
from runtimeimg.stores.engine import Engine, quoted

RECONNECT = 10.0
"""Seconds that an Engine which went away is waited for."""

_PAUSE = 0.25
_SHORT = 12
_NOT_NOW = (RemoteError, TransientError, NotFoundError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """The IDs of all images and containers that an Engine had when a build began."""

    images: frozenset[str]
    containers: frozenset[str]

    @classmethod
    def of(cls, engine: Engine) -> Before:
        """Ask the Engine."""
        return cls(images=_ids(engine, "/images/json"), containers=_ids(engine, "/containers/json"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a build named in its output: the first 12 digits of the IDs of images and containers, found or made."""

    images: frozenset[str]
    containers: frozenset[str]


def sweep(engine: Engine, before: Before, made: Made) -> None:
    """Remove what the build made. Images that carry a name, or that others build on, stay."""
    for container_id in _ids(engine, "/containers/json") - before.containers:
        if container_id[:_SHORT] in made.containers and _runs_one_of(engine, container_id, made):
            _remove(engine, f"/containers/{container_id}", force=True, v=True)
    left = [
        image_id for image_id in _unnamed(engine) if image_id not in before.images and _short(image_id) in made.images
    ]
    # An image can be removed when nothing builds on it: the last ones first, until none goes any more.
    while removed := [one for one in left if _remove(engine, f"/images/{quoted(one)}", noprune=True)]:
        left = [image_id for image_id in left if image_id not in removed]


def sweep_later(options: StoreOptions, before: Before, made: Made, journal: Path | None) -> bool:
    """Remove what the build made once the Engine is back; return whether it came back in time.

    If not, what is to be removed is noted in the folder `journal`, for the next build to do.
    """
    until = time.monotonic() + RECONNECT
    while True:
        try:
            with Engine.connect(options) as engine:
                sweep(engine, before, made)
                return True
        except (*_NOT_NOW, UnavailableError):
            if time.monotonic() > until:
                break
        time.sleep(_PAUSE)
    if journal is not None:
        _note(journal, options, before, made)
    return False


def sweep_noted(engine: Engine, journal: Path | None) -> None:
    """Remove what earlier builds could not, because this Engine had gone away."""
    if journal is None or not journal.is_dir():
        return
    for path in sorted(journal.glob(f"{_key(engine.address)}-*.json")):
        # A note that is broken helps nobody: it goes like one that is done.
        with contextlib.suppress(InvalidDocumentError, KeyError, TypeError):
            note = load_json(path.read_bytes(), f"note '{path}'")
            sweep(
                engine,
                Before(images=frozenset(note["imagesBefore"]), containers=frozenset(note["containersBefore"])),
                Made(images=frozenset(note["images"]), containers=frozenset(note["containers"])),
            )
        path.unlink(missing_ok=True)


def _note(journal: Path, options: StoreOptions, before: Before, made: Made) -> None:
    from runtimeimg.stores.engine import find_address

    data = {
        "images": sorted(made.images),
        "containers": sorted(made.containers),
        "imagesBefore": sorted(before.images),
        "containersBefore": sorted(before.containers),
    }
    text = json.dumps(data)
    journal.mkdir(parents=True, exist_ok=True)
    name = f"{_key(find_address(options.environ).url)}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    (journal / name).write_text(text, encoding="utf-8")


def _key(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()[:16]


def _ids(engine: Engine, path: str) -> frozenset[str]:
    return frozenset(str(entry["Id"]) for entry in engine.get(path, all=True))


def _unnamed(engine: Engine) -> Iterator[str]:
    for entry in engine.get("/images/json", all=True):
        names = [*(entry.get("RepoTags") or ()), *(entry.get("RepoDigests") or ())]
        if all(name.startswith("<none>") for name in names):
            yield str(entry["Id"])


def _short(image_id: str) -> str:
    return image_id.partition(":")[2][:_SHORT]


def _runs_one_of(engine: Engine, container_id: str, made: Made) -> bool:
    with contextlib.suppress(NotFoundError):
        return _short(str(engine.get(f"/containers/{container_id}/json")["Image"])) in made.images
    return False


def _remove(engine: Engine, path: str, **params: object) -> bool:
    """Remove one thing; False when something uses it, or another has removed it already."""
    try:
        engine.call("DELETE", path, params=params).close()
    except NotFoundError:
        return False
    except RemoteError:
        engine.get("/version")  # an Engine that went away is another matter than one that refused
        return False
    return True
