"""What images need of hosts: compatibility artifacts of Node Feature Discovery, found, inherited and attached.

Source: NFD docs/usage/image-compatibility.md. An artifact is about an image or about an index; of several about one
the newest `org.opencontainers.image.created` counts. An image that has none needs what its base does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from runtimeimg.errors import InvalidDocumentError, NotFoundError, SpecError, UsageError
from runtimeimg.image import Image, ImageIndex, choose_platform
from runtimeimg.oci import Descriptor, Digest, Location, Platform, Reference
from runtimeimg.selection.criteria import Criteria
from runtimeimg.selection.nfd import spec as documents
from runtimeimg.selection.nfd.spec import ARTIFACT_TYPE, SPEC_TYPE, Spec
from runtimeimg.selection.opened import image_of
from runtimeimg.selection.platforms import PlatformOrder
from runtimeimg.stamp import BASE_DIGEST, BASE_NAME
from runtimeimg.stores import StoreOptions, open_once
from runtimeimg.stores.artifacts import blob
from runtimeimg.stores.registry.referrers import RegistryArtifacts
from runtimeimg.text import message

CREATED = "org.opencontainers.image.created"
MAX_SPEC = 1 << 20
MAX_BASES = 8
"""How many bases below each other are looked at."""

_OLDEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A document, the artifact that holds it, and the image that it is about: the one asked for, or a base of it."""

    spec: Spec
    raw: bytes
    artifact: Descriptor
    image: str
    subject: Digest
    inherited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _About:
    """An image that artifacts may be about: its repository, and its digests, the most special first."""

    reference: Reference
    subjects: tuple[Descriptor, ...]
    image: Image | None


def on(platform: Platform) -> Criteria:
    """Return what chooses the image of an index for a platform."""
    return Criteria(platforms=PlatformOrder(platform))


def find(location: Location, criteria: Criteria | None, options: StoreOptions) -> Found | None:
    """Return what an image needs, its own document or that of the nearest base that has one; None where none has.

    With `criteria` an index is looked at as the image that they choose. Raises NotFoundError for an image that is not
    there, or an index in which nothing fits, and InvalidDocumentError for an artifact that is malformed.
    """
    about = _about(reference_of(location), criteria, options)
    for number, found in enumerate(_chain(about, options)):
        if (document := _own(found, options)) is not None:
            return replace(document, inherited=number > 0)
    return None


def base_of(location: Location, criteria: Criteria | None, options: StoreOptions) -> Found | None:
    """Return what the nearest base of an image that has a document needs; None where none has."""
    _, *bases = _chain(_about(reference_of(location), criteria, options), options)
    return next((found for base in bases if (found := _own(base, options)) is not None), None)


def attach(
    location: Location, raw: bytes, created: str, criteria: Criteria | None, options: StoreOptions
) -> tuple[Descriptor, bool]:
    """Attach a document to an image or index; return its artifact, and whether it is new.

    `raw` is the document, which the caller has read. One that is the newest already is not attached again.
    """
    about = _about(reference_of(location), criteria, options)
    with contextlib.suppress(InvalidDocumentError):  # one that is broken is no reason not to attach another
        there = _newest(about, about.subjects[0].digest, options)
        if there is not None and there.raw == raw:
            return there.artifact, False
    files = (blob(raw, SPEC_TYPE, {"org.opencontainers.image.title": "compatibility.yaml"}),)
    more = {"annotations": {CREATED: created}}
    return _artifacts(about, options).attach(ARTIFACT_TYPE, files, about.subjects[0], more), True


def reference_of(location: Location) -> Reference:
    """Return the name of an image in a registry; UsageError for one that is elsewhere."""
    if location.reference is None or location.transport not in {None, "docker"}:
        raise UsageError(f"image '{location}' is not in a registry, which alone keeps artifacts about it")
    return location.reference.tagged


def _about(reference: Reference, criteria: Criteria | None, options: StoreOptions) -> _About:
    """Return what artifacts may be about: the image that is chosen and then its index, or an index as a whole."""
    found = open_once(Location(transport="docker", reference=reference), options)
    if isinstance(found, Image):
        return _About(reference=reference, subjects=(found.to_manifest().descriptor,), image=found)
    whole = found.index.descriptor
    if criteria is None:
        return _About(reference=reference, subjects=(whole,), image=_any(found))
    image = image_of(found, criteria)
    return _About(reference=reference, subjects=(image.to_manifest().descriptor, whole), image=image)


def _any(found: ImageIndex) -> Image | None:
    """Return an image of an index, whose base stands for those of all: this machine's, or the first."""
    try:
        return choose_platform(found, None)
    except NotFoundError:
        opened = (found.open_manifest(entry) for entry in found.index.manifests[:4])
        return next((item for item in opened if isinstance(item, Image)), None)


def _chain(about: _About, options: StoreOptions) -> Iterator[_About]:
    """Yield an image and its bases, as far as labels or annotations name them and they are there."""
    yield about
    for _ in range(MAX_BASES):
        image = about.image
        if image is None or (base := _base(image)) is None:
            return
        try:
            about = _about(base, on(image.platform), options)
        except NotFoundError:
            return
        yield _with_index(about, options)


def _base(image: Image) -> Reference | None:
    """Return the base that an image names (annotations.md, `org.opencontainers.image.base.name` and `.digest`)."""
    said = {**image.config.labels, **image.annotations}
    name, digest = said.get(BASE_NAME), said.get(BASE_DIGEST)
    if not name:
        return None
    try:
        reference = Reference.parse(name)
        return replace(reference, digest=Digest.parse(digest)) if digest else reference
    except (InvalidDocumentError, UsageError):
        return None


def _with_index(about: _About, options: StoreOptions) -> _About:
    """Return a base with the index that its tag stands for, where that lists it: artifacts may be about either."""
    if about.reference.digest is None or about.reference.tag is None:
        return about
    try:
        tagged = Location(transport="docker", reference=replace(about.reference, digest=None))
        index = open_once(tagged, options)
    except (NotFoundError, InvalidDocumentError):
        return about
    known = {item.digest for item in about.subjects}
    if not isinstance(index, ImageIndex) or index.index.digest in known:
        return about
    listed = {entry.digest for entry in index.index.manifests}
    return replace(about, subjects=(*about.subjects, index.index.descriptor)) if listed & known else about


def _artifacts(about: _About, options: StoreOptions) -> RegistryArtifacts:
    return RegistryArtifacts(about.reference, options, "compatibility artifact")


def _own(about: _About, options: StoreOptions) -> Found | None:
    return next((found for item in about.subjects if (found := _newest(about, item.digest, options)) is not None), None)


def _newest(about: _About, subject: Digest, options: StoreOptions) -> Found | None:
    """Return the newest document about a subject; those without a time are the oldest."""
    artifacts = _artifacts(about, options)
    entries = artifacts.of_type(subject, ARTIFACT_TYPE)
    if not entries:
        return None
    entry = newest(entries)
    files = artifacts.files(entry.digest, MAX_SPEC)
    raw = files.get(SPEC_TYPE)
    name = f"artifact {entry.digest.short} about '{about.reference}'"
    if raw is None:
        kinds = ", ".join(sorted(files))[:200] or "nothing"
        raise InvalidDocumentError(f"{name} holds no compatibility document of the type '{SPEC_TYPE}', but {kinds}")
    try:
        spec = documents.load(raw, message(name))
    except SpecError as error:
        raise SpecError(error.problems, hint="attach one that is right: 'runtimeimg index compat attach'") from None
    return Found(spec=spec, raw=raw, artifact=entry, image=str(about.reference), subject=subject)


def newest(entries: Sequence[Descriptor]) -> Descriptor:
    """Return the entry that was created last, of equals the last one, as NFD chooses."""
    return max(enumerate(entries), key=lambda item: (_created(item[1]), item[0]))[1]


def _created(entry: Descriptor) -> datetime:
    """Return when an artifact was created (RFC 3339); the beginning of time where that is not said, or nothing."""
    try:
        found = datetime.fromisoformat(entry.annotations.get(CREATED, ""))
        return _OLDEST if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return _OLDEST
