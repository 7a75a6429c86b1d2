"""Facts of a host out of the features that Node Feature Discovery names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from runtimeimg.selection.hosts import Features
from runtimeimg.selection.nfd import processors

VENDORS = {"10de": "nvidia", "1002": "amd", "8086": "intel", "1d0f": "amazon", "1a03": "aspeed", "1013": "cirrus"}
"""Names of vendors of graphics cards by their PCI ids."""
CARDS = {"nvidia", "amd", "intel"}
"""Whose cards compute; others only show a console."""

Facts = dict[str, tuple[str, ...]]


def facts(features: Features, architecture: str, *, labels: bool = False) -> Facts:
    """Return facts by the names of `hosts`; `labels` says that the features were read off a node's labels."""
    flags = sorted(processors.kernel_name(name) for name in features.flags.get("cpu.cpuid", ()))
    model, kernel = features.attributes.get("cpu.model", {}), features.attributes.get("kernel.version", {})
    system, devices = features.attributes.get("system.osrelease", {}), features.instances.get("pci.device", ())
    single = {
        "cpu.level": processors.level(flags, architecture, labels=labels),
        "cpu.vendor": model.get("vendor_id", ""),
        "kernel.version": kernel.get("full", ""),
        "os.id": system.get("ID", ""),
        "os.version": system.get("VERSION_ID", ""),
    }
    several = {
        "cpu.flags": flags,
        "gpu.vendor": vendors(devices),
        "pci.devices": [":".join(filter(None, map(item.get, ("vendor", "device", "class")))) for item in devices],
        "kernel.modules": sorted(features.flags.get("kernel.loadedmodule", ())),
    }
    found: Facts = {name: (value,) for name, value in single.items() if value}
    lists = {name: tuple(dict.fromkeys(filter(None, values))) for name, values in several.items()}
    return found | {name: values for name, values in lists.items() if values}


def vendors(devices: Iterable[Mapping[str, str]]) -> list[str]:
    """Return whose cards that compute are among PCI devices: display controllers, and processing accelerators."""
    classes = [item for item in devices if item.get("class", "")[:2] in {"03", "12"}]
    return [
        name for name in dict.fromkeys(VENDORS.get(item.get("vendor", ""), "") for item in classes) if name in CARDS
    ]
