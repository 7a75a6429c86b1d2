"""Layers as compositions know them."""

from __future__ import annotations

from dataclasses import dataclass

from runtimeimg.image import Layer


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRef:
    """A layer, the key it is known by (the digest of its blob), and what messages call it."""

    layer: Layer
    key: str
    name: str

    @classmethod
    def of(cls, layer: Layer, image: str) -> LayerRef:
        """Return the reference of a layer of `image`. An Engine keeps archives, so there the diff id is the digest."""
        from_engine = layer.origin is not None and layer.origin.store == "engine"
        digest = layer.diff_id if from_engine else layer.descriptor.digest
        return cls(layer=layer, key=str(digest), name=f"layer {digest} of '{image}'")

    @property
    def encoded(self) -> str:
        """The key without its algorithm, as what is kept of the layer is known by."""
        return self.key.partition(":")[2]
