"""What a build is of: one spec or several, each as it is or in its variants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from runtimeimg.errors import UsageError

if TYPE_CHECKING:
    from runtimeimg.build import Part
    from runtimeimg.builders import Builder, BuildRequest
    from runtimeimg.cache import Cache
    from runtimeimg.oci import Platform
    from runtimeimg.plan import Facts
    from runtimeimg.planned import Planned


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A plan to build, and what its entry tells in an index; `platform` None leaves that to the build."""

    made: Planned
    name: str = ""
    platform: Platform | None = None
    annotations: tuple[tuple[str, str], ...] = ()


def pieces_of(specs: Sequence[Planned], facts: Facts, chosen: Sequence[str], cache: Cache | None) -> list[Piece]:
    """Return what the specs are built as: each variant that is chosen, all of them by default, else the spec itself."""
    _one_name(specs)
    there = {variant.name for made in specs for variant in made.plan.variants}
    for name in chosen:
        if name not in there:
            known = ", ".join(sorted(there))
            raise UsageError(f"--variant '{name}': there is none", hint=f"known are {known}" if known else None)
    return [piece for made in specs for piece in _pieces(made, facts, chosen, cache)]


def _pieces(made: Planned, facts: Facts, chosen: Sequence[str], cache: Cache | None) -> list[Piece]:
    from runtimeimg.oci import Platform
    from runtimeimg.planned import planned

    if not made.plan.variants:
        return [] if chosen else [Piece(made=made)]
    return [
        Piece(
            made=planned(made.data, made.file, replace(facts, variant=variant.name), cache),
            name=variant.name,
            platform=Platform.parse(variant.platform) if variant.platform else None,
            annotations=tuple(variant.annotations.items()),
        )
        for variant in made.plan.variants
        if not chosen or variant.name in chosen
    ]


def _one_name(specs: Sequence[Planned]) -> None:
    """Raise UsageError for specs whose images have different names: they are to be in one index."""
    names = {made.plan.outputs for made in specs}
    if len(names) > 1:
        told = ", ".join(f"'{made.file}' names {' '.join(made.plan.outputs) or 'none'}" for made in specs)
        raise UsageError("the specs name different images, and one index has one name", hint=f"pass -t NAME; {told}")


def parts_of(
    pieces: Sequence[Piece],
    request: Callable[[Planned, Platform | None], BuildRequest],
    builder: Callable[[BuildRequest], Builder],
    platforms: Callable[[BuildRequest], Sequence[Platform]],
) -> list[Part]:
    """Return what is handed to the build: requests, each with its builder and the platforms it is built for."""
    from runtimeimg.build import Part

    parts = []
    for piece in pieces:
        made = request(piece.made, piece.platform)
        wanted = (piece.platform,) if piece.platform else tuple(platforms(made))
        parts.append(
            Part(
                request=made,
                builder=builder(made),
                platforms=wanted,
                name=piece.name,
                annotations=dict(piece.annotations),
            )
        )
    return parts
