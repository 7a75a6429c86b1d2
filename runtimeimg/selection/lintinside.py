"""What entries of an index say that the images behind them contradict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from runtimeimg.findings import Rule
from runtimeimg.oci import Descriptor, Platform
from runtimeimg.selection import lintrules as rules
from runtimeimg.spec.checks import shown

_COMPATIBLE = {"amd64": {"amd64", "386"}, "arm64": {"arm64", "arm"}}
_SHOWN = 3
_FIX = "build the image for the platform of the entry, or add the entry anew without one: it is read from the config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What is known of an entry's image beside its descriptor.

    `programs` has for each architecture how many ELF files are for it; `levels` the files that need an x86-64 level
    above the baseline. Both are empty where nobody looked.
    """

    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    programs: Mapping[str, int] = field(default_factory=dict)
    levels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A finding about an entry that is yet to be placed: the part of it, what is wrong, what to do."""

    rule: Rule
    inside: str
    message: str
    fix: str


def contradictions(entry: Descriptor, inside: Inside) -> Iterator[Said]:
    """Yield where the platform of an entry and what is in its image do not go together."""
    claimed = entry.platform
    if claimed is not None and inside.platform is not None:
        yield from _config(claimed, inside.platform)
    platform = claimed or inside.platform
    if platform is None:
        return
    yield from _processor(platform, inside)
    if platform.architecture == "amd64":
        yield from _level(platform, inside)


def _config(claimed: Platform, found: Platform) -> Iterator[Said]:
    pairs = [
        ("os", claimed.os, found.os),
        ("architecture", claimed.normal[1], found.normal[1]),
        ("variant", claimed.normal[2] if claimed.variant else "", found.normal[2] if found.variant else ""),
        ("os.version", claimed.os_version, found.os_version),
    ]
    for name, entry, config in pairs:
        if entry != config and ((entry and config) or name in {"os", "architecture"}):
            message = f"says {name} {shown(entry)}, the config of its image says {shown(config)}"
            yield Said(rule=rules.OTHER_CONFIG, inside=f"platform.{name}", message=message, fix=_FIX)
    if missing := sorted(set(found.os_features) - set(claimed.os_features)):
        message = f"lacks os.features of its image's config: {shown(', '.join(missing[:_SHOWN]))}"
        yield Said(rule=rules.OTHER_CONFIG, inside="platform.os.features", message=message, fix=_FIX)


def _processor(platform: Platform, inside: Inside) -> Iterator[Said]:
    fitting = _COMPATIBLE.get(platform.architecture, {platform.architecture})
    others = {name: count for name, count in inside.programs.items() if name not in fitting}
    if others and len(others) == len(inside.programs):
        there = ", ".join(f"{count} for {name}" for name, count in sorted(others.items()))
        message = f"is for {platform.architecture}; the programs and libraries of its image are {there}"
        fix = "build the image for that platform; look for COPY of files that were built elsewhere"
        yield Said(rule=rules.OTHER_PROCESSOR, inside="platform.architecture", message=message, fix=fix)


def _level(platform: Platform, inside: Inside) -> Iterator[Said]:
    variant = platform.normal[2]
    claimed = int(variant[1:]) if variant[:1] == "v" and variant[1:].isdecimal() and len(variant) == 2 else 1
    above = {path: level for path, level in inside.levels.items() if level > claimed}
    if above:
        needed = max(above.values())
        paths = sorted(path for path, level in above.items() if level == needed)
        more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
        files = ", ".join(shown(f"/{path}") for path in paths[:_SHOWN])
        message = f"claims amd64 level v{claimed}, but v{needed} is needed by {files}{more}"
        yield Said(
            rule=rules.HIGHER_LEVEL,
            inside="platform.variant",
            message=message,
            fix=f"give the entry the variant v{needed}, or build the image for v{claimed}",
        )


def unseen(entries: Iterable[tuple[int, Descriptor, Inside]]) -> Iterator[tuple[int, Said]]:
    """Yield entries, by number, whose manifests tell them from others for the platform while the index does not."""
    groups: dict[tuple[str, str, str], list[tuple[int, Descriptor, Inside]]] = defaultdict(list)
    for number, entry, inside in entries:
        platform = entry.platform or inside.platform
        if platform is not None:
            groups[platform.normal].append((number, entry, inside))
    for group in groups.values():
        if len(group) == 1:
            continue
        common = set.intersection(*(set(inside.annotations.items()) for _, _, inside in group))
        for number, entry, inside in group:
            own = [
                key
                for key, value in sorted(inside.annotations.items())
                if (key, value) not in common
                and key not in entry.annotations
                and not key.startswith("org.opencontainers.")
            ]
            if own:
                keys = ", ".join(shown(key) for key in own[:_SHOWN])
                message = f"does not say {keys}, which only the manifest of its image has"
                fix = "give the entry the annotations that it is to be chosen by: 'runtimeimg index annotate'"
                yield number, Said(rule=rules.NOT_AT_ENTRY, inside="annotations", message=message, fix=fix)
