"""Which entry of an index each engine would run on which platform, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from runtimeimg.errors import UsageError
from runtimeimg.image import Image, ImageIndex
from runtimeimg.oci import Descriptor, Manifest, Platform
from runtimeimg.selection.candidates import Candidate, candidates
from runtimeimg.selection.criteria import Criteria
from runtimeimg.selection.opened import chosen_of
from runtimeimg.selection.platforms import Engine, PlatformOrder, normalized

_COMMON = {
    "amd64": ("", "v2", "v3", "v4"),
    "386": ("",),
    "arm": ("v5", "v6", "v7", "v8"),
    "arm64": ("", "v8.2", "v9"),
}
"""Variants that machines have, by architecture."""
_RUN_BY = {"386": "amd64", "arm": "arm64"}
"""Architectures that run another's images."""
MAX_PLATFORMS = 256
"""Rows of a matrix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A platform, and what each engine would run there, None where it would run nothing."""

    platform: Platform
    chosen: tuple[Candidate | None, ...]

    @property
    def same(self) -> bool:
        """Whether all engines would run the same."""
        return len({item and item.descriptor.digest for item in self.chosen}) == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """The rows by platform; `engines` are the columns."""

    engines: tuple[Engine, ...]
    rows: tuple[Row, ...]


def matrix(
    found: ImageIndex,
    platforms: Sequence[Platform] = (),
    engines: Iterable[Engine] = Engine,
    *,
    inside: bool = False,
) -> Matrix:
    """Return the matrix of an index, for its own platforms and those that machines have of their kinds by default."""
    columns = tuple(engines)
    wanted = tuple(platforms) or usual_platforms(candidates(found.index))
    if len(wanted) > MAX_PLATFORMS:
        raise UsageError(
            f"a matrix of '{found.name}' would have {len(wanted)} platforms; {MAX_PLATFORMS} are allowed",
            hint="name some of them with --platform",
        )
    choose = _chooser(found, inside=inside)
    rows = [Row(platform=platform, chosen=tuple(choose(platform, engine) for engine in columns)) for platform in wanted]
    return Matrix(engines=columns, rows=tuple(rows))


def _chooser(found: ImageIndex, *, inside: bool) -> Callable[[Platform, Engine], Candidate | None]:
    """Return a function that chooses by a platform as it is asked for; nothing is opened twice."""
    opened: dict[str, Image | ImageIndex | Manifest] = {}

    def once(entry: Descriptor) -> Image | ImageIndex | Manifest:
        if entry.digest not in opened:
            opened[entry.digest] = found.open_manifest(entry)
        return opened[entry.digest]

    kept = ImageIndex(index=found.index, open_manifest=once, name=found.name)

    def choose(platform: Platform, engine: Engine) -> Candidate | None:
        choice = chosen_of(kept, Criteria(platforms=PlatformOrder(platform, engine)), inside=inside)[1]
        return choice.chosen.candidate if choice.chosen else None

    return choose


def usual_platforms(there: Iterable[Candidate]) -> tuple[Platform, ...]:
    """Return the platforms of entries, and the variants that machines of those architectures have, in a fixed order."""
    named = [normalized(item.platform) for item in there if item.platform is not None and not item.passed]
    found = dict.fromkeys(named)
    for platform in named:
        for architecture in filter(None, (platform.architecture, _RUN_BY.get(platform.architecture))):
            for variant in _COMMON.get(architecture, ()):
                found.setdefault(normalized(Platform(os=platform.os, architecture=architecture, variant=variant)), None)
    return tuple(sorted(found, key=lambda item: (item.os, item.architecture, _numbers(item.variant), item.full)))


def _numbers(variant: str) -> tuple[int, ...]:
    """Return what sorts variants: `v8.2` before `v8.10`."""
    digits = variant.removeprefix("v").split(".")
    return tuple(int(item) for item in digits if item.isascii() and item.isdecimal() and len(item) < 9)
