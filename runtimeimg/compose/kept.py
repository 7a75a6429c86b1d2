"""Layers that were made before, kept in the cache: each under what it was made of, see _Composition.needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runtimeimg import __version__
from runtimeimg.cache import Cache
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image.filelayer import FileLayer
from runtimeimg.oci import Descriptor, Digest
from runtimeimg.oci.mediatypes import is_layer

RELEASE = (4, __version__)
"""What changes with each release: nothing is taken from the cache that another one made."""

KIND = "part"

ODD = (KeyError, TypeError, ValueError, AttributeError, RecursionError, InvalidDocumentError)
"""What comes of reading something that is not of our making."""


def take_in(cache: Cache, layer: FileLayer) -> dict[str, Any]:
    """Keep a layer's file and return what finds it again."""
    cache.take_in("layer", layer.descriptor.digest.encoded, layer.path)
    return {"descriptor": layer.descriptor.to_json(), "diffId": layer.diff_id}


def take_out(cache: Cache, record: dict[str, Any], path: Path) -> FileLayer | None:
    """Return a kept layer by a second name of its file, None when it is gone; its bytes are verified when read."""
    descriptor = Descriptor.from_json(record["descriptor"])
    if not is_layer(descriptor.media_type) or not cache.link_out(
        "layer", descriptor.digest.encoded, descriptor.size, path
    ):
        return None
    return FileLayer(descriptor=descriptor, diff_id=Digest.parse(record["diffId"]), path=path)


def find(cache: Cache | None, key: str | None, path: Path) -> FileLayer | None:
    """Return the layer kept under `key` as the file `path`, None when there is none."""
    data = cache.get(KIND, key) if cache is not None and key is not None else None
    if cache is None or data is None:
        return None
    try:
        return take_out(cache, json.loads(data), path)
    except ODD:
        return None  # not of our making


def keep(cache: Cache | None, key: str | None, layer: FileLayer) -> None:
    """Keep a layer under `key`, where there are both a cache and a key."""
    if cache is not None and key is not None:
        cache.put(KIND, key, json.dumps(take_in(cache, layer)).encode())
