"""The choice within what a store opened: an index, an index within it, or a single image."""

from __future__ import annotations

from dataclasses import replace

from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image import Image, ImageIndex
from runtimeimg.oci.mediatypes import OCI_MANIFEST
from runtimeimg.selection.candidates import Candidate, candidates
from runtimeimg.selection.choice import Choice, choose, require
from runtimeimg.selection.criteria import Criteria
from runtimeimg.selection.fleet import Fleet, Outcome
from runtimeimg.selection.inside import look_inside

MAX_DEPTH = 8
"""Indexes within indexes."""


def image_of(found: Image | ImageIndex, criteria: Criteria) -> Image:
    """Return the image that is chosen, with what its index says of it; NotFoundError where nothing fits."""
    place, choice = chosen_of(found, criteria)
    entry = require(choice, place.name).candidate.descriptor
    if isinstance(place, Image):
        return place
    image = place.open_manifest(entry)
    if not isinstance(image, Image):
        raise InvalidDocumentError(f"index '{place.name}' lists {entry.digest}, which is no image but an artifact")
    return replace(image, entry=entry)


def chosen_of(
    found: Image | ImageIndex, criteria: Criteria, *, inside: bool = False
) -> tuple[Image | ImageIndex, Choice]:
    """Return what was chosen from, and the choice: of `found`, or of an index in it.

    Nothing is read but the index, unless the entry that is chosen is an index itself, or `inside` asks for the configs.
    A single image is the only candidate, with the annotations of its manifest; engines do not look at its platform.
    """
    for _ in range(MAX_DEPTH):
        if isinstance(found, Image):
            return found, choose((_single(found),), criteria)
        there = candidates(found.index)
        if inside:
            there = look_inside(there, criteria, found.open_manifest)
        choice = choose(there, criteria)
        chosen = choice.chosen
        if chosen is None or not chosen.candidate.is_index:
            return found, choice
        child = found.open_manifest(chosen.candidate.descriptor)
        if not isinstance(child, ImageIndex):
            raise _no_index(found, chosen.candidate)
        found = child
    raise InvalidDocumentError(f"index '{found.name}' holds indexes more than {MAX_DEPTH} deep")


def outcomes_of(found: Image | ImageIndex, fleet: Fleet, *, inside: bool = False, depth: int = 0) -> list[Outcome]:
    """Return what the hosts of a fleet would run of what a store opened; see `chosen_of`."""
    if isinstance(found, Image):
        return fleet.outcomes((_single(found),))
    if depth >= MAX_DEPTH:
        raise InvalidDocumentError(f"index '{found.name}' is more than {MAX_DEPTH} deep")
    there = candidates(found.index)
    if inside:
        there = look_inside(there, Criteria(), found.open_manifest)
    result = []
    for item in fleet.outcomes(there):
        chosen = item.choice.chosen
        if chosen is None or not chosen.candidate.is_index:
            result.append(item)
            continue
        child = found.open_manifest(chosen.candidate.descriptor)
        if not isinstance(child, ImageIndex):
            raise _no_index(found, chosen.candidate)
        inner = outcomes_of(child, fleet, inside=inside, depth=depth + 1)
        result += [part for one in inner if (part := one.among(item.hosts)) is not None]
    return sorted(result, key=lambda item: item.hosts[0])


def _no_index(found: ImageIndex, candidate: Candidate) -> InvalidDocumentError:
    return InvalidDocumentError(f"index '{found.name}' calls {candidate.descriptor.digest} an index, which it is not")


def _single(image: Image) -> Candidate:
    document = image.manifest or image.config  # an Engine keeps no manifest
    descriptor = replace(document.descriptor, media_type=OCI_MANIFEST, annotations=dict(image.annotations))
    return Candidate(position=0, descriptor=descriptor, platform=None, env=image.config.env)
