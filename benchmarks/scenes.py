"""What is measured: scenes, in series that share a tool's storage; each begins with a cold build."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

REGISTRY = "127.0.0.1:5000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is built: images of the benchmark's repositories, and the folders that are copied."""

    builder: str = "builder:1"
    base: str = "base:1"
    directories: tuple[str, ...] = ("/app",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Scenes built one after the other with the same storage, empty at first; the tools that take part."""

    scenes: Mapping[str, Scene]
    tools: Collection[str]
    link: bool = False
    """Over the slow link."""
    large: bool = False
    """Takes minutes and tens of gigabytes of disk."""

    def taking_part(self, tools: Collection[str]) -> list[str]:
        """Return those of the tools that the series is for."""
        return [name for name in tools if name in self.tools]

    def until(self, chosen: Collection[str]) -> dict[str, Scene]:
        """Return the scenes up to the last that is chosen: each begins with what the ones before it have left."""
        names = list(self.scenes)
        last = max((at for at, name in enumerate(names) if name in chosen), default=-1)
        return {name: self.scenes[name] for name in names[: last + 1]}

    def images(self, chosen: Collection[str]) -> set[str]:
        """Return the images that are needed for the scenes chosen."""
        return {image for scene in self.until(chosen).values() for image in (scene.builder, scene.base)}


SERIES = (
    Series(
        scenes={
            "cold": Scene(),
            "unchanged": Scene(),
            "top layer changed": Scene(builder="builder:2"),
            "dependency changed": Scene(builder="builder:dependency"),
            "base changed": Scene(builder="builder:2", base="base:apart"),
            "other service": Scene(builder="builder:2", base="base:apart", directories=("/usr/share/nodejs",)),
        },
        tools=("native", "native-zstd", "docker", "buildkit", "buildkitd", "buildkitd-link", "buildah"),
    ),
    Series(
        scenes={"cold, link": Scene(), "top layer changed, link": Scene(builder="builder:2")},
        tools=("native", "buildkitd"),
        link=True,
    ),
    Series(scenes={"cold, index, link": Scene()}, tools=("native-index",), link=True),
    Series(scenes={"cold, eStargz, link": Scene(builder="builder-estargz:1")}, tools=("native",), link=True),
    Series(scenes={"cold, zstd:chunked, link": Scene(builder="builder-chunked:1")}, tools=("native",), link=True),
    Series(
        scenes={"one 5 GB file": Scene(builder="big:1", directories=("/big",))},
        tools=("native",),
        large=True,
    ),
)
"""In the order in which they are built."""

NAMES = tuple(name for series in SERIES for name in series.scenes)
