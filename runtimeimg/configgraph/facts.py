"""What an image tells of itself, for the graph: its variants, their layers with sizes, and what it was built on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from runtimeimg.configgraph import grounds
from runtimeimg.configgraph.model import Layer, Role, Variant, layer_id, name_of
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image import Image, ImageIndex
from runtimeimg.image.indexes import flattened
from runtimeimg.oci import Descriptor
from runtimeimg.stamp import BASE_DIGEST, BASE_NAME

_MAX_TEXT = 4096
_PLAIN_LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What labels or annotations say that an image was built on."""

    name: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """An image or index: where it was found, its digest, and what it is made of.

    `digest` is that of the manifest or index; of an Engine's image, which has neither, its id. `bases` are
    those of the variants, each once; `builders` the other images that provenance names.
    """

    reference: str
    digest: str
    index: str = ""
    variants: tuple[Variant, ...] = ()
    layers: tuple[Layer, ...] = ()
    bases: tuple[Base, ...] = ()
    builders: tuple[Base, ...] = ()


def of(found: Image | ImageIndex, reference: str) -> Facts:
    """Return the facts of what was opened; InvalidDocumentError for an index without images, or a malformed one."""
    if isinstance(found, Image):
        return _of_image(found, reference, {}, "")
    top = found.index.descriptor
    parts: list[Facts] = []
    for entry in flattened(found):
        image = entry.open()
        if isinstance(image, Image):
            platform = entry.descriptor.platform.full if entry.descriptor.platform is not None else ""
            parts.append(_of_image(image, reference, entry.descriptor.annotations, platform))
    if not parts:
        raise InvalidDocumentError(f"index '{found.name}' lists no image", hint="name one that does")
    layers = {item.id: item for part in parts for item in part.layers}
    node = _layer(top, Role.INDEX)
    return Facts(
        reference=reference,
        digest=str(top.digest),
        index=str(top.digest),
        variants=tuple({item.manifest: item for part in reversed(parts) for item in part.variants}.values())[::-1],
        layers=(node, *layers.values()),
        bases=tuple(dict.fromkeys(base for part in parts for base in part.bases)),
    )


def first(found: Image | ImageIndex) -> Image:
    """Return the image, or the first of an index that has one."""
    if isinstance(found, Image):
        return found
    return next(image for entry in flattened(found) if isinstance(image := entry.open(), Image))


def _of_image(image: Image, reference: str, annotations: Mapping[str, str], platform: str) -> Facts:
    image.config.check()
    manifest, config, nodes = _of_engine(image) if image.image_id is not None else _of_manifest(image)
    variant = Variant(
        manifest=manifest,
        platform=platform or _platform(image),
        config=config,
        layers=tuple(name_of(item.id) for item in nodes if item.role is Role.LAYER),
        runtime=grounds.runtime_of(image.config),
        annotations=dict(annotations),
    )
    return Facts(
        reference=reference,
        digest=variant.manifest,
        variants=(variant,),
        layers=tuple({item.id: item for item in nodes}.values()),
        bases=_bases(image),
    )


def _of_manifest(image: Image) -> tuple[str, str, tuple[Layer, ...]]:
    """Return the digests of manifest and config, and the nodes of all blobs, the layers from the lowest."""
    document = image.to_manifest()
    manifest, config = document.descriptor, document.config
    layers = (_layer(item, Role.LAYER) for item in document.layers)
    return (
        str(manifest.digest),
        str(config.digest),
        (_layer(manifest, Role.MANIFEST), _layer(config, Role.CONFIG), *layers),
    )


def _of_engine(image: Image) -> tuple[str, str, tuple[Layer, ...]]:
    """Return the same of an Engine's image, which has no manifest: its id stands for that, diff ids for the layers.

    The config is as the Engine tells it, which may be another one to the byte.
    """
    top = Layer(id=layer_id(image.image_id or ""), role=Role.CONFIG)
    config = Layer(
        id=layer_id(image.config.digest),
        role=Role.CONFIG,
        size=len(image.config.raw),
        media_type=image.config.media_type,
    )
    layers = (Layer(id=layer_id(layer.diff_id), role=Role.LAYER, media_type=_PLAIN_LAYER) for layer in image.layers)
    return name_of(top.id), name_of(config.id), (top, config, *layers)


def _platform(image: Image) -> str:
    try:
        return image.platform.full
    except InvalidDocumentError:
        return ""


def _layer(descriptor: Descriptor, role: Role) -> Layer:
    return Layer(
        id=layer_id(descriptor.digest), role=role, size=descriptor.size, media_type=descriptor.media_type[:_MAX_TEXT]
    )


def _bases(image: Image) -> tuple[Base, ...]:
    """Return the base that labels name, else annotations of the manifest (image-spec, annotations.md)."""
    said: Mapping[str, str] = {**image.annotations, **image.config.labels}
    found = Base(name=said.get(BASE_NAME, "")[:_MAX_TEXT], digest=said.get(BASE_DIGEST, "")[:_MAX_TEXT])
    return (found,) if found.name or found.digest else ()


def to_json(facts: Facts) -> dict[str, Any]:
    """Return facts as a cache keeps them."""
    from dataclasses import asdict

    return asdict(facts)


def from_json(data: Mapping[str, Any]) -> Facts:
    """Return facts that a cache kept; KeyError or TypeError for what are none."""
    variants = tuple(Variant(**{**item, "layers": tuple(item["layers"])}) for item in data["variants"])
    layers = tuple(
        Layer(**{**item, "role": Role(item["role"]), "references": tuple(item["references"])})
        for item in data["layers"]
    )
    bases, builders = (tuple(Base(**item) for item in data[key]) for key in ("bases", "builders"))
    rest = {key: str(data[key]) for key in ("reference", "digest", "index")}
    return Facts(variants=variants, layers=layers, bases=bases, builders=builders, **rest)


def elsewhere(facts: Facts, reference: str) -> Facts:
    """Return the facts of the same image at another place."""
    return replace(facts, reference=reference)
