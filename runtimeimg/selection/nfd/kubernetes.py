"""Hosts out of what Kubernetes and Node Feature Discovery say of nodes.

Four kinds, told by their contents: a Node with its labels (`kubectl get node NAME -o yaml`), a NodeFeature object, a
List of either, and what `nfd export features` and `nfd export labels` print. A Node's labels have less detail than a
NodeFeature: with both, what the NodeFeature says stands over the labels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.oci import Platform
from runtimeimg.selection.hosts import Features, Host
from runtimeimg.selection.nfd import facts as derived
from runtimeimg.selection.nfd.processors import with_level
from runtimeimg.spec.checks import shown
from runtimeimg.text import plain

NFD = "feature.node.kubernetes.io/"
NODE_NAME = "nfd.node.kubernetes.io/node-name"
"""Label of a NodeFeature that names its node (NFD, NodeFeature API)."""
MAX_HOSTS = 10_000
MAX_TEXT = 4096
_UNITS = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "k": 10**3, "M": 10**6, "G": 10**9}
_QUANTITY = re.compile(r"([0-9]{1,18})(Ki|Mi|Gi|Ti|k|M|G|)\Z")
_PRESENT = re.compile(r"(pci|usb)-([0-9a-f_]{4,40})\.present\Z")
_GROUPS = {
    "cpu-model.": "cpu.model",
    "cpu-security.": "cpu.security",
    "kernel-config.": "kernel.config",
    "kernel-selinux.": "kernel.selinux",
    "kernel-version.": "kernel.version",
    "memory-swap.": "memory.swap",
    "system-os_release.": "system.osrelease",
}
"""Labels, without NFD, whose rest is the name of an attribute, and the feature that it is one of."""

Object = Mapping[str, Any]


def hosts(document: Object, name: str) -> tuple[Host, ...]:
    """Return the hosts that a document of one of the kinds describes; `name` is for what names none.

    Raises InvalidDocumentError for another kind or one that is malformed.
    """
    found = tuple(_hosts(document, name))
    if len(found) > MAX_HOSTS:
        raise InvalidDocumentError(f"the document has {len(found)} nodes; {MAX_HOSTS} are allowed")
    return found


def is_kind(document: Object) -> bool:
    """Tell whether a document is of one of the kinds, well-formed or not."""
    return _reader(document) is not None or _is_list(document)


def _hosts(data: Object, name: str) -> Iterator[Host]:
    if _is_list(data):
        for item in _list(data.get("items"), "'items'"):
            yield from _hosts(_map(item, "an item"), name)
        return
    reader = _reader(data)
    if reader is None:
        kind = data.get("kind")
        what = f"kind {shown(kind)}" if isinstance(kind, str) else "a document without a kind that is known"
        raise InvalidDocumentError(
            f"{what} says nothing of a host", hint="known are Node, NodeFeature, List, and what 'nfd export' prints"
        )
    yield reader(data, name)


def _is_list(data: Object) -> bool:
    kind = data.get("kind")
    return isinstance(kind, str) and kind in {"List", "NodeList", "NodeFeatureList"}


def _reader(data: Object) -> Callable[[Object, str], Host] | None:
    kind = data.get("kind")
    if kind == "Node":
        return _node
    if kind == "NodeFeature":
        return _node_feature
    if kind is not None or not data:
        return None
    if data.keys() <= {"flags", "attributes", "instances"}:
        return _exported
    if any(key.startswith(NFD) for key in data):
        return _exported_labels
    return None


def merged(several: Iterable[Host]) -> tuple[Host, ...]:
    """Return hosts, those of one name made one; UsageError where they are of different processors or systems.

    What a later one says stands over the earlier; a platform's variant is that of either.
    """
    by_name: dict[str, Host] = {}
    for host in several:
        other = by_name.get(host.name)
        by_name[host.name] = host if other is None else _merged(other, host)
    return tuple(by_name.values())


def _merged(one: Host, two: Host) -> Host:
    if (one.platform.os, one.platform.architecture) != (two.platform.os, two.platform.architecture):
        raise UsageError(f"host {shown(one.name)} is {one.platform} in one place and {two.platform} in another")
    variant = two.platform.variant or one.platform.variant
    features = Features(
        flags={**one.features.flags, **two.features.flags},
        attributes={**one.features.attributes, **two.features.attributes},
        instances={**one.features.instances, **two.features.instances},
    )
    found = replace(one.platform, variant=variant, os_version=two.platform.os_version or one.platform.os_version)
    return replace(
        two, platform=found, facts={**one.facts, **two.facts}, labels={**one.labels, **two.labels}, features=features
    )


def _node(data: Object, name: str) -> Host:
    """Return the host of a Node (core/v1): metadata.labels, status.nodeInfo, status.capacity."""
    labels, status = _labels(data), _map(data.get("status") or {}, "'status'")
    info = _texts(status.get("nodeInfo") or {}, "'status.nodeInfo'")
    os = info.get("operatingSystem") or labels.get("kubernetes.io/os", "linux")
    architecture = info.get("architecture") or labels.get("kubernetes.io/arch", "")
    if not architecture:
        raise InvalidDocumentError("a Node without 'status.nodeInfo.architecture' and label 'kubernetes.io/arch'")
    features = of_labels(labels)
    found = derived.facts(features, architecture, labels=True) | of_gpu_labels(labels)
    for fact, value in (("kernel.version", info.get("kernelVersion")), ("runtime.version", info.get(_RUNTIME))):
        if value:
            found[fact] = (value,)
    capacity = _map(status.get("capacity") or {}, "'status.capacity'")
    if memory := _quantity(capacity.get("memory")):
        found["memory.bytes"] = (memory,)
    if isinstance(cpus := capacity.get("cpu"), str) and cpus.isdecimal():
        found["cpu.count"] = (cpus,)
    windows = labels.get("node.kubernetes.io/windows-build", "") if os == "windows" else ""
    return _host(_name(data, name), _platform(os, architecture, found, windows), found, features, labels)


_RUNTIME = "containerRuntimeVersion"


def _node_feature(data: Object, name: str) -> Host:
    """Return the host of a NodeFeature (nfd.k8s-sigs.io/v1alpha1), whose node a label names."""
    spec = _map(data.get("spec") or {}, "'spec'")
    features = of_features(_map(spec.get("features") or {}, "'spec.features'"))
    labels = _texts(spec.get("labels") or {}, "'spec.labels'")
    return _of_features(features, _labels(data).get(NODE_NAME) or _name(data, name), labels)


def _exported(data: Object, name: str) -> Host:
    features = of_features(data)
    node = features.attributes.get("system.name", {}).get("nodename", "")
    return _of_features(features, node or name, {})


def _exported_labels(data: Object, name: str) -> Host:
    labels = _texts(data, "the labels")
    features = of_labels(labels)
    found = derived.facts(features, "amd64", labels=True) | of_gpu_labels(labels)
    architecture = labels.get("kubernetes.io/arch") or ("amd64" if "avx" in found.get("cpu.flags", ()) else "")
    if not architecture:
        raise InvalidDocumentError("the labels do not tell the processor", hint="add 'kubernetes.io/arch: amd64'")
    return _host(name, _platform("linux", architecture, found), found, features, labels)


def _of_features(features: Features, name: str, labels: Mapping[str, str]) -> Host:
    architecture = _architecture(features)
    found = derived.facts(features, architecture) | of_gpu_labels(labels)
    return _host(name, _platform("linux", architecture, found), found, features, labels)


def _architecture(features: Features) -> str:
    """Return the processor that flags and model tell of: features do not name it."""
    flags = features.flags.get("cpu.cpuid", frozenset())
    vendor = features.attributes.get("cpu.model", {}).get("vendor_id", "")
    if flags & {"SSE2", "SSE4", "AVX", "AVX2", "CMPXCHG8", "SYSCALL"} or vendor in {"Intel", "AMD", "VIA", "Zhaoxin"}:
        return "amd64"
    if flags & {"ASIMD", "AESARM", "ATOMICS"} or vendor in {"ARM", "Ampere", "Apple", "Cavium", "Fujitsu", "Marvell"}:
        return "arm64"
    return "s390x" if vendor == "IBM/S390" else "amd64"


def _platform(os: str, architecture: str, found: derived.Facts, version: str = "") -> Platform:
    plain = Platform(os=os, architecture=architecture, os_version=version)
    return with_level(plain, found.get("cpu.level", ("",))[0])


def _host(name: str, platform: Platform, found: derived.Facts, features: Features, labels: Mapping[str, str]) -> Host:
    return Host(name=name, platform=platform, facts=found, features=features, labels=labels)


def of_features(data: Object) -> Features:
    """Return the features of a NodeFeature's `spec.features`; InvalidDocumentError for what is malformed."""

    def elements(kind: str) -> Iterator[tuple[str, Any]]:
        for feature, value in _map(data.get(kind) or {}, f"'{kind}'").items():
            yield str(feature).lower(), _map(value, f"'{kind}.{str(feature)[:80]}'").get("elements")

    instances = {
        name: tuple(
            _texts(_map(item, f"an instance of '{name[:80]}'").get("attributes") or {}, f"attributes of '{name[:80]}'")
            for item in _list(value or [], f"elements of '{name[:80]}'")
        )
        for name, value in elements("instances")
    }
    return Features(
        flags={
            name: frozenset(map(_clean, _map(value or {}, f"flags of '{name[:80]}'")))
            for name, value in elements("flags")
        },
        attributes={
            name: _texts(value or {}, f"attributes of '{name[:80]}'") for name, value in elements("attributes")
        },
        instances=instances,
    )


def of_labels(labels: Mapping[str, str]) -> Features:
    """Return the features that NFD's labels of a node tell of (NFD, "Feature labels"): fewer than there are."""
    flags: dict[str, set[str]] = {}
    attributes: dict[str, dict[str, str]] = {}
    instances: dict[str, list[dict[str, str]]] = {}
    for label, value in labels.items():
        name = label.removeprefix(NFD)
        if name == label:
            continue
        if name.startswith("cpu-cpuid."):
            _flag(name.removeprefix("cpu-cpuid."), value, flags, attributes)
        elif device := _PRESENT.match(name):
            parts = device[2].split("_")
            keys = ("class", "vendor", "device") if len(parts) > 1 else ("vendor",)
            instances.setdefault(f"{device[1]}.device", []).append(dict(zip(keys, parts, strict=False)))
        else:
            for start, feature in _GROUPS.items():
                if name.startswith(start):
                    changed = {"true": "y"}.get(value, value) if feature == "kernel.config" else value
                    attributes.setdefault(feature, {})[name.removeprefix(start)] = changed
    return Features(
        flags={name: frozenset(found) for name, found in flags.items()},
        attributes=attributes,
        instances={name: tuple(found) for name, found in instances.items()},
    )


def _flag(name: str, value: str, flags: dict[str, set[str]], attributes: dict[str, dict[str, str]]) -> None:
    if value == "true":
        flags.setdefault("cpu.cpuid", set()).add(name)
    else:
        attributes.setdefault("cpu.cpuid", {})[name] = value


def of_gpu_labels(labels: Mapping[str, str]) -> derived.Facts:
    """Return the facts that labels of GPU Feature Discovery (nvidia.com/) and AMD's labeller (amd.com/) tell of."""

    def dotted(*keys: str) -> str:
        return ".".join(filter(None, (labels.get(f"nvidia.com/{key}", "") for key in keys)))

    model, amd = labels.get("nvidia.com/gpu.product", ""), labels.get("amd.com/gpu.product-name", "")
    cuda = dotted("cuda.runtime-version.major", "cuda.runtime-version.minor")
    driver = labels.get("nvidia.com/cuda.driver-version.full", "")
    found = {
        "gpu.vendor": "nvidia" if model else "amd" if amd else "",
        "gpu.model": model or amd,
        "gpu.driver.version": driver or dotted("cuda.driver.major", "cuda.driver.minor", "cuda.driver.rev"),
        "cuda.driver.version": cuda or dotted("cuda.runtime.major", "cuda.runtime.minor"),
        "gpu.arch": dotted("gpu.compute.major", "gpu.compute.minor"),
        "gpu.count": labels.get("nvidia.com/gpu.count", ""),
        "gpu.memory.mib": labels.get("nvidia.com/gpu.memory", ""),
    }
    return {name: (value,) for name, value in found.items() if value}


def _labels(data: Object) -> dict[str, str]:
    metadata = _map(data.get("metadata") or {}, "'metadata'")
    return _texts(metadata.get("labels") or {}, "'metadata.labels'")


def _name(data: Object, name: str) -> str:
    found = _map(data.get("metadata") or {}, "'metadata'").get("name")
    return found if isinstance(found, str) and found else name


def _quantity(value: object) -> str:
    """Return the bytes of a Kubernetes quantity, empty for one that is none."""
    found = _QUANTITY.match(value) if isinstance(value, str) else None
    return str(int(found[1]) * _UNITS[found[2]]) if found else ""


def _map(value: object, what: str) -> Object:
    if not isinstance(value, Mapping):
        raise InvalidDocumentError(f"{what} is not a map")
    return value


def _list(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidDocumentError(f"{what} is not a list")
    return value


def _texts(value: object, what: str) -> dict[str, str]:
    """Return a map of texts fit for a host's document; InvalidDocumentError where it holds anything else."""
    found = {}
    for key, item in _map(value, what).items():
        if not isinstance(item, str):
            raise InvalidDocumentError(f"{what} is not a map of texts: the value of {shown(key)} is none")
        if max(len(key), len(item)) > MAX_TEXT:
            raise InvalidDocumentError(f"{what} holds a text of {max(len(key), len(item))} characters at {shown(key)}")
        found[_clean(key)] = _clean(item)
    return found


def _clean(text: str) -> str:
    return text if text.isprintable() else " ".join(plain(text).split())
