"""Images and layers as frozen values; what a store implements is a descriptor, a diff id and `open()`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import IO, Protocol, Self

from runtimeimg.errors import NotFoundError
from runtimeimg.oci import Descriptor, Digest, ImageConfig, Index, Manifest, Platform
from runtimeimg.oci.mediatypes import CONFIGS

REFERENCE_DIGEST = "vnd.docker.reference.digest"
"""Annotation of an index's entry that says something of another one, the image of this digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a blob is kept, so that a destination can take it without moving its bytes.

    `store` is `registry` (place: `host/repository`), `file` (place: the blob's path on this machine) or `engine`
    (place: the Engine's address; the layer is in the Engine and needs no sending to it).
    """

    store: str
    place: str


class Layer(Protocol):
    """One layer: what it is and how it is read."""

    @property
    def diff_id(self) -> Digest:
        """Digest of the uncompressed tar archive."""

    @property
    def descriptor(self) -> Descriptor:
        """The blob as stored; an Engine may have to write it out first to know its size."""

    @property
    def origin(self) -> Origin | None:
        """Where the blob is kept, if some destination could make use of that."""

    def open(self) -> IO[bytes]:
        """Return a reader of the blob's bytes as stored; it raises IntegrityError when they end up different.

        Size and digest are checked as the bytes pass: a caller may trust them only after it has read to the end.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image: its config, its layers (base first), the annotations of its manifest.

    `manifest` is the manifest as found, None for an image that was changed or that a store keeps without one.
    `name` is how the source called it, for messages. `image_id` is what an Engine calls it, when it came from one.
    `entry` is what an index says of it, when it was chosen from one by more than its platform.
    """

    config: ImageConfig
    layers: tuple[Layer, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    manifest: Manifest | None = None
    name: str = ""
    image_id: str | None = None
    entry: Descriptor | None = field(default=None, compare=False)

    @property
    def platform(self) -> Platform:
        """The platform the image is for."""
        return self.config.platform

    def told_for(self, platform: Platform) -> Self:
        """Return the image with a config that tells what `platform` says more closely than it: a level, OS features."""
        told = self.platform.closer(platform)
        if told.matches(self.platform) and (told.os_version, told.os_features) == (
            self.platform.os_version,
            self.platform.os_features,
        ):
            return self
        return self.with_config(self.config.evolve(**told.to_json()))

    def with_config(self, config: ImageConfig) -> Self:
        """Return the image with another config and the same layers."""
        return self if config.raw == self.config.raw else replace(self, config=config, manifest=None, image_id=None)

    def with_annotations(self, annotations: Mapping[str, str]) -> Self:
        """Return the image with these annotations added to those it has."""
        merged = {**self.annotations, **annotations}
        if merged == dict(self.annotations):
            return self
        return replace(self, annotations=MappingProxyType(merged), manifest=None)

    def to_manifest(self) -> Manifest:
        """Return the manifest: the one that was found when nothing changed, else a new one of OCI's kind."""
        if self.manifest is not None:
            return self.manifest
        config = ImageConfig(self.config.raw, "application/vnd.oci.image.config.v1+json")
        return Manifest.of(
            config=config.descriptor,
            layers=[oci_layer_descriptor(layer.descriptor) for layer in self.layers],
            annotations=dict(self.annotations),
        )


def oci_layer_descriptor(descriptor: Descriptor) -> Descriptor:
    """Return `descriptor` with the OCI media type in place of Docker's for the same bytes."""
    from runtimeimg.oci.mediatypes import layer_compression, oci_layer

    return replace(descriptor, media_type=oci_layer(layer_compression(descriptor.media_type)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageIndex:
    """An index and a way to open what it lists; `open_manifest` reads a child by its descriptor.

    `origin` tells where the manifest of an entry is kept with all that it names, None where nobody knows: a destination
    that is that place leaves them there, unread. `chooser` chooses an image in place of `choose_platform`, where more
    than a platform is asked for.
    """

    index: Index
    open_manifest: Callable[[Descriptor], Image | ImageIndex | Manifest]
    name: str = ""
    origin: Callable[[Descriptor], Origin | None] = lambda _: None
    chooser: Callable[[ImageIndex, Platform | None], Image] | None = None


def image_entries(index: ImageIndex) -> tuple[Descriptor, ...]:
    """Return the entries that are images for some platform; attestations and unknown platforms are passed over."""
    return tuple(item for item in index.index.manifests if not is_attestation(item))


def is_attestation(entry: Descriptor) -> bool:
    """Tell whether an entry is no image to run but says something of one, as BuildKit lists attestations."""
    unknown = entry.platform is not None and entry.platform.os == "unknown"
    return unknown or "vnd.docker.reference.type" in entry.annotations


def platforms_in(found: Image | ImageIndex) -> tuple[Platform, ...]:
    """Return the platforms that an image or index is for, each once, in its order."""
    if isinstance(found, Image):
        return (found.platform,)
    there: dict[Platform, None] = {}
    for entry in image_entries(found):
        if entry.platform is not None:
            there[entry.platform] = None
            continue
        child = found.open_manifest(entry)
        if isinstance(child, (Image, ImageIndex)):
            there |= dict.fromkeys(platforms_in(child))
    return tuple(there)


def choose_platform(found: Image | ImageIndex, platform: Platform | None) -> Image:
    """Return the image for `platform` (this machine's when None): the first entry that matches, as Docker does.

    Where there is none for a level of amd64, one for the next level below it is taken. A single image is returned as it
    is when `platform` is None; otherwise it must match. Raises NotFoundError that lists what there is.
    """
    if isinstance(found, Image):
        if platform is not None and not any(found.platform.matches(wanted) for wanted in platform.downward):
            raise NotFoundError(f"image '{found.name}' is for {found.platform}, not for {platform}")
        return found
    if found.chooser is not None:
        return found.chooser(found, platform)
    wanted = platform or Platform.host()
    entries = image_entries(found)
    for level in wanted.downward:
        for entry in entries:
            if entry.platform is None or entry.platform.matches(level):
                child = found.open_manifest(entry)
                if isinstance(child, Image) and (entry.platform or child.platform.matches(level)):
                    return child
                if isinstance(child, ImageIndex):
                    return choose_platform(child, level)
    there = ", ".join(str(entry.platform) for entry in entries if entry.platform) or "nothing"
    raise NotFoundError(f"image '{found.name}' has nothing for {wanted}", hint=f"it holds {there}")


def stored_size(image: Image) -> tuple[int, str] | None:
    """Return the bytes of an image's layers as a registry or layout stores them; None where an Engine has some."""
    if any(layer.origin is not None and layer.origin.store == "engine" for layer in image.layers):
        return None
    return sum(layer.descriptor.size for layer in image.layers), "stored"


def is_image(manifest: Manifest) -> bool:
    """Tell whether a manifest is an image's (its config is one), not another artifact's."""
    return manifest.config.media_type in CONFIGS
