"""A choice as data: what `--format json` prints, and what its tables are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtimeimg.selection.choice import Choice, Judged
from runtimeimg.selection.criteria import Preference, namespace


def described(choice: Choice, name: str, digest: str, documentation: Mapping[str, str]) -> dict[str, Any]:
    """Return all that a choice was made from; entries are numbered from 1."""
    criteria, platforms = choice.criteria, choice.criteria.platforms
    return {
        "name": name,
        "index": digest,
        "platform": platforms.wanted.full if platforms else None,
        "engine": str(platforms.engine) if platforms else None,
        "order": str(criteria.order),
        "chosen": str(choice.chosen.candidate.descriptor.digest) if choice.chosen else None,
        "candidates": [candidate(item, chosen=item is choice.chosen) for item in choice.judged],
        "documentation": dict(links(choice, documentation)),
    }


def candidate(item: Judged, *, chosen: bool = False) -> dict[str, Any]:
    """Return what was found about one entry."""
    found = item.candidate
    return {
        "entry": found.position + 1,
        "digest": str(found.descriptor.digest),
        "platform": found.platform.full if found.platform else None,
        "annotations": dict(found.annotations),
        "fits": item.fits,
        "chosen": chosen,
        "reasons": list(item.failures),
        "platformPlace": item.rank.place + 1 if item.rank else None,
        "osFeatures": item.rank.features if item.rank else None,
        "score": item.score if item.fits else None,
        "preferred": [_liked(liked) for liked in item.liked],
    }


def _liked(liked: Preference) -> dict[str, Any]:
    found = {"key": liked.key, "wanted": str(liked.matcher), "weight": liked.weight}
    return found | ({"why": liked.why} if liked.why else {})


def scores(item: Judged) -> dict[str, int]:
    """Return what an entry is worth by key."""
    found: dict[str, int] = {}
    for liked in item.liked:
        found[liked.key] = found.get(liked.key, 0) + liked.weight
    return found


def links(choice: Choice, documentation: Mapping[str, str]) -> Mapping[str, str]:
    """Return the links that explain annotations of these entries."""
    known = tuple(documentation)
    there = {namespace(key, known) for item in choice.judged for key in item.candidate.annotations}
    return {name: link for name, link in documentation.items() if name in there}
