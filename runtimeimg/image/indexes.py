"""Indexes made of images and changed: values from values, in one family of media types (image-spec, image-index.md).

What an index lists stays as it is, digest and all, but for manifests of Docker's schema 2, which are told anew in OCI's
media types. An index that a change leaves as it was is the very one that was given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from runtimeimg.budgets import MAX_INDEX_ENTRIES
from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.image.values import REFERENCE_DIGEST, Image, ImageIndex, Origin, is_attestation
from runtimeimg.oci import Descriptor, Index, Manifest, Platform
from runtimeimg.oci.mediatypes import DOCKER_INDEX, DOCKER_MANIFEST, INDEXES, OCI_INDEX

_MAX_OPENED = 1024
"""Indexes within an index that are opened to flatten it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What an index lists: its descriptor, a way to open it, and where it is kept where that is known."""

    descriptor: Descriptor
    open: Callable[[], Image | ImageIndex | Manifest]
    origin: Origin | None = None

    def marked(self, platform: Platform | None, annotations: Mapping[str, str]) -> Entry:
        """Return the entry with a platform, where one is given, and more annotations."""
        merged = MappingProxyType({**self.descriptor.annotations, **annotations})
        descriptor = replace(self.descriptor, platform=platform or self.descriptor.platform, annotations=merged)
        return replace(self, descriptor=descriptor)

    @property
    def place(self) -> tuple[object, ...]:
        """Platform and annotations: of two entries that are equal in them the second is never chosen."""
        platform = self.descriptor.platform
        told = (*platform.normal, platform.os_version, platform.os_features) if platform else None
        return told, tuple(sorted(self.descriptor.annotations.items()))


def entry_of(item: Image | ImageIndex, origin: Origin | None = None) -> Entry:
    """Return an entry for an image, its platform that of its config, or for an index."""
    if isinstance(item, ImageIndex):
        return Entry(descriptor=item.index.descriptor, open=lambda: item, origin=origin)
    manifest = item.to_manifest()
    whole = replace(item, manifest=manifest)
    return Entry(descriptor=replace(manifest.descriptor, platform=_platform(item)), open=lambda: whole, origin=origin)


def told_closer(own: Platform, said: Platform, name: str) -> Platform:
    """Return `own` with what `said` tells beyond it; UsageError where that is another machine than `name` is for."""
    if (own.os, own.architecture) != (said.os, said.architecture):
        raise UsageError(f"image '{name}' is for {own}, not for {said}")
    return own.closer(said)


def _platform(image: Image) -> Platform:
    """Return the platform of an image's config; InvalidDocumentError for none that a runtime would look for."""
    try:
        platform = image.platform
    except InvalidDocumentError as error:
        raise InvalidDocumentError(f"image '{image.name}': {error.message}") from None
    if "unknown" in {platform.os, platform.architecture}:
        raise InvalidDocumentError(f"image '{image.name}' is for {platform}, which nothing runs")
    return platform


def entries_of(found: ImageIndex) -> tuple[Entry, ...]:
    """Return the entries of an index in their order, as they are."""
    return tuple(
        Entry(descriptor=item, open=partial(found.open_manifest, item), origin=found.origin(item))
        for item in found.index.manifests
    )


def assembled(
    entries: Sequence[Entry], annotations: Mapping[str, str], *, base: ImageIndex | None = None, name: str = ""
) -> ImageIndex:
    """Return the index of these entries in their order, with these annotations of its own.

    Of `base`, fields that are not known are kept, and where nothing is different the index itself.
    """
    if len(entries) > MAX_INDEX_ENTRIES:
        raise UsageError(f"an index of {len(entries)} entries is too large; {MAX_INDEX_ENTRIES} are allowed")
    by_digest = {entry.descriptor.digest: entry for entry in entries}
    descriptors = [entry.descriptor for entry in entries]
    return ImageIndex(
        index=_document(base.index if base else None, descriptors, dict(annotations)),
        open_manifest=lambda item: by_digest[item.digest].open(),
        name=name or (base.name if base else ""),
        origin=lambda item: by_digest[item.digest].origin if item.digest in by_digest else None,
    )


def _document(base: Index | None, descriptors: list[Descriptor], annotations: dict[str, str]) -> Index:
    if base is None:
        return Index.of(descriptors, annotations)
    if (base.media_type, list(base.manifests), base.annotations) == (OCI_INDEX, descriptors, annotations):
        return base
    changes: dict[str, Any] = {
        "mediaType": OCI_INDEX,
        "manifests": [item.to_json() for item in descriptors],
        "annotations": annotations or None,
    }
    return Index(base.evolve(**changes).raw, OCI_INDEX)


def in_oci_types(entry: Entry) -> Entry:
    """Return an entry whose manifest, or index with all that it lists, is told in OCI's media types.

    Config and layers stay the same blobs. What is of OCI's types by its descriptor is not opened.
    """
    if entry.descriptor.media_type not in {DOCKER_MANIFEST, DOCKER_INDEX}:
        return entry
    found = entry.open()
    if isinstance(found, ImageIndex):
        inner = [in_oci_types(child) for child in entries_of(found)]
        made: Image | ImageIndex = assembled(inner, found.index.annotations, base=found)
    elif isinstance(found, Image):
        made = replace(found, manifest=None)
        made = replace(made, manifest=made.to_manifest())
    else:
        return entry
    document = made.index if isinstance(made, ImageIndex) else made.to_manifest()
    told = document.descriptor
    descriptor = replace(entry.descriptor, media_type=told.media_type, digest=told.digest, size=told.size)
    return Entry(descriptor=descriptor, open=lambda: made)


def flattened(found: ImageIndex) -> Iterator[Entry]:
    """Yield the images of an index and of all indexes within it, in order, each with its platform.

    Annotations of the entry of an inner index are those of its images too, unless these have their own. Attestations
    and what is for unknown platforms is left out. InvalidDocumentError for what has no end.
    """
    opened = 0
    waiting: list[tuple[Iterator[Entry], Mapping[str, str]]] = [(iter(entries_of(found)), {})]
    while waiting:
        entries, inherited = waiting[-1]
        entry = next(entries, None)
        if entry is None:
            waiting.pop()
        elif entry.descriptor.media_type in INDEXES:
            inner = entry.open()
            opened += 1
            if opened > _MAX_OPENED:
                raise InvalidDocumentError(f"index '{found.name}' holds more than {_MAX_OPENED} indexes")
            assert isinstance(inner, ImageIndex)
            waiting.append((iter(entries_of(inner)), {**inherited, **entry.descriptor.annotations}))
        elif not is_attestation(entry.descriptor):
            own = entry.descriptor.annotations
            yield with_platform(entry).marked(None, {**inherited, **own})


def with_platform(entry: Entry) -> Entry:
    """Return an entry that tells its platform; where it does not, that is read from the image's config."""
    if entry.descriptor.platform is not None or entry.descriptor.media_type in INDEXES:
        return entry
    found = entry.open()
    return entry.marked(_platform(found), {}) if isinstance(found, Image) else entry


def added(entries: Sequence[Entry], new: Iterable[Entry], at: int | None = None) -> tuple[Entry, ...]:
    """Return entries with new ones, each in the place of one of the same platform and annotations, or at `at`.

    `at` counts from 0; None is the end.
    """
    result = list(entries)
    places = {entry.place: number for number, entry in reversed(list(enumerate(result)))}
    fresh = []
    for entry in new:
        number = places.get(entry.place)
        if number is None:
            fresh.append(entry)
        else:
            result[number] = entry
    at = len(result) if at is None else at
    return _without_strays(entries, [*result[:at], *fresh, *result[at:]])


def removed(entries: Sequence[Entry], numbers: Iterable[int]) -> tuple[Entry, ...]:
    """Return entries without those at these places, counted from 0."""
    gone = set(numbers)
    return _without_strays(entries, [entry for number, entry in enumerate(entries) if number not in gone])


def _without_strays(before: Sequence[Entry], after: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return `after` without what attests an image that was there before and is not any more."""
    lost = {str(item.descriptor.digest) for item in before} - {str(item.descriptor.digest) for item in after}
    return tuple(item for item in after if item.descriptor.annotations.get(REFERENCE_DIGEST) not in lost)


def shadowed(entries: Sequence[Entry]) -> Iterator[tuple[int, int]]:
    """Yield the places of entries that are never chosen, each after that of the one before it that always is."""
    first: dict[tuple[object, ...], int] = {}
    for number, entry in enumerate(entries):
        if is_attestation(entry.descriptor):
            continue
        other = first.setdefault(entry.place, number)
        if other != number:
            yield other, number
