"""Where a path of a document leads in its pydantic model: which keys are known there, and of what type a value is."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from runtimeimg.spec.yamlnodes import Key


def keys(model: type[BaseModel], path: Sequence[Key]) -> tuple[str, ...]:
    """Return the keys that the model has at `path`, as they are written; none where no model stands."""
    names: dict[str, None] = {}
    for option in _options(_at(model, path)):
        if isinstance(option, type) and issubclass(option, BaseModel):
            names |= dict.fromkeys(info.alias or name for name, info in option.model_fields.items())
    return tuple(names)


def is_text_of_map(model: type[BaseModel], path: Sequence[Key]) -> bool:
    """Tell whether `path` leads to a text whose key the author chose: a label, a variable."""
    if not path or str not in _options(_at(model, path)):
        return False
    return any(_is(option, Mapping) for option in _options(_at(model, path[:-1])))


def _at(annotation: Any, path: Sequence[Key]) -> Any:
    for key in path:
        annotation = next((inner for option in _options(annotation) for inner in _inner(option, key)), None)
    return annotation


def _inner(option: Any, key: Key) -> Iterator[Any]:
    if isinstance(option, type) and issubclass(option, BaseModel):
        for name, info in option.model_fields.items():
            if (info.alias or name) == key:
                yield info.annotation
    elif isinstance(key, str) and _is(option, Mapping):
        yield get_args(option)[1]
    elif isinstance(key, int) and _is(option, Sequence):
        yield get_args(option)[0]


def _options(annotation: Any) -> Iterator[Any]:
    """Yield the types that an annotation stands for, without what is noted beside them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _options(get_args(annotation)[0])
    elif origin in {Union, types.UnionType}:
        for option in get_args(annotation):
            yield from _options(option)
    else:
        yield annotation


def _is(option: Any, kind: type) -> bool:
    origin = get_origin(option)
    return isinstance(origin, type) and issubclass(origin, kind)
