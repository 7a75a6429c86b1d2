"""Quantities as Kubernetes writes them: `500m` of a processor, `256Mi` of memory, `2` of some device.

A number and at most one suffix: `m` for thousandths; `k`, `M`, `G`, `T`, `P`, `E` for powers of 1000; `Ki` to `Ei` for
powers of 1024; or an exponent, as in `1e3` (apimachinery, resource.Quantity).
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from runtimeimg.spec.checks import shown

PATTERN = r"^[0-9]{1,18}(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,2}|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
MAX = 1 << 60
"""The largest quantity: an exbibyte."""
_PARTS = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)(?:[eE]([+-]?[0-9]{1,2})|(m|[kMGTPE]|[KMGTPE]i)?)\Z", re.ASCII)
_DECIMAL = {"": Fraction(1), "m": Fraction(1, 1000)} | {
    letter: Fraction(1000**power) for power, letter in enumerate("kMGTPE", 1)
}
_BINARY = {f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTPE", 1)}
_UNITS = _DECIMAL | _BINARY


@lru_cache(4096)  # documents say few of them often
def parse(text: str) -> Fraction:
    """Return the number that a quantity is; ValueError for what is none or too large."""
    found = _PARTS.match(text)
    if found is None:
        raise ValueError(f"{shown(text)} is not a quantity; write one such as '2', '500m' or '256Mi'")
    number, exponent, unit = found.groups()
    value = Fraction(number) * (Fraction(10) ** int(exponent) if exponent else _UNITS[unit or ""])
    if value > MAX:
        raise ValueError(f"{shown(text)} is too large; quantities end at {MAX}")
    return value


def thousandths(text: str) -> int:
    """Return a quantity of processors in thousandths, which it must be a whole number of."""
    value = parse(text) * 1000
    if value.denominator != 1:
        raise ValueError(f"{shown(text)} is finer than a thousandth of a processor; write one such as '500m'")
    return int(value)


def whole(text: str, what: str = "bytes") -> int:
    """Return a quantity that is a whole number: of bytes, of devices; `what` is for the message."""
    value = parse(text)
    if value.denominator != 1:
        raise ValueError(f"{shown(text)} is not a whole number of {what}; write one such as {_example(what)}")
    return int(value)


def _example(what: str) -> str:
    return "'256Mi'" if what == "bytes" else "'2'"
