"""What an image tells of itself, for the graph: its variants, their layers with sizes, and what it was built on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from runtimeimg.configgraph import grounds
from runtimeimg.configgraph.model import Layer, Role, Variant, layer_id
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image import Image, ImageIndex
from runtimeimg.image.indexes import flattened
from runtimeimg.oci import Descriptor
from runtimeimg.stamp import BASE_DIGEST, BASE_NAME

_MAX_TEXT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What labels or annotations say that an image was built on."""

    name: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """An image or index: where it was found, its digest, and what it is made of.

    `digest` is that of the manifest or index; of an Engine's image, which has neither, that of its config. `bases` are
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
    kept_by_engine = any(layer.origin is not None and layer.origin.store == "engine" for layer in image.layers)
    if kept_by_engine or (image.manifest is None and image.image_id is not None):
        manifest = config = Descriptor(
            media_type=image.config.media_type, digest=image.config.digest, size=len(image.config.raw)
        )
        layers = tuple(
            Layer(id=layer_id(layer.diff_id), role=Role.LAYER, media_type="application/vnd.oci.image.layer.v1.tar")
            for layer in image.layers
        )
        nodes = (_layer(config, Role.CONFIG), *layers)
    else:
        document = image.to_manifest()
        manifest, config = document.descriptor, document.config
        layers = tuple(_layer(item, Role.LAYER) for item in document.layers)
        nodes = (_layer(manifest, Role.MANIFEST), _layer(config, Role.CONFIG), *layers)
    variant = Variant(
        manifest=str(manifest.digest),
        platform=platform or _platform(image),
        config=str(config.digest),
        layers=tuple(item.id.partition("/")[2] for item in layers),
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
