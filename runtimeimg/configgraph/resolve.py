"""References to images opened: by the lock where it has their digest, several at once, or from this machine alone.

A registry's image that was looked at before is in the cache under its digest, and is not asked for again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from runtimeimg.cache import Cache
from runtimeimg.configgraph import facts as telling
from runtimeimg.configgraph import reading
from runtimeimg.configgraph.facts import Base, Facts
from runtimeimg.configgraph.lock import Lock, Locked
from runtimeimg.configgraph.model import NO_ORIGIN, Origin
from runtimeimg.errors import IntegrityError, InvalidDocumentError, NotFoundError, RuntimeimgError, UsageError
from runtimeimg.image import Image, ImageIndex
from runtimeimg.oci import Digest, Location
from runtimeimg.oci.documents import load_json
from runtimeimg.stores import StoreOptions, open_image

KIND = "graph"
"""Where the cache keeps facts."""
WORKERS = 8
_FILES = frozenset({"oci", "oci-archive", "docker-archive"})
_ARCHIVES = _FILES - {"oci"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An image that documents name: `image` as it is written, `digest` the pin of a document, `sha256` of an archive.

    `name` is what the lock and messages call it; `folder` is what the paths of layouts and archives are relative to.
    """

    name: str
    image: str
    folder: str = ""
    digest: str = ""
    sha256: str = ""
    origin: Origin = NO_ORIGIN
    path: str = "image"
    """What of its document names it."""

    @property
    def location(self) -> Location:
        """Where it is; of a layout or archive as it is seen from here."""
        found = Location.parse(self.image)
        if found.transport in _FILES and found.path is not None and self.folder:
            return replace(found, path=os.path.normpath(Path(self.folder, found.path)))
        return found


MadeOf = Callable[[Location, Image], tuple[Base, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How images are opened. With `offline` no registry is asked; with `update` the lock is not minded."""

    options: StoreOptions
    lock: Lock
    offline: bool = False
    update: bool = False
    cache: Cache | None = None
    made_of: MadeOf | None = None
    """What tells of a registry's image what else it was made of, its base aside."""


def resolve(wanted: Sequence[Wanted], ways: Ways) -> dict[str, Facts]:
    """Return the facts of images by the names that they are wanted by; what all of them raise, the first first."""
    if not wanted:
        return {}
    with ThreadPoolExecutor(min(WORKERS, len(wanted)), thread_name_prefix="image") as pool:
        futures = [pool.submit(_tried, item, ways) for item in wanted]
        try:
            results = [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise
    failed = [(item, result) for item, result in zip(wanted, results, strict=True) if isinstance(result, Exception)]
    if failed:
        raise _together(failed)
    return {item.name: result for item, result in zip(wanted, results, strict=True) if isinstance(result, Facts)}


def locks(wanted: Iterable[Wanted], found: Mapping[str, Facts]) -> dict[str, Locked]:
    """Return the lock of images that were found."""
    return {
        item.name: Locked(image=item.image, reference=found[item.name].reference, digest=found[item.name].digest)
        for item in wanted
        if item.name in found
    }


def _tried(item: Wanted, ways: Ways) -> Facts | RuntimeimgError:
    try:
        return _opened(item, ways)
    except RuntimeimgError as error:
        return error


def _together(failed: Sequence[tuple[Wanted, RuntimeimgError]]) -> RuntimeimgError:
    """Return one error for all: of the kind of the first, with the place of each document."""
    first = failed[0][1]
    lines = [f"{_place(item)}: {error.message}" for item, error in failed[:50]]
    if len(failed) > 50:
        lines.append(f"and {len(failed) - 50} more images")
    hints = dict.fromkeys(error.hint for _, error in failed if error.hint)
    kind = type(first) if type(first) in _PLAIN else RuntimeimgError
    return kind("\n".join(lines), hint="; ".join(list(hints)[:3]) or None)


def _place(item: Wanted) -> str:
    return str(reading.problem(item.origin, item.path, f"artefact '{item.name}'"))


def _plain() -> frozenset[type[RuntimeimgError]]:
    """Return the kinds of error that are made of a message alone."""
    from runtimeimg import errors

    kinds = (getattr(errors, name) for name in dir(errors) if name.endswith("Error") and name != "SpecError")
    return frozenset(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, RuntimeimgError))


_PLAIN = _plain()


def _opened(item: Wanted, ways: Ways) -> Facts:
    location, pin = item.location, _pin(item, ways)
    located = _pinned(location, pin, item, ways)
    kept = _kept(located, pin, ways)
    if kept is not None:
        return telling.elsewhere(kept, str(_located(location, ways.lock.get(item.name), kept)))
    if item.sha256:
        _check_archive(item, location)
    found = _open(located, pin, item, ways)
    place = _found_at(location, found)
    told = telling.of(found, str(place))
    if pin and pin not in {told.digest, *(variant.config for variant in told.variants if not told.index)}:
        raise IntegrityError(
            f"image '{item.image}' is {told.digest}, and {_who(item)} {pin}",
            hint="take what is there with --update" if not item.digest else "correct the digest in the document",
        )
    if ways.made_of is not None and not ways.offline and place.transport == "docker":
        told = replace(told, builders=ways.made_of(place, telling.first(found)))
    if location.transport not in _FILES and ways.cache is not None and Digest.parse(told.digest):
        data = json.dumps(telling.to_json(told), separators=(",", ":")).encode()
        ways.cache.put(KIND, Digest.parse(told.digest).encoded, data)
    return told


def _who(item: Wanted) -> str:
    return "its document says" if item.digest else "the lock says"


def _pin(item: Wanted, ways: Ways) -> str:
    """Return the digest that an image must have: its document's, else the lock's; empty where nobody says one."""
    reference = item.location.reference
    written = str(reference.digest) if reference is not None and reference.digest is not None else ""
    if written and item.digest and written != item.digest:
        raise InvalidDocumentError(
            f"'image' says {written}, and 'digest' says {item.digest}", hint="keep one of the two digests"
        )
    pin = item.digest or written
    locked = ways.lock.get(item.name)
    if ways.update or locked is None or locked.image != item.image:
        return pin
    if pin and locked.digest != pin:
        raise InvalidDocumentError(
            f"the document says {pin}, and the lock says {locked.digest}", hint="take the document's with --update"
        )
    return locked.digest


def _pinned(location: Location, pin: str, item: Wanted, ways: Ways) -> Location:
    """Return where the image with a digest is asked for: of a registry and an Engine by that digest."""
    locked = ways.lock.get(item.name)
    if location.transport is None and pin and locked is not None and locked.image == item.image and not ways.update:
        location = replace(location, transport=Location.parse(locked.reference).transport)
    if not pin:
        return location
    if location.transport == "docker" and location.reference is not None:
        return replace(location, reference=replace(location.reference, tag=None, digest=Digest.parse(pin)))
    if location.transport == "docker-daemon" and pin.startswith("sha256:") and item.digest == "":
        return Location(transport="docker-daemon", image_id=pin)
    return location


def _kept(location: Location, pin: str, ways: Ways) -> Facts | None:
    """Return what the cache has of a registry's image."""
    if not pin or ways.cache is None or location.transport in _FILES:
        return None
    data = ways.cache.get(KIND, Digest.parse(pin).encoded)
    try:
        return None if data is None else telling.from_json(load_json(data, "what the cache keeps"))
    except (InvalidDocumentError, KeyError, TypeError):
        return None


def _located(location: Location, locked: Locked | None, kept: Facts) -> Location:
    """Return where an image is that the cache told of."""
    if location.transport is not None:
        return location
    return Location.parse(locked.reference if locked is not None else kept.reference)


def _found_at(location: Location, found: Image | ImageIndex) -> Location:
    """Return a location with the transport that a bare name was found by."""
    if location.transport is not None:
        return location
    engine = isinstance(found, Image) and found.image_id is not None
    if engine:
        return replace(location, transport="docker-daemon")
    assert location.reference is not None
    return replace(location, transport="docker", reference=location.reference.tagged)


def _open(location: Location, pin: str, item: Wanted, ways: Ways) -> Image | ImageIndex:
    if ways.offline and location.transport in {None, "docker"}:
        found = _from_engine(location, ways)
        if found is not None:
            return found
        raise NotFoundError(
            f"image '{item.image}' is in a registry, which --offline does not ask",
            hint="build the graph once without --offline, or name an image of this machine such as oci:DIR",
        )
    if location.transport == "oci" and pin:
        return _of_layout(location, Digest.parse(pin), ways)
    return open_image(location, ways.options, exact=False)


def _from_engine(location: Location, ways: Ways) -> Image | ImageIndex | None:
    """Return what the Engine has of a bare name, None where it has nothing or there is none."""
    from runtimeimg.errors import UnavailableError

    if location.transport is not None:
        return None
    try:
        return open_image(replace(location, transport="docker-daemon"), ways.options, exact=False)
    except (NotFoundError, UnavailableError):
        return None


def _of_layout(location: Location, digest: Digest, ways: Ways) -> Image | ImageIndex:
    """Return what a layout's tag names, where that has another digest the image of the digest that it still holds."""
    from runtimeimg.stores.layout.layouts import open_blob_of

    found = open_image(location, ways.options)
    told = found.index if isinstance(found, ImageIndex) else found.to_manifest()
    if told.digest == digest:
        return found
    return open_blob_of(location, digest, ways.options) or found


def _check_archive(item: Wanted, location: Location) -> None:
    """Raise IntegrityError for an archive whose file has another digest than its document says."""
    from hashlib import sha256

    from runtimeimg.hostfile import open_file

    if location.transport not in _ARCHIVES or location.path is None:
        raise UsageError(f"'sha256' is of an archive's file, and '{item.image}' is none", hint="pin it with 'digest'")
    digest = sha256()
    with open_file(Path(location.path), "archive") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != item.sha256:
        raise IntegrityError(
            f"archive '{location.path}' has the sha256 {digest.hexdigest()}, and its document says {item.sha256}",
            hint="correct 'sha256' in the document, or fetch the archive anew",
        )
