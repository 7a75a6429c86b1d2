"""What a builder is: a plan in, an image out, nothing left behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Protocol

from runtimeimg.image import Image
from runtimeimg.oci import Platform
from runtimeimg.plan import BuildPlan
from runtimeimg.stores.base import StoreOptions
from runtimeimg.stores.growing import Early


def _unplaced(origin: str) -> str:
    return origin


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """All that a builder is told.

    `workspace` is the folder of `$(workspace)` sources. `place` turns a dotted path of the spec into
    `file:line:column: path` for messages. `pull` is `missing`, `always` or `never`. `build_args` are for proxies.
    `cache_dir` is where a builder may keep what saves the next build work; None keeps nothing. `epoch` is
    SOURCE_DATE_EPOCH in seconds. `options` are a builder's own settings by name (native: compression, level,
    layers). `looked_at` tells that somebody will look into the image's layers. `early` takes new layers while they are
    made.
    """

    plan: BuildPlan
    stores: StoreOptions
    workspace: Path
    platform: Platform | None = None
    place: Callable[[str], str] = _unplaced
    pull: str = "missing"
    network: str | None = None
    build_args: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False
    cache_dir: Path | None = None
    epoch: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    looked_at: bool = False
    early: Early | None = None

    @property
    def engine_platform(self) -> Platform | None:
        """The platform as it is said to engines and buildah, many of which know no level of amd64."""
        platform = self.platform
        return replace(platform, variant="") if platform and platform.architecture == "amd64" else platform


class Builder(Protocol):
    """Builds the image of a plan, not yet stamped."""

    name: ClassVar[str]

    def check(self, request: BuildRequest) -> None:
        """Raise UnavailableError when what the builder needs is not there, UsageError when the plan is not for it."""

    def build(self, request: BuildRequest) -> AbstractContextManager[Image]:
        """Return a context whose value is the image; leaving it removes whatever the build made on the way.

        The image's layers can be read until then. Raises BuildFailed when a step fails.
        """
