"""What a composition came to, kept under all that it was made of: the same build again reads no layer.

The key holds the digests of all layers, the copies, the settings and the version of this program. Folders of this
machine have no digest, so what is copied out of them is not kept. Neither are names: what the history says of a layer
is told anew for each build, as the same layers may be those of an image by another name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

from runtimeimg.cache import DEFAULT_LIMIT, Cache
from runtimeimg.compose import kept
from runtimeimg.compose.composition import Composed, Inputs, Settings
from runtimeimg.compose.layers import LayerRef


def key_of(inputs: Inputs, settings: Settings) -> str | None:
    """Return the key of a composition, None when it cannot be told without reading."""
    if any(not source.layers for source in inputs.sources):
        return None
    base = inputs.base
    data = {
        "format": kept.RELEASE,
        "base": None if base is None else [LayerRef.of(layer, base.name).key for layer in base.layers],
        "user": None if base is None else base.config.config.get("User"),
        "sources": [[ref.key for ref in source.layers] for source in inputs.sources],
        "copies": [
            [number, copy.source, copy.destination, copy.chown]
            for number, copy in zip(inputs.numbers, inputs.plan.copies, strict=True)
        ],
        "workDir": inputs.plan.work_dir,
        "created": inputs.created.seconds,
        "settings": [
            *astuple(settings.compression),
            settings.layers,
            settings.link,
            settings.latest,
        ],
    }
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def restore(cache: Cache, key: str, folder: Path, most: int) -> tuple[Composed, ...] | None:
    """Return the layers kept under `key`, as files in `folder`; None when one of them is gone.

    `most` is the number of the last step that there is.
    """
    data = cache.get("result", key)
    if data is None:
        return None
    composed: list[Composed] = []
    try:
        items = json.loads(data)
        for number, item in enumerate(items):
            layer, steps = kept.take_out(cache, item, folder / f"layer-{number}"), item["steps"]
            if layer is None or not steps or not all(type(step) is int and 0 <= step <= most for step in steps):
                break
            composed.append(Composed(layer=layer, steps=tuple(steps)))
        else:
            if isinstance(items, list):
                return tuple(composed)
    except kept.ODD:
        pass  # not of our making
    for path in folder.glob("layer-*"):
        path.unlink()  # second names of files of the cache, which nobody may write to
    return None


def keep(cache: Cache, key: str, composed: Sequence[Composed]) -> None:
    """Keep layers under `key`, and throw out of the cache what was not used for longest when it grows too large."""
    items = [{**kept.take_in(cache, item.layer), "steps": list(item.steps)} for item in composed]
    cache.put("result", key, json.dumps(items).encode())
    cache.prune(DEFAULT_LIMIT)
