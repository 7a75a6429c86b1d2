"""Container runtimes of this machine, with what their `features` command says (runtime-spec, features.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from runtimeimg.errors import InvalidDocumentError
from runtimeimg.oci.documents import load_json

NAMES = ("runc", "crun", "youki", "runsc", "kata-runtime", "nvidia-container-runtime", "sysbox-runc")
"""Runtimes that are looked for on PATH."""
UNKNOWN = "unknown"
"""What stands for the features of a runtime that cannot tell them: that is not the same as none."""
MAX_FEATURES = 400

Facts = dict[str, tuple[str, ...]]
Run = Callable[[tuple[str, ...]], bytes | None]
"""Runs a program and returns what it wrote; None where it is not there or failed."""

_VERSION = re.compile(r"\bv?([0-9]{1,4}\.[0-9]{1,4}(?:\.[0-9]{1,4})?[0-9A-Za-z.+~-]{0,60})")
_LEFT_OUT = frozenset({"annotations", "mountOptions", "capabilities", "actions", "operators", "archs"})
"""Long lists of what nearly every runtime has."""


def facts(run: Run) -> Facts:
    """Return for each runtime that is there its version and features."""
    found: Facts = {}
    for name in NAMES:
        said = run((name, "--version"))
        if said is None:
            continue
        found["runtime.names"] = (*found.get("runtime.names", ()), name)
        if version := _VERSION.search(said[:4096].decode("utf-8", "replace")):
            found[f"runtime.{name}.version"] = (version[1],)
        found[f"runtime.{name}.features"] = of_features(run((name, "features")))
    return found


def of_features(said: bytes | None) -> tuple[str, ...]:
    """Return what a features document grants, as dotted words; `unknown` where there is none.

    A boolean that is false, or null ("cannot say"), grants nothing; lists grant what they hold.
    """
    if said is None:
        return (UNKNOWN,)
    try:
        data = load_json(said, "features")
    except InvalidDocumentError:
        return (UNKNOWN,)
    return tuple(dict.fromkeys(islice(_granted(data, ""), MAX_FEATURES)))


def _granted(data: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key, value in data.items():
        path = f"{prefix}{key}"[:120]
        if key in _LEFT_OUT:
            continue
        if isinstance(value, Mapping) and path.count(".") < 5:
            yield from _granted(value, f"{path}.")
        elif value is True:
            yield path.removesuffix(".enabled")
        elif key in {"ociVersionMin", "ociVersionMax"} and isinstance(value, str):
            yield f"{key}={value[:40]}"
        elif isinstance(value, list):
            yield from (f"{path}.{item[:80]}" for item in value if isinstance(item, str))
