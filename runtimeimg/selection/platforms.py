"""Which platforms an engine takes for the one that is wanted, and in which order.

The rules are those of containerd (containerd/platforms), which Docker uses too, and of podman, skopeo and buildah
(containers/image, internal/manifest and pkg/platform): they differ in amd64 levels, in 386 on amd64, in the levels of
arm64 and in what a missing variant means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from runtimeimg.oci import Platform

Triple = tuple[str, str, str]
"""OS, architecture and variant."""

_ARM64 = re.compile(r"v([89])(?:\.([1-9]))?\Z")
_LEVEL = re.compile(r"v([1-9][0-9]?)\Z")
_SYSTEMS = {"macos": "darwin"}
_ALIASES = {"i386": "386", "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "armel": "arm"}
_VARIANTS = {
    ("amd64", "v1"): "",
    **dict.fromkeys((("arm64", "8"), ("arm64", "v8"), ("arm64", "v8.0")), ""),
    **dict.fromkeys((("arm64", "9"), ("arm64", "9.0"), ("arm64", "v9.0")), "v9"),
    **{("arm", text): f"v{text or 7}" for text in ("", "5", "6", "7", "8")},
}
_PODMAN = {"arm": ("v8", "v7", "v6", "v5"), "arm64": ("v8",)}
_BUILDS = (20348, 26100)
"""Builds of Windows from which on older images run too (containerd's "stable ABI")."""
_VERSION = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,5})(?:\.|\Z)")


class Engine(StrEnum):
    """Whose rules are followed."""

    CONTAINERD = "containerd"
    DOCKER = "docker"
    PODMAN = "podman"


def normalized(platform: Platform, host_os: str = "linux") -> Platform:
    """Return `platform` as containerd spells it; an OS that is empty is the host's."""
    system, architecture = platform.os.lower() or host_os, platform.architecture.lower()
    variant = {"armhf": "v7", "armel": "v6", "i386": ""}.get(architecture, platform.variant.lower())
    architecture = _ALIASES.get(architecture, architecture)
    return replace(
        platform,
        os=_SYSTEMS.get(system, system),
        architecture=architecture,
        variant=_VARIANTS.get((architecture, variant), variant),
    )


def _triples(platform: Platform) -> list[Triple]:
    """Return what containerd tries for a normalized platform, the best first; nothing for an unknown arm64 variant."""
    system, architecture, variant = platform.os, platform.architecture, platform.variant
    match architecture:
        case "amd64":
            level = _LEVEL.match(variant)
            below = [f"v{number}" for number in range(int(level[1]) - 1, 1, -1)] + [""] if level else []
            return [(system, "amd64", item) for item in (variant, *below)] + [(system, "386", "")]
        case "arm":
            return [(system, "arm", item) for item in _arm(variant)]
        case "arm64":
            levels = [(system, "arm64", item) for item in _arm64(variant)]
            return levels + [(system, "arm", item) for item in _arm("v8")] if levels else []
    return [(system, architecture, variant)]


def _arm(variant: str) -> list[str]:
    level = _LEVEL.match(variant)
    return [variant, *(f"v{number}" for number in range(int(level[1]) - 1, 4, -1))] if level else [variant]


def _arm64(variant: str) -> list[str]:
    """Return the levels of arm64 that run on one; v9.x holds v8.(x+5)."""
    found = _ARM64.match(variant or "v8")
    if found is None:
        return []
    minor = int(found[2] or 0)
    if found[1] == "8":
        return _down("v8", minor, "")
    return _down("v9", minor, "v9") + _down("v8", min(minor + 5, 9), "")


def _down(major: str, minor: int, lowest: str) -> list[str]:
    return [f"{major}.{number}" for number in range(minor, 0, -1)] + [lowest]


def _podman(platform: Platform) -> list[Triple]:
    """Return what podman tries: a known variant and those below, then none; without one, none first."""
    known, variant = _PODMAN.get(platform.architecture, ()), platform.variant
    if not variant:
        variants: Iterable[str] = ("", *known)
    else:
        variants = (*(known[known.index(variant) :] if variant in known else (variant,)), "")
    return [(platform.os, platform.architecture, item) for item in variants]


@dataclass(frozen=True, slots=True)
class Rank:
    """How well an entry's platform suits: its place in the engine's list, then how many of its OS features it names."""

    place: int
    features: int = 0

    @property
    def key(self) -> tuple[int, int]:
        """What sorts the best first."""
        return (self.place, -self.features)


class PlatformOrder:
    """The platforms that an engine takes for `wanted`, and the rank of an entry's platform among them.

    Without an engine the order is containerd's. With `own` the platform is what the engine finds out about its own
    machine, not one that was asked for: containerd and podman then know no amd64 level, and all but podman take linux
    on darwin and freebsd too.
    """

    def __init__(self, wanted: Platform, engine: Engine | None = None, *, own: bool = False) -> None:
        if own and engine in {Engine.CONTAINERD, Engine.PODMAN} and wanted.architecture == "amd64":
            wanted = replace(wanted, variant="")
        self.engine = engine or Engine.CONTAINERD
        self.wanted = wanted if engine is Engine.PODMAN else normalized(wanted)
        triples = _podman(wanted) if engine is Engine.PODMAN else _triples(self.wanted)
        if own and engine is not Engine.PODMAN and self.wanted.os in {"darwin", "freebsd"}:
            here = (self.wanted.os, self.wanted.architecture, self.wanted.variant)
            triples = [here, ("linux", *here[1:])]
        self.triples = tuple(dict.fromkeys(triples))
        self._places: Mapping[Triple, int] = {triple: place for place, triple in enumerate(self.triples)}
        self._features = frozenset(self.wanted.os_features)
        self._ranks: dict[Platform, Rank | str] = {}

    def rank(self, there: Platform | None) -> Rank | str:
        """Return the rank of an entry of this platform, or why the engine does not take it.

        An entry without a platform comes after all others; engines look at its config then.
        """
        if there is None:
            return Rank(len(self.triples))
        found = self._ranks.get(there)
        if found is None:
            found = self._ranks[there] = self._rank(there)
        return found

    def _rank(self, there: Platform) -> Rank | str:
        if self.engine is Engine.PODMAN:
            place = self._places.get((there.os, there.architecture, there.variant))
            return Rank(place) if place is not None else self._other(there)
        there = normalized(there, self.wanted.os)
        place = self._places.get((there.os, there.architecture, there.variant))
        if place is None:
            return self._other(there)
        features = frozenset(there.os_features)
        if there.os == "windows":
            features -= {"win32k"}
            if not _windows_fits(there.os_version, self.wanted.os_version):
                return f"needs Windows {there.os_version}, which does not run on {self.wanted.os_version}"
        if missing := features - self._features:
            return f"needs the OS feature {', '.join(sorted(missing))}"
        return Rank(place, len(features))

    def _other(self, there: Platform) -> str:
        return f"is for {there}, not for {self.wanted}"


def _windows_fits(image: str, host: str) -> bool:
    """Tell whether an image of one version of Windows runs on a host of another; an empty version fits anything.

    Major and minor number are equal; hosts before build 20348 run images of their own build alone, later ones those
    of the floor that is next below them and newer. A host's version that is none counts as empty.
    """
    there, here = _VERSION.match(image), _VERSION.match(host)
    if not image or here is None:
        return True
    if there is None or there.group(1, 2) != here.group(1, 2):
        return False
    build, own = int(there[3]), int(here[3])
    if own < _BUILDS[0]:
        return build == own
    floor = max((number for number in _BUILDS if number < own), default=_BUILDS[0])
    return floor <= build <= own
