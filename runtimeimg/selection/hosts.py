"""A host as a value: its platform, facts under dotted names, and what Node Feature Discovery says of it.

Facts are texts, several where a host has several of a kind. Names that `host detect` writes:

    cpu.level, cpu.vendor, cpu.model, cpu.flags, cpu.count       v3, GenuineIntel, ..., [avx2, ...], 8
    memory.bytes, os.id, os.version, libc.name, libc.version     67342446592, debian, 12, glibc, 2.36
    kernel.version, kernel.config                                6.1.0, [CGROUPS, ...]
    gpu.vendor, gpu.model, gpu.driver.version                    nvidia, NVIDIA A100, 550.54.15
    cuda.driver.version                                          12.4: the newest CUDA that the driver runs
    pci.devices                                                  [10de:20b0:0302, ...]: vendor, device, class
    runtime.NAME.version, runtime.NAME.features                  1.1.5, [oci-1.0.2, ...]

A hand-written profile may hold any others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtimeimg.oci import Platform

API_VERSION, KIND = "runtimeimg.dev/v1", "Host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What Node Feature Discovery found, by feature name such as `cpu.cpuid` (NodeFeature API, v1alpha1)."""

    flags: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Names without values."""
    attributes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Names with values."""
    instances: Mapping[str, tuple[Mapping[str, str], ...]] = field(default_factory=dict)
    """Several of a kind, each with names and values: the devices of a bus."""

    def __bool__(self) -> bool:
        return bool(self.flags or self.attributes or self.instances)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine that containers run on."""

    name: str
    platform: Platform
    """With the amd64 level as its variant where that is known, and what the OS offers as its features."""
    facts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    features: Features = field(default_factory=Features)
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the Kubernetes node: less than its features, but what is there where those are not to be had."""
    resources: Mapping[str, str] = field(default_factory=dict)
    """Quantities that containers may use, by name (`cpu`, `memory`, `nvidia.com/gpu`), as they are written."""
    blobs: tuple[str, ...] = ()
    """Digests of blobs, or paths of a store, that the host holds already."""
    images: tuple[str, ...] = ()
    """References of images of which it holds every blob."""

    def fact(self, name: str) -> tuple[str, ...]:
        """Return the values of a fact, none where it is not known."""
        return self.facts.get(name, ())

    def document(self) -> dict[str, Any]:
        """Return the host as its document has it: what `host detect` writes and `hostdocument.load` reads."""
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": self.name,
            "platform": self.platform.full,
            **_filled("facts", {name: _short(values) for name, values in sorted(self.facts.items())}),
            **_filled("labels", dict(sorted(self.labels.items()))),
            **_filled("features", _features(self.features)),
            **_filled("resources", dict(sorted(self.resources.items()))),
            **_filled("blobs", list(self.blobs)),
            **_filled("images", list(self.images)),
        }


def _short(values: tuple[str, ...]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)


def _features(found: Features) -> dict[str, Any]:
    flags = {name: sorted(values) for name, values in sorted(found.flags.items())}
    attributes = {name: dict(sorted(values.items())) for name, values in sorted(found.attributes.items())}
    instances = {name: [dict(each) for each in values] for name, values in sorted(found.instances.items())}
    return _filled("flags", flags) | _filled("attributes", attributes) | _filled("instances", instances)


def _filled(key: str, value: Any) -> dict[str, Any]:
    return {key: value} if value else {}
