"""What was found in an image, kept under all that it was found by: the same build again looks at nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence

from runtimeimg import __version__
from runtimeimg.cache import Cache
from runtimeimg.check.rules import RULES
from runtimeimg.compose.layers import IndexedLayer, salted
from runtimeimg.findings import Finding, Place, Severity
from runtimeimg.image import Image
from runtimeimg.plan import Copy

_FORMAT = 3


def key_of(image: Image, base: Image | None, builder: Image | None, copies: Sequence[Copy], name: str) -> str:
    """Return the key: config and layers of image, base and builder image, copies, name in messages, release."""
    copied = [[str(copy.image), copy.source, copy.destination] for copy in copies]
    data = [_FORMAT, __version__, name, *map(contents, (image, base, builder)), copied]
    return hashlib.sha256(json.dumps(data).encode()).hexdigest()


def contents(image: Image | None) -> list[object] | None:
    """Return what an image is by its contents, wherever it is kept: its config and its layers; None for none.

    What is told of a layer by somebody's index is told of another one.
    """
    if image is None:
        return None
    layers = [
        salted(layer.diff_id, layer.index) if isinstance(layer, IndexedLayer) else layer.diff_id
        for layer in image.layers
    ]
    return [image.config.digest, layers]


def find(cache: Cache | None, key: str) -> tuple[Finding, ...] | None:
    """Return what was found before, None where nothing is kept."""
    data = cache.get("check", key) if cache is not None else None
    if data is None:
        return None
    rules = {rule.id: rule for rule in RULES}
    return tuple(
        Finding(
            rule=dataclasses.replace(rules[rule], severity=Severity(severity)),
            where=Place(artifact=artifact, inside=inside),
            message=message,
            fix=fix,
        )
        for rule, severity, artifact, inside, message, fix in json.loads(data)
    )


def keep(cache: Cache | None, key: str, found: Sequence[Finding]) -> None:
    """Keep what was found."""
    if cache is not None:
        data = [
            [item.rule.id, item.rule.severity, item.where.artifact, item.where.inside, item.message, item.fix]
            for item in found
        ]
        cache.put("check", key, json.dumps(data).encode())
