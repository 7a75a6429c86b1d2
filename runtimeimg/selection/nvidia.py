"""NVIDIA_REQUIRE_*: the driver and the card that an image needs (nvidia-container-toolkit, internal/requirements).

A variable is alternatives with spaces between them; each is conditions with commas between them, all of which must
hold: `cuda>=12.2 brand=tesla,driver>=535`. Every variable must hold. The toolkit looks at them when a container starts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from runtimeimg.selection.values import Version

PREFIX, DISABLE = "NVIDIA_REQUIRE_", "NVIDIA_DISABLE_REQUIRE"
MAX_TEXT = 16_384
"""Characters of one variable; real ones have two thousand."""
_CONDITION = re.compile(r"\s*([a-z]{1,20})\s*(!=|<=|>=|=|<|>)\s*([^\s,=<>!]{1,100})\s*\Z")
PROPERTIES = {"cuda": "cuda.driver.version", "driver": "gpu.driver.version", "arch": "gpu.arch", "brand": "gpu.brand"}
"""Properties that conditions may name, and the fact of a host that each is."""


@dataclass(frozen=True, slots=True)
class NvidiaFacts:
    """What a host offers, by property: `cuda`, `driver`, `arch` and `brand`; several where it has several cards."""

    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, facts: Mapping[str, tuple[str, ...]]) -> NvidiaFacts:
        """Return what the facts of a host say."""
        return cls({name: facts[fact] for name, fact in PROPERTIES.items() if facts.get(fact)})

    def failures(self, env: Mapping[str, str]) -> list[str]:
        """Return why an image with this environment would not start, nothing where it would."""
        if env.get(DISABLE, "").lower() in {"1", "true", "t", "yes"}:
            return []
        return [
            f"needs {name}={text[:80]}" + (f", and the host has {self}" if self.values else ", which the host has not")
            for name, text in sorted(env.items())
            if name.startswith(PREFIX) and not self.holds(text)
        ]

    def holds(self, text: str) -> bool:
        """Tell whether one of the alternatives of a variable holds; what is no condition holds for nothing."""
        alternatives = text.split()
        if len(text) > MAX_TEXT:
            return False
        return not alternatives or any(all(map(self._holds, item.split(","))) for item in alternatives)

    def _holds(self, condition: str) -> bool:
        """Tell whether a condition holds for one of the cards; one on a property that is not known is skipped."""
        if not condition:
            return True
        found = _CONDITION.match(condition)
        if found is None:
            return False
        name, sign, wanted = found.groups()
        if name not in PROPERTIES:
            return True
        return any(_compare(own, sign, wanted, text=name == "brand") for own in self.values.get(name, ()))

    def __str__(self) -> str:
        return ", ".join(f"{name} {' and '.join(values)}" for name, values in self.values.items())


def _compare(own: str, sign: str, wanted: str, *, text: bool) -> bool:
    if text:
        return (own.lower() == wanted.lower()) is (sign == "=") if sign in {"=", "!="} else False
    here, there = Version.parse(own), Version.parse(wanted)
    if here is None or there is None:
        return False
    equal, less = here == there, here < there
    return {"=": equal, "!=": not equal, "<": less, "<=": less or equal, ">": not less and not equal, ">=": not less}[
        sign
    ]
