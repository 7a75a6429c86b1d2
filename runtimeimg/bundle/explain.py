"""For each field of a config.json the entry of a runtime's features that vouches for it, or does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runtimeimg.bundle import configshape, records, versions
from runtimeimg.bundle.features import Features, Runtime, ordered
from runtimeimg.bundle.paths import Field, fields
from runtimeimg.bundle.vouching import Answer, answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Voucher:
    """A field that holds no others, the entry that is for it, and whether that vouches for it.

    None stands for an entry that does not say, and for options of file systems, which no entry is for.
    """

    path: str
    entry: str
    answer: bool | None


def vouchers(config: Mapping[str, Any], runtime: Runtime) -> Iterator[Voucher]:
    """Yield every field that holds no others, in its order; the runtime's features must be known."""
    features = runtime.features
    if features is None:
        return
    said = {item.path: item for item in answers(config, features)}
    newer = {field.path: since for field, since in versions.newer(config)}
    unknown = {item.path for item in configshape.check(config) if item.unknown}
    passed = records.passed_over(runtime.name, runtime.version)
    for field in fields(config):
        if isinstance(field.value, (Mapping, list)) and field.value:
            continue
        if field.pattern == "mounts[].options[]" and field.path not in said:
            yield Voucher(path=field.path, entry="the file system itself", answer=None)
        else:
            yield _voucher(field, features, said, newer, unknown, passed)


def _voucher(
    field: Field,
    features: Features,
    said: Mapping[str, Answer],
    newer: Mapping[str, str],
    unknown: set[str],
    passed: frozenset[str],
) -> Voucher:
    """Return who vouches for a field: the nearest entry for it or what it is in, else the versions."""
    entry = f"ociVersionMax {features.most}"
    for path in _upward(field.path):
        if path in unknown:
            return Voucher(path=field.path, entry="no version of the specification", answer=False)
        if path in passed:
            return Voucher(path=field.path, entry="our record: passed over", answer=False)
        if path in said and said[path].said is not None:
            return Voucher(path=field.path, entry=said[path].entry, answer=said[path].said)
        if path in newer and ordered(newer[path])[0] > ordered(features.most)[0]:
            return Voucher(path=field.path, entry=f"{entry} (it came with {newer[path]})", answer=False)
        if path in said:
            return Voucher(path=field.path, entry=said[path].entry, answer=None)
    return Voucher(path=field.path, entry=entry, answer=True)


def _upward(path: str) -> Iterator[str]:
    """Yield a path and those of all that it is in, the nearest first."""
    while path:
        yield path
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
