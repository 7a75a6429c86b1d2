"""The node affinity that a chosen entry calls for: labels of Kubernetes itself and those that NFD gives by default.

NFD puts no label for most flags of processors before AVX (its attributeBlacklist), so that level v2 cannot be asked
for; devices are labelled by class and vendor (deviceLabelFields), so that a vendor of cards is one of several labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from runtimeimg.oci import Platform
from runtimeimg.selection.mapping import NAMESPACE

_NFD = "feature.node.kubernetes.io"
_FLAGS = {
    "v3": ("AVX2", "FMA3", "MOVBE"),
    "v4": ("AVX2", "AVX512BW", "AVX512CD", "AVX512DQ", "AVX512F", "AVX512VL", "FMA3", "MOVBE"),
}
"""Flags of the levels of x86-64 that have labels."""
_VENDORS = {"nvidia": "10de", "amd": "1002", "intel": "8086"}
_DISPLAYS = ("0300", "0302", "0380")
"""PCI classes of cards: VGA, 3D and other display controllers."""
_LEVEL, _VENDOR = f"{NAMESPACE}.cpu.level", f"{NAMESPACE}.gpu.vendor"


def node_affinity(platform: Platform, annotations: Mapping[str, str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the affinity for nodes that an entry is for, and the annotations of the host that no label tells of."""
    levels = [platform.variant] if platform.architecture == "amd64" else []
    levels += [annotations[_LEVEL]] if _LEVEL in annotations else []
    flags = sorted({flag for level in levels for flag in _FLAGS.get(level, ())})
    common = [_in("kubernetes.io/os", platform.os), _in("kubernetes.io/arch", platform.architecture)]
    common += [_in(f"{_NFD}/cpu-cpuid.{flag}", "true") for flag in flags]
    vendor = _VENDORS.get(annotations.get(_VENDOR, "").lower())
    cards = [[_in(f"{_NFD}/pci-{kind}_{vendor}.present", "true")] for kind in _DISPLAYS] if vendor else [[]]
    terms = [{"matchExpressions": common + card} for card in cards]
    known = {_VENDOR: vendor, _LEVEL: _FLAGS.get(annotations.get(_LEVEL, ""))}
    untold = tuple(_untold(annotations, known))
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}, untold


def _untold(annotations: Mapping[str, str], known: Mapping[str, object]) -> Iterable[str]:
    return (
        f"{key}={value}"
        for key, value in sorted(annotations.items())
        if key.startswith(f"{NAMESPACE}.") and not known.get(key)
    )


def _in(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": [value]}
