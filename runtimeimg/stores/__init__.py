"""Stores by transport; each is imported when it is first asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from runtimeimg.budgets import MAX_INDEX
from runtimeimg.errors import NotFoundError, RemoteError, TransientError, UnavailableError, UsageError
from runtimeimg.oci import Location, Platform
from runtimeimg.stores.base import Destination, Source, StoreOptions, Written

if TYPE_CHECKING:
    from runtimeimg.image import Image, ImageIndex

__all__ = [
    "Destination",
    "Source",
    "StoreOptions",
    "Written",
    "open_destination",
    "open_image",
    "open_index",
    "open_once",
    "open_one",
    "open_source",
]


def open_source(location: Location, options: StoreOptions, *, exact: bool = True) -> Source:
    """Return the source that `location` names; a bare name is looked up in the Engine, then in its registry.

    Without `exact` an Engine's image may come with a config that says the same in other bytes; see DaemonSource.
    """
    match location.transport:
        case None:
            return BareName(location, options, exact=exact)
        case "docker":
            from runtimeimg.stores.registry import RegistrySource

            assert location.reference is not None
            return RegistrySource(location.reference, options)
        case "docker-daemon":
            from runtimeimg.stores.engine.images import DaemonSource

            return DaemonSource(location, options, exact=exact)
        case "oci":
            from runtimeimg.stores.layout import LayoutSource

            return LayoutSource(location, options)
        case "oci-archive" | "docker-archive":
            from runtimeimg.stores.archive import ArchiveSource

            return ArchiveSource(location, options)
    raise UsageError(
        f"image '{location}' is a folder, not an image",
        hint="'dir:' is only understood as the builder's file system of a native or Engine build",
    )


def open_destination(location: Location, options: StoreOptions) -> Destination:
    """Return the destination that `location` names; a bare name is the local Engine."""
    match location.transport:
        case None | "docker-daemon":
            from runtimeimg.stores.engine.images import DaemonDestination

            return DaemonDestination(location, options)
        case "docker":
            from runtimeimg.stores.registry import RegistryDestination

            assert location.reference is not None
            return RegistryDestination(location.reference, options)
        case "oci":
            from runtimeimg.stores.layout import LayoutDestination

            return LayoutDestination(location, options)
        case "oci-archive" | "docker-archive":
            from runtimeimg.stores.archive import ArchiveDestination

            return ArchiveDestination(location, options)
    raise UsageError(f"image '{location}' cannot be written to a plain folder", hint="use oci:DIR for an OCI layout")


def open_image(location: Location, options: StoreOptions, *, exact: bool = True) -> Image | ImageIndex:
    """Return what `location` names, opened; see `StoreOptions.choose` for what is chosen from it later."""
    found = open_source(location, options, exact=exact).open()
    if options.choose is None:
        return found
    from runtimeimg.image import Image

    return options.choose(found, None) if isinstance(found, Image) else replace(found, chooser=options.choose)


def open_index(location: Location, options: StoreOptions, limit: int = MAX_INDEX) -> ImageIndex:
    """Return the index that `location` names; of it nothing is read but the index, of at most `limit` bytes."""
    from runtimeimg.image import ImageIndex

    found = open_image(location, replace(options, max_top=limit))
    if isinstance(found, ImageIndex):
        return found
    raise UsageError(f"image '{location}' is a single image, not an index")


def open_once(location: Location, options: StoreOptions, *, exact: bool = True) -> Image | ImageIndex:
    """Return what `location` names, opened; what a registry has is asked for once with these options.

    So a tag that moves meanwhile means one image to all of a build, and nothing is fetched twice.
    """
    if location.transport != "docker":
        return open_image(location, options, exact=exact)
    found = options.opened.get((location, None))
    if found is None:
        found = options.opened[location, None] = open_image(location, options)
    return found


def open_one(location: Location, platform: Platform | None, options: StoreOptions, *, exact: bool = True) -> Image:
    """Return the image for `platform` (this machine's when None) of what `location` names, see `open_once`."""
    from runtimeimg.image import Image, choose_platform

    found = options.opened.get((location, str(platform)))
    if not isinstance(found, Image):
        found = choose_platform(open_once(location, options, exact=exact), platform)
        if location.transport == "docker":
            options.opened[location, str(platform)] = found
    return found


class BareName:
    """A name without a transport: the local Engine's image when one answers and has it, else the registry's."""

    def __init__(self, location: Location, options: StoreOptions, *, exact: bool) -> None:
        self._location = location
        self._options = options
        self._exact = exact

    @property
    def name(self) -> str:
        """The name as written."""
        return str(self._location)

    def open(self) -> Image | ImageIndex:
        """Return the image from the first of the two places that has it.

        The Engine keeps no index: where more than a platform is asked for, it is the registry's.
        """
        if self._options.choose is not None:
            return open_source(replace(self._location, transport="docker"), self._options).open()
        from runtimeimg.stores.engine.images import DaemonSource

        try:
            return DaemonSource(self._location, self._options, exact=self._exact).open()
        except (UnavailableError, NotFoundError) as local:
            from runtimeimg.stores.missing import nowhere
            from runtimeimg.stores.registry import RegistrySource

            assert self._location.reference is not None
            try:
                return RegistrySource(self._location.reference, self._options).open()
            except (NotFoundError, RemoteError, TransientError) as remote:
                raise nowhere(remote, self._location, local) from remote
