"""Bills of materials of images that are looked into or built, and where they are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from runtimeimg.cli.options import source_date_epoch

if TYPE_CHECKING:
    from runtimeimg.build import Built, Part
    from runtimeimg.cache import Cache
    from runtimeimg.check.facts import Facts
    from runtimeimg.check.sbom import Contents, Format
    from runtimeimg.image import Image
    from runtimeimg.oci import Descriptor, Location
    from runtimeimg.stores import StoreOptions


def listed(facts: Facts) -> Contents:
    """Return what an image holds, of the time of SOURCE_DATE_EPOCH or else of the image."""
    from runtimeimg.check.sbom import contents_of
    from runtimeimg.check.sbom.values import seconds

    epoch = source_date_epoch()
    created = epoch if epoch is not None else seconds(facts.view.image.config.data.get("created"))
    return contents_of(facts, created)


def attach(data: bytes, form: Format, location: Location, subject: Descriptor, options: StoreOptions) -> Descriptor:
    """Keep a bill of materials beside the image that it is about; UsageError where nothing keeps such."""
    from runtimeimg.stores.artifacts import artifacts_of, blob

    kept = artifacts_of(location, options, "bill of materials")
    return kept.attach(form.media_type, [blob(data, form.media_type)], subject, {})


class Collected:
    """The bills of materials of what a build makes, written while the images can be read and attached afterwards."""

    def __init__(self, form: Format, cache: Cache | None) -> None:
        form.check()
        self._form = form
        self._cache = cache
        self._made: list[bytes] = []

    def look(self, part: Part, image: Image) -> None:
        """Write the bill of materials of an image."""
        from runtimeimg.check.opened import opened
        from runtimeimg.check.sbom import written
        from runtimeimg.cli.looking import seen_of
        from runtimeimg.text import printable

        seen, account = seen_of(part, image, self._cache), part.request.stores.account
        with opened(seen.image, cache=self._cache, account=account, **seen.origins) as facts:
            self._made.append(written(listed(facts), self._form))
            for note in facts.notes:
                part.request.stores.progress.line(f"note: {printable(note)}")

    def attach(self, built: Built, destinations: Sequence[Location], options: StoreOptions) -> None:
        """Attach them to what was written to registries and layouts; say so of a place that keeps none."""
        for location, one in zip(destinations, built.written, strict=True):
            if one.descriptor is None or location.transport not in {"docker", "oci"}:
                what = "an Engine" if one.descriptor is None else f"'{location}'"
                options.progress.line(f"note: {what} keeps no bill of materials; use --push or -o oci:DIR")
                continue
            for data, subject in zip(self._made, _subjects(location, one.descriptor, options), strict=True):
                attach(data, self._form, location, subject, options)


def collected(name: str | None, cache: Cache | None) -> Collected | None:
    """Return what collects bills of materials in a format, None for none; UnavailableError as `Format.check`."""
    if name is None:
        return None
    from runtimeimg.check.sbom import FORMATS

    return Collected(FORMATS[name], cache)


def _subjects(location: Location, written: Descriptor, options: StoreOptions) -> Sequence[Descriptor]:
    """Return the manifests of the images that were written, in the order of the build."""
    from runtimeimg.image import ImageIndex
    from runtimeimg.image.values import image_entries
    from runtimeimg.oci.mediatypes import INDEXES
    from runtimeimg.stores import open_image

    if written.media_type not in INDEXES:
        return (written,)
    found = open_image(location, options)
    assert isinstance(found, ImageIndex)
    return image_entries(found)


def both(*looks: Callable[[Part, Image], None]) -> Callable[[Part, Image], None]:
    """Return what looks at an image in several ways, one after another."""

    def look(part: Part, image: Image) -> None:
        for item in looks:
            item(part, image)

    return look
