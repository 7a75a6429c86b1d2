"""The address of an automaton: a digest of its artefact's digest and of its canonical effective configuration.

Equal addresses behave alike: whatever the process can tell of its configuration is part of it, with the defaults; for
an index, that of each variant. What only says how often and where it runs is not: replicas, placement, resources (which
are kept free and limit nothing), ports of the host, names and sizes of state volumes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from runtimeimg.configgraph import combining, grounds
from runtimeimg.configgraph.combining import Given, Values
from runtimeimg.configgraph.grounds import Ground
from runtimeimg.configgraph.model import Artefact, Variant, name_of
from runtimeimg.errors import InvalidDocumentError, UsageError

VERSION = 1
"""Raised where the same configuration is to have another address."""
OUTSIDE = frozenset({"replicas", "placement", "resources"})
"""Keys of an Automaton that do not count."""


@dataclass(slots=True)
class Addresses:
    """Gives addresses; what is common to many automatons is worked out once."""

    _grounds: dict[tuple[str, str], Ground | None] = field(default_factory=dict)
    _written: dict[Ground, dict[str, str]] = field(default_factory=dict)

    def of(self, artefact: Artefact, given: Given) -> str:
        """Return the address of an automaton of which the document sets `given`."""
        counted = {key: value for key, value in given.items() if key not in OUTSIDE}
        variants: list[str] = []
        for variant in artefact.variants or (None,):
            base = self.ground(artefact, variant)
            # Of what makes no bundle the document itself is the configuration.
            variants.append(_encode(counted) if base is None else self._canonical(counted, base))
        whole = {"version": VERSION, "artefact": artefact.digest or artefact.reference, "variants": variants}
        digest = hashlib.sha256(f"{_constant()}\n{_encode(whole)}".encode("utf-8", "surrogatepass"))
        return f"sha256:{digest.hexdigest()}"

    def commands(self, artefact: Artefact) -> bool:
        """Tell whether every variant says a command, as far as bundles can be made of them."""
        grounds_of = [self.ground(artefact, variant) for variant in artefact.variants or (None,)]
        return all(base is None or base.command for base in grounds_of)

    def ground(self, artefact: Artefact, variant: Variant | None) -> Ground | None:
        """Return the ground of a variant, None where no bundle can be made of it."""
        key = (artefact.id, variant.manifest if variant else "")
        if key not in self._grounds:
            try:
                self._grounds[key] = grounds.ground(variant, name_of(artefact.id))
            except (UsageError, InvalidDocumentError):
                self._grounds[key] = None
        return self._grounds[key]

    def _canonical(self, given: Given, base: Ground) -> str:
        """Return the canonical configuration; of what the document does not touch, as it was written before."""
        values, alone = combining.combine(given, base), combining.alone(base)
        written = self._written.setdefault(base, {})
        parts = []
        for key, value in values.of.items():
            same = value is alone.of[key]
            text = written.get(key) if same else None
            if text is None:
                told = _told(key, value, values)
                text = "" if told in _EMPTY else f"{_encode(key)}:{_encode(told)}"
                if same and key != "process.user":  # which is also told by what is pending
                    written[key] = text
            if text:
                parts.append(text)
        return f"{{{','.join(sorted(parts))}}}"


_EMPTY: tuple[Any, ...] = (None, [], {}, "")


def _told(key: str, value: Any, values: Values) -> Any:
    """Return what of a value counts, in an order that does not depend on that of the document."""
    if key == "process.user" and "process.user.gid" in values.pending:
        return {name: number for name, number in value.items() if name != "gid"}
    ordered = _ORDERED.get(key)
    return value if ordered is None else ordered(value)


def _own_mounts(mounts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return mounts without the kernel's own, which are the same everywhere, and without the names of state."""
    kernel = grounds.kernel_places()
    own = [item for item in mounts if item["destination"] not in kernel]
    return [{key: value for key, value in item.items() if key != "state"} for item in own]


def _ports(ports: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted([f"{item['port']}/{item['protocol']}" for item in ports])


def _sets(sets: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {name: sorted(names) for name, names in sets.items()}


def _name(item: str) -> str:
    return item.partition("=")[0]


def _type(item: Mapping[str, Any]) -> str:
    return str(item["type"])


_ORDERED: Mapping[str, Callable[[Any], Any]] = {
    "process.env": partial(sorted, key=_name),
    "process.rlimits": partial(sorted, key=_type),
    "process.capabilities": _sets,
    "mounts": _own_mounts,
    "ports": _ports,
}
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


@lru_cache(1)
def _constant() -> str:
    """Return the digest of what is in every config.json."""
    return hashlib.sha256(_encode(grounds.constant()).encode()).hexdigest()
