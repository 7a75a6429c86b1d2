"""Quantities of documents as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtimeimg.configgraph.model import Resources
from runtimeimg.spec import quantities


def resources(given: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> Resources:
    """Return quantities as numbers; of a host, `cpu` and `memory` are by default what its facts say.

    `given` are quantities that were checked, as an Automaton's or a Host's `resources` are.
    """
    cpu = quantities.thousandths(given["cpu"]) if "cpu" in given else _fact(facts, "cpu.count", 1000)
    memory = quantities.whole(given["memory"]) if "memory" in given else _fact(facts, "memory.bytes", 1)
    others = {name: quantities.whole(text) for name, text in given.items() if name not in {"cpu", "memory"}}
    return Resources(cpu=cpu, memory=memory, others=others)


def _fact(facts: Mapping[str, Any] | None, name: str, times: int) -> int | None:
    value = (facts or {}).get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value) * times
    return None
