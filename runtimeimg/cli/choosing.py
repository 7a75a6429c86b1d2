"""The options of all commands that choose among the entries of an index, and what they ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtimeimg.cli.options import F, in_place_of
from runtimeimg.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from runtimeimg.image import Image, ImageIndex
    from runtimeimg.oci import Platform
    from runtimeimg.selection.criteria import Criteria, Preference, Requirement
    from runtimeimg.selection.hosts import Host
    from runtimeimg.selection.mapping import Rule
    from runtimeimg.selection.platforms import Engine, PlatformOrder
    from runtimeimg.selection.preferences import Preferences
    from runtimeimg.stores import StoreOptions

    Chooser = Callable[[Image | ImageIndex, Platform | None], Image]

HOST = "host"
"""What `--platform` calls this machine."""

_PATH = click.Path(path_type=Path)
_OPTIONS = (
    click.option(
        "--prefer", multiple=True, metavar="KEY=VALUE[:WEIGHT]", help="Annotation that is preferred; may be repeated."
    ),
    click.option("--require", multiple=True, metavar="KEY=VALUE", help="Annotation that must be there."),
    click.option("--preferences", type=_PATH, metavar="FILE", help="Requirements and preferences, as YAML or JSON."),
    click.option("--mapping", type=_PATH, metavar="FILE", help="What facts of a host mean, in place of the usual."),
    click.option(
        "--as",
        "engine",
        type=click.Choice(["containerd", "docker", "podman"]),
        help="Engine whose order of platforms is followed; containerd's by default, with amd64 levels.",
    ),
    click.option("--order", type=click.Choice(["sum", "lexicographic"]), help="How preferences rank; sum by default."),
)
_HOST_OPTION = click.option(
    "--host", type=_PATH, metavar="FILE", help="Host to choose for: its platform and its facts."
)
KEYS = ("prefer", "require", "preferences", "mapping", "engine", "order")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choosing:
    """What the options say."""

    prefer: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    preferences: Path | None = None
    host: Path | None = None
    mapping: Path | None = None
    engine: str | None = None
    order: str | None = None

    @property
    def asked(self) -> bool:
        """Whether any of them is given, so that more than a platform is asked for."""
        return self != Choosing()

    def wishes(self) -> Wishes:
        """Read the files and return what is asked for; raises what is wrong with any of it."""
        from runtimeimg.selection.criteria import parse_preference, parse_requirement

        return Wishes(
            required=tuple(map(parse_requirement, self.require)),
            preferred=tuple(map(parse_preference, self.prefer)),
            site=self._preferences(),
            host=read_host(self.host) if self.host else None,
            rules=self._rules(),
            engine=self._engine(),
            order=self.order,
        )

    def chooser(self, *, single: bool) -> Chooser | None:
        """Return what chooses the image of an index as is asked for, None where nothing is; the files are read now."""
        if not self.asked:
            return None
        from runtimeimg.image import Image
        from runtimeimg.selection.opened import image_of

        wishes = self.wishes()

        def choose(found: Image | ImageIndex, platform: Platform | None) -> Image:
            return found if isinstance(found, Image) and not single else image_of(found, wishes.criteria(platform))

        return choose

    def _engine(self) -> Engine | None:
        if self.engine is None:
            return None
        from runtimeimg.selection.platforms import Engine

        return Engine(self.engine)

    def _preferences(self) -> Preferences | None:
        if self.preferences is None:
            return None
        from runtimeimg.selection import preferences

        return preferences.load(_read(self.preferences, "preferences"), _name(self.preferences))

    def _rules(self) -> tuple[Rule, ...]:
        from runtimeimg.selection.mapping import DEFAULT

        if self.mapping is None:
            return DEFAULT
        from runtimeimg.selection import mappingdocument

        return mappingdocument.load(_read(self.mapping, "mapping"), _name(self.mapping))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What is asked for, all files read."""

    required: tuple[Requirement, ...]
    preferred: tuple[Preference, ...]
    site: Preferences | None
    host: Host | None
    rules: tuple[Rule, ...]
    engine: Engine | None
    order: str | None

    @property
    def documentation(self) -> Mapping[str, str]:
        """Where annotations are explained, by namespace."""
        return self.site.documentation if self.site else {}

    def criteria(self, platform: Platform | None = None) -> Criteria:
        """Return what is asked for on a platform; on the host's, or this machine's, where none is named."""
        return self._criteria(self.host, self._platforms(platform, self.host))

    def criteria_on(self, host: Host) -> Criteria:
        """Return what is asked for on another host, with its own platform."""
        return self._criteria(host, self._platforms(None, host))

    def _platforms(self, platform: Platform | None, host: Host | None) -> PlatformOrder:
        from runtimeimg.selection.platforms import PlatformOrder

        if platform is not None:
            return PlatformOrder(platform, self.engine)
        return PlatformOrder(host.platform if host else this_machine(), self.engine, own=True)

    def _criteria(self, host: Host | None, platforms: PlatformOrder) -> Criteria:
        from runtimeimg.selection.criteria import Criteria, Order

        site = self.site
        found = Criteria(
            platforms=platforms,
            requirements=self.required + (site.requirements if site else ()),
            preferences=self.preferred + (site.preferences if site else ()),
            order=Order(self.order) if self.order else (site and site.order) or Order.SUM,
            namespaces=site.namespaces if site else (),
        )
        if host is None:
            return found
        from runtimeimg.selection.mapping import wishes
        from runtimeimg.selection.nvidia import NvidiaFacts

        required, preferred = wishes(host, self.rules)
        return replace(
            found,
            requirements=found.requirements + required,
            preferences=found.preferences + preferred,
            nvidia=NvidiaFacts.of(host.facts),
        )


def choosing_options(command: F) -> F:
    """Add the options that say which entry of an index is wanted; they arrive as one argument, `choosing`."""

    def with_choosing(*args: Any, host: Path | None, **kwargs: Any) -> Any:
        own = {key: kwargs.pop(key) for key in KEYS}
        return command(*args, choosing=Choosing(host=host, **own), **kwargs)

    return in_place_of(command, with_choosing, (*_OPTIONS, _HOST_OPTION))


def choosing_stores(command: F, *, single: bool = True) -> F:
    """Add the same options; they arrive within `stores`, which then chooses whenever an index is opened.

    With `single` what must hold must hold for single images too. It stands below `store_options`.
    """

    def with_choosing(*args: Any, host: Path | None, stores: Callable[..., StoreOptions], **kwargs: Any) -> Any:
        own = {key: kwargs.pop(key) for key in KEYS}
        choosing = Choosing(host=host, **own)
        made: list[Chooser | None] = []

        def make(*args: Any) -> StoreOptions:
            if not made:
                made.append(choosing.chooser(single=single))
            return replace(stores(*args), choose=made[0])

        return command(*args, stores=make, **kwargs)

    return in_place_of(command, with_choosing, (*_OPTIONS, _HOST_OPTION))


def wish_options(command: F) -> F:
    """Add the same options but `--host`, for commands that look at many hosts."""

    def with_choosing(*args: Any, **kwargs: Any) -> Any:
        own = {key: kwargs.pop(key) for key in KEYS}
        return command(*args, choosing=Choosing(**own), **kwargs)

    return in_place_of(command, with_choosing, _OPTIONS)


def wanted_platform(text: str | None) -> Platform | None:
    """Return the platform that `--platform` names, None for the host's."""
    from runtimeimg.oci import Platform

    return Platform.parse(text) if text and text != HOST else None


def this_machine() -> Platform:
    """Return the platform of this machine, with the level of its processor."""
    from runtimeimg.detect.system import with_level
    from runtimeimg.oci import Platform

    return with_level(Platform.host(), Path("/"))


def read_host(path: Path) -> Host:
    """Return the host that a file describes: a profile, or what Kubernetes or Node Feature Discovery says of a node."""
    from runtimeimg.selection import hostfiles

    return hostfiles.load(_read_large(path), _name(path))


def read_hosts(paths: Sequence[Path]) -> tuple[Host, ...]:
    """Return the hosts of files, and of folders all that are YAML or JSON, by name; UsageError for two of one name."""
    from runtimeimg.selection import hostfiles

    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(item for item in path.iterdir() if item.suffix in {".yaml", ".yml", ".json"})
            if not inside:
                raise NotFoundError(f"folder '{path}' holds no host: no file that is .yaml, .yml or .json")
            files += inside
        else:
            files.append(path)
    found: dict[str, Path] = {}
    hosts = []
    for path in files:
        for host in hostfiles.load_all(_read_large(path), _name(path)):
            other = found.setdefault(host.name, path)
            if other is not path:
                raise UsageError(
                    f"hosts '{other}' and '{path}' are both called '{host.name}'", hint="give each its own name"
                )
            hosts.append(host)
    return tuple(hosts)


def _read_large(path: Path) -> bytes:
    from runtimeimg.budgets import MAX_DOCUMENT
    from runtimeimg.hostfile import read_file

    return read_file(path, MAX_DOCUMENT, "host")


def _read(path: Path, what: str) -> bytes:
    from runtimeimg.hostfile import read_file
    from runtimeimg.spec.yamltext import MAX_BYTES

    return read_file(path, MAX_BYTES, what)


def _name(path: Path) -> str:
    name = str(path)
    return name if name.isprintable() else repr(name)[1:-1]
