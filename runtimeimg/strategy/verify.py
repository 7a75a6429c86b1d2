"""Reading an amended document: without what was added it must say what it said before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from runtimeimg.strategy.layout import Found
from runtimeimg.strategy.steps import BUILT_SUFFIX

RESULTS = {"IMAGE_URL": "Name of the runtime image.", "IMAGE_DIGEST": "Digest of the runtime image."}
"""The results of a Task, by name, with what a document says of them."""


Names = Mapping[str, frozenset[str]]
"""The names of what was added, by the key of the list."""


def only_added(before: Sequence[Found], after: Sequence[Found], names: Names) -> bool:
    """Tell whether `after` is `before` with items of these names added to one document, and nothing else changed."""
    if len(before) != len(after):
        return False
    changed = [(old.data, new.data) for old, new in zip(before, after, strict=True) if old.data != new.data]
    if len(changed) != 1:
        return False
    old, new = changed[0]
    return _without(new, names) == _without_empty(old, names)


def built_restored(documents: Sequence[Found], output: str) -> list[Found]:
    """Return the documents as if earlier steps still pushed under the output's own name."""
    return [replace(document, data=_restored(document.data, output)) for document in documents]


def names_in(document: Any, key: str) -> frozenset[str]:
    """Return the names of the items of a list of the document's spec."""
    items = document["spec"].get(key)
    names = [item.get("name") for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
    return frozenset(name for name in names if isinstance(name, str))


def _without(document: Any, names: Names) -> dict[str, Any]:
    spec = dict(document["spec"])
    for key, added in names.items():
        if isinstance(spec.get(key), list):
            spec[key] = [item for item in spec[key] if not (isinstance(item, Mapping) and item.get("name") in added)]
    return _without_empty({**document, "spec": spec}, names)


def _without_empty(document: Any, names: Names) -> dict[str, Any]:
    spec = {key: value for key, value in document["spec"].items() if value or key not in names}
    result: dict[str, Any] = {**document, "spec": spec}
    return result


def _restored(value: Any, output: str) -> Any:
    if isinstance(value, str):
        return value.replace(output + BUILT_SUFFIX, output)
    if isinstance(value, Mapping):
        return {key: _restored(item, output) for key, item in value.items()}
    return [_restored(item, output) for item in value] if isinstance(value, list) else value
