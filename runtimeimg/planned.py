"""Plans that are kept: a spec that did not change is neither parsed nor checked again, which takes longest of it all.

A plan is kept in the cache under the spec's bytes, what the command line adds, and this release. Only plans of valid
specs are kept, so that what is wrong is told each time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from runtimeimg import __version__
from runtimeimg.cache import Cache
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.oci import Digest, Location, Reference
from runtimeimg.plan import Accept, BuildPlan, Copy, EnvVar, Facts, PlannedVariant, Text, resolve
from runtimeimg.runtimegraph import ExposeItem, RuntimeGraph
from runtimeimg.spec.expansion import Variable

if TYPE_CHECKING:
    from runtimeimg.spec import LoadedSpec

_FORMAT = 5
_KNOWN = {
    kind.__name__: kind
    for kind in (
        Accept,
        BuildPlan,
        Copy,
        EnvVar,
        PlannedVariant,
        Text,
        Variable,
        Location,
        Reference,
        RuntimeGraph,
        ExposeItem,
    )
}


@dataclass(frozen=True)
class Planned:
    """The plan of a spec in a file, or of a `variant` of it; the spec is loaded when its places are asked for."""

    plan: BuildPlan
    file: str
    data: bytes
    variant: str | None = None

    @cached_property
    def loaded(self) -> LoadedSpec:
        """The spec."""
        from runtimeimg.spec import load_spec_text

        return load_spec_text(self.data, self.file)

    def place(self, path: str) -> str:
        """Return `file:line:column: path` of a dotted path, see LoadedSpec."""
        loaded = self.loaded
        return loaded.place(path if self.variant is None else loaded.of_variant(self.variant, path))


def planned(data: bytes, file: str, facts: Facts, cache: Cache | None) -> Planned:
    """Return the plan of the spec in `data`; `file` is its name for messages. Raises as loading and `resolve` do."""
    told = json.dumps([_FORMAT, __version__, asdict(facts)], sort_keys=True).encode()
    key = hashlib.sha256(hashlib.sha256(told).digest() + data).hexdigest()
    kept = cache.get("plan", key) if cache is not None else None
    if kept is not None:
        plan = decode(kept)
        if plan is not None:
            return Planned(plan, file, data, facts.variant)
    from runtimeimg.spec import load_spec_text

    plan = resolve(load_spec_text(data, file).spec, facts)
    if cache is not None:
        cache.put("plan", key, encode(plan))
    return Planned(plan, file, data, facts.variant)


def encode(plan: BuildPlan) -> bytes:
    """Return a plan as JSON: lists are tuples; objects are maps, or dataclasses by name with their fields."""
    return json.dumps(_plain(plan)).encode()


def decode(data: bytes) -> BuildPlan | None:
    """Return the plan that `encode` wrote, None for what it did not."""
    try:
        plan = _value(json.loads(data))
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError, InvalidDocumentError):
        return None
    return plan if isinstance(plan, BuildPlan) else None


def _plain(value: Any) -> Any:
    if is_dataclass(value) and type(value).__name__ in _KNOWN:
        return {type(value).__name__: {item.name: _plain(getattr(value, item.name)) for item in fields(value)}}
    if isinstance(value, Digest):
        return {"Digest": str(value)}
    if isinstance(value, Mapping):
        return {"": {key: _plain(item) for key, item in value.items()}}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | bool):
        return value
    raise TypeError(f"a plan does not hold {type(value).__name__}")


def _value(plain: Any) -> Any:
    if isinstance(plain, list):
        return tuple(_value(item) for item in plain)
    if not isinstance(plain, dict):
        return plain
    ((kind, inner),) = plain.items()
    if kind == "Digest":
        return Digest.parse(inner)
    items = {key: _value(item) for key, item in inner.items()}
    return _KNOWN[kind](**items) if kind else MappingProxyType(items)
