"""What the configs of candidates tell, where more than the index is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image import Image, ImageIndex
from runtimeimg.oci import Descriptor, Manifest
from runtimeimg.selection.candidates import Candidate
from runtimeimg.selection.choice import choose
from runtimeimg.selection.criteria import Criteria

MAX_LOOKED = 256
"""Candidates of one index whose configs are read."""


def look_inside(
    candidates: Iterable[Candidate],
    criteria: Criteria,
    open_entry: Callable[[Descriptor], Image | ImageIndex | Manifest],
) -> tuple[Candidate, ...]:
    """Return the candidates, those that may be chosen with what their configs say of platform and environment.

    `open_entry` reads what a descriptor names. What turns out to be no image is passed over.
    """
    judged = choose(candidates, criteria).judged
    wanted = sum(item.fits for item in judged)
    if wanted > MAX_LOOKED:
        raise InvalidDocumentError(
            f"the configs of {wanted} entries would be read; {MAX_LOOKED} are allowed", hint="name a platform"
        )
    return tuple(_looked(item.candidate, open_entry) if item.fits else item.candidate for item in judged)


def _looked(candidate: Candidate, open_entry: Callable[[Descriptor], Image | ImageIndex | Manifest]) -> Candidate:
    found = open_entry(candidate.descriptor)
    if isinstance(found, ImageIndex):
        return candidate
    if not isinstance(found, Image):
        return replace(candidate, passed="is an artifact, not an image")
    return replace(candidate, env=found.config.env, own_platform=found.platform)
