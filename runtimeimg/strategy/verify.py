"""Reading an amended document: without what was added it must say what it said before."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from runtimeimg.strategy.editing import entries_of
from runtimeimg.strategy.layout import Found
from runtimeimg.strategy.record import ANNOTATION, Record
from runtimeimg.strategy.steps import BUILT_SUFFIX


def only_added(before: Sequence[Found], after: Sequence[Found], record: Record) -> bool:
    """Tell whether `after` is `before` with what a record lists added to one document, and nothing else changed."""
    if len(before) != len(after):
        return False
    changed = [(old.data, new.data) for old, new in zip(before, after, strict=True) if old.data != new.data]
    if len(changed) != 1:
        return False
    old, new = changed[0]
    new = {**new, "spec": _restored(new["spec"], record.renamed)}
    return _without_annotation(_without(new, record.added)) == _without_annotation(_without_empty(old, record.added))


def names_in(document: Any, key: str) -> frozenset[str]:
    """Return the names of the items of a list of the document's spec."""
    names = [item.get("name") for item in entries_of(document["spec"], key) if isinstance(item, Mapping)]
    return frozenset(name for name in names if isinstance(name, str))


def _without(document: Any, added: Mapping[str, Collection[str]]) -> dict[str, Any]:
    spec = dict(document["spec"])
    for key, names in added.items():
        if isinstance(spec.get(key), list):
            spec[key] = [item for item in spec[key] if not (isinstance(item, Mapping) and item.get("name") in names)]
    return _without_empty({**document, "spec": spec}, added)


def _without_empty(document: Any, added: Mapping[str, Collection[str]]) -> dict[str, Any]:
    spec = {key: value for key, value in document["spec"].items() if value or key not in added}
    return {**document, "spec": spec}


def _without_annotation(document: Any) -> dict[str, Any]:
    metadata = dict(document.get("metadata") or {})
    annotations = {key: value for key, value in (metadata.pop("annotations", None) or {}).items() if key != ANNOTATION}
    return {**document, "metadata": {**metadata, "annotations": annotations}}


def _restored(value: Any, renamed: Sequence[str]) -> Any:
    """Return the spec as if earlier steps still used the names that they had."""
    if isinstance(value, str):
        for name in renamed:
            value = value.replace(name + BUILT_SUFFIX, name)
        return value
    if isinstance(value, Mapping):
        return {key: _restored(item, renamed) for key, item in value.items()}
    return [_restored(item, renamed) for item in value] if isinstance(value, list) else value
