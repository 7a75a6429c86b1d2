"""What is known of runtimes that cannot tell their features: tried out with them, as tests/bundle does it again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runtimeimg.bundle.features import Features, ordered

_HOOKS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
_CRUN_1_8: Mapping[str, Any] = {
    "ociVersionMin": "1.0.0",
    "ociVersionMax": "1.0.2",
    "hooks": _HOOKS,
    "linux": {"namespaces": ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"]},
}
_RECORDS = (("crun", "1.8", "1.8.4", _CRUN_1_8),)
"""Name, first version, first version that they are not of, features."""


def of(name: str, version: str) -> Features | None:
    """Return what is on record of a version of a runtime, None where nothing is."""
    plain = re.match(r"[0-9]+(\.[0-9]+){0,2}", version)
    if plain is None:
        return None
    for known, first, end, data in _RECORDS:
        if name == known and ordered(first) <= ordered(plain[0]) < ordered(end):
            return Features(data=data)
    return None
