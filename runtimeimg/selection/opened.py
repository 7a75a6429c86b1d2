"""The choice within what a store opened: an index, an index within it, or a single image."""

from __future__ import annotations

from dataclasses import replace

from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image import Image, ImageIndex
from runtimeimg.selection.candidates import Candidate, candidates
from runtimeimg.selection.choice import Choice, choose
from runtimeimg.selection.criteria import Criteria
from runtimeimg.selection.inside import look_inside

MAX_DEPTH = 8
"""Indexes within indexes."""


def chosen_of(found: Image | ImageIndex, criteria: Criteria, *, inside: bool = False) -> tuple[str, str, Choice]:
    """Return the name and digest of the index that was chosen from, and the choice.

    Nothing is read but the index, unless the entry that is chosen is an index itself, or `inside` asks for the configs.
    A single image is the only candidate, with the annotations of its manifest; engines do not look at its platform.
    """
    for _ in range(MAX_DEPTH):
        if isinstance(found, Image):
            return found.name, str(found.to_manifest().digest), choose((_single(found),), criteria)
        there = candidates(found.index)
        if inside:
            there = look_inside(there, criteria, found.open_manifest)
        choice = choose(there, criteria)
        chosen = choice.chosen
        if chosen is None or not chosen.candidate.is_index:
            return found.name, str(found.index.digest), choice
        child = found.open_manifest(chosen.candidate.descriptor)
        if not isinstance(child, ImageIndex):
            entry = chosen.candidate.descriptor.digest
            raise InvalidDocumentError(f"index '{found.name}' calls {entry} an index, which it is not")
        found = child
    raise InvalidDocumentError(f"index '{found.name}' holds indexes more than {MAX_DEPTH} deep")


def _single(image: Image) -> Candidate:
    manifest = image.to_manifest()
    descriptor = replace(manifest.descriptor, annotations=dict(image.annotations))
    return Candidate(position=0, descriptor=descriptor, platform=None, env=image.config.env)
