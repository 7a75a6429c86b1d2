"""Copying from store to store, a whole index or some of its platforms."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from runtimeimg.errors import NotFoundError
from runtimeimg.image import Image, ImageIndex, Layer, choose_platform
from runtimeimg.image.values import image_entries
from runtimeimg.oci import Descriptor, Index, Location, Platform
from runtimeimg.stores import StoreOptions, Written, open_destination, open_image

if TYPE_CHECKING:
    from runtimeimg.cache import Cache
    from runtimeimg.image.compress import Compression


def copy(
    source: Location,
    destination: Location,
    options: StoreOptions,
    platforms: Sequence[Platform] = (),
    *,
    cache: Cache | None = None,
) -> Written:
    """Copy what `source` names to `destination`, manifests byte for byte where nothing is left out.

    Without `platforms` an index is copied whole, attestations too, unless `options.choose` chooses an image of it; one
    platform copies that image alone; several copy an index of just those entries. Layers that an Engine keeps unpacked
    are compressed on the way; what they came to is remembered in `cache`.
    """
    target = open_destination(destination, options)
    with packed(select(open_image(source, options), platforms), destination, options, cache=cache) as found:
        return target.write(found)


@contextlib.contextmanager
def packed(
    found: Image | ImageIndex,
    destination: Location,
    options: StoreOptions,
    compression: Compression | None = None,
    *,
    cache: Cache | None = None,
) -> Iterator[Image | ImageIndex]:
    """Yield `found` fit for `destination`: layers straight from an Engine are compressed before they are stored."""
    stored = destination.transport in {"docker", "oci", "oci-archive"}
    if not stored or isinstance(found, ImageIndex) or not any(_in_engine(layer) for layer in found.layers):
        yield found
        return
    from runtimeimg.image.compress import Compression
    from runtimeimg.stores.packing import compressed

    how = compression or Compression.parse("gzip", None)
    with compressed(found, how, options.environ.get("TMPDIR"), cache) as image:
        yield image


def _in_engine(layer: Layer) -> bool:
    return layer.origin is not None and layer.origin.store == "engine"


def select(found: Image | ImageIndex, platforms: Sequence[Platform]) -> Image | ImageIndex:
    """Return `found`, or what of it is for `platforms`; NotFoundError lists what there is when one is missing."""
    if not platforms:
        return found if isinstance(found, Image) or found.chooser is None else choose_platform(found, None)
    if len(platforms) == 1 or isinstance(found, Image):
        chosen = [choose_platform(found, platform) for platform in platforms]
        return chosen[0]
    entries = tuple(dict.fromkeys(_entry(found, platform).digest for platform in platforms))
    kept = [item for item in found.index.manifests if item.digest in entries]
    if [item.digest for item in kept] == [item.digest for item in found.index.manifests]:
        return found
    manifests = [item.to_json() for item in kept]
    index = Index(found.index.evolve(manifests=manifests).raw, found.index.media_type)
    return replace(found, index=index)


def _entry(found: ImageIndex, platform: Platform) -> Descriptor:
    entries = image_entries(found)
    if found.chooser is not None:
        chosen = found.chooser(found, platform).to_manifest().digest
        for entry in entries:
            if entry.digest == chosen:
                return entry
        raise NotFoundError(f"image '{found.name}' has {chosen} in an index within it", hint="copy one platform alone")
    for entry in entries:
        if entry.platform is not None and entry.platform.matches(platform):
            return entry
    there = ", ".join(str(entry.platform) for entry in entries if entry.platform) or "nothing"
    raise NotFoundError(f"image '{found.name}' has nothing for {platform}", hint=f"it holds {there}")
