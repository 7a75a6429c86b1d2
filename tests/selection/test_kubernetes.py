"""Hosts out of Nodes with labels, NodeFeature objects, lists and what `nfd export` prints; and out of what is none."""

import json
from typing import Any

import pytest
import yaml

from runtimeimg.errors import InvalidDocumentError, RuntimeimgError, UsageError
from runtimeimg.oci import Platform
from runtimeimg.selection import hostfiles
from runtimeimg.selection.hosts import Host
from runtimeimg.selection.nfd.kubernetes import merged

NFD = "feature.node.kubernetes.io/"
GPU = {
    "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB",
    "nvidia.com/gpu.count": "8",
    "nvidia.com/cuda.driver-version.full": "550.54.15",
    "nvidia.com/cuda.runtime-version.major": "12",
    "nvidia.com/cuda.runtime-version.minor": "4",
    "nvidia.com/gpu.compute.major": "8",
    "nvidia.com/gpu.compute.minor": "0",
}
NODE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {
        "name": "gpu-1",
        "labels": {
            "kubernetes.io/arch": "amd64",
            **{f"{NFD}cpu-cpuid.{flag}": "true" for flag in ("AVX", "AVX2", "FMA3", "MOVBE", "AESNI")},
            f"{NFD}cpu-cpuid.AVX10_VERSION": "1",
            f"{NFD}cpu-model.vendor_id": "Intel",
            f"{NFD}kernel-version.full": "6.1.0-18-amd64",
            f"{NFD}kernel-config.NO_HZ": "true",
            f"{NFD}system-os_release.ID": "debian",
            f"{NFD}system-os_release.VERSION_ID": "12",
            f"{NFD}pci-0302_10de.present": "true",
            **GPU,
        },
    },
    "status": {
        "capacity": {"cpu": "64", "memory": "263856440Ki"},
        "nodeInfo": {
            "architecture": "amd64",
            "operatingSystem": "linux",
            "kernelVersion": "6.1.0-18-amd64",
            "containerRuntimeVersion": "containerd://1.7.13",
        },
    },
}
V3 = "SSE3 SSSE3 SSE4 SSE42 POPCNT CX16 LAHF AVX AVX2 BMI1 BMI2 F16C FMA3 LZCNT MOVBE XSAVE"
V4 = [*V3.split(), *(f"AVX512{name}" for name in ("F", "BW", "CD", "DQ", "VL"))]
FEATURES: dict[str, Any] = {
    "flags": {"cpu.cpuid": {"elements": {flag: {} for flag in V4}}, "kernel.loadedmodule": {"elements": {"vfio": {}}}},
    "attributes": {
        "cpu.model": {"elements": {"vendor_id": "AMD", "family": "25"}},
        "kernel.version": {"elements": {"full": "6.8.0", "major": "6"}},
        "system.name": {"elements": {"nodename": "gpu-1"}},
    },
    "instances": {
        "pci.device": {"elements": [{"attributes": {"class": "0302", "vendor": "10de", "device": "20b0"}}, {}]}
    },
}
NODE_FEATURE: dict[str, Any] = {
    "apiVersion": "nfd.k8s-sigs.io/v1alpha1",
    "kind": "NodeFeature",
    "metadata": {"name": "gpu-1-features", "labels": {"nfd.node.kubernetes.io/node-name": "gpu-1"}},
    "spec": {"features": FEATURES, "labels": GPU},
}


def one(document: object, file: str = "some/host.yaml") -> Host:
    return hostfiles.load(yaml.safe_dump(document).encode(), file)


def test_a_node_has_what_its_labels_and_its_status_say() -> None:
    host = one(NODE)
    assert (host.name, host.platform) == ("gpu-1", Platform.parse("linux/amd64/v3"))
    expected = {
        "cpu.level": "v3",
        "cpu.vendor": "Intel",
        "cpu.count": "64",
        "kernel.version": "6.1.0-18-amd64",
        "os.id": "debian",
        "os.version": "12",
        "memory.bytes": str(263856440 * 1024),
        "runtime.version": "containerd://1.7.13",
        "gpu.vendor": "nvidia",
        "gpu.model": "NVIDIA-A100-SXM4-40GB",
        "gpu.arch": "8.0",
        "gpu.count": "8",
        "gpu.driver.version": "550.54.15",
        "cuda.driver.version": "12.4",
    }
    assert {name: host.fact(name) for name in expected} == {name: (value,) for name, value in expected.items()}
    assert host.fact("cpu.flags") == ("aes", "avx", "avx2", "fma", "movbe")
    assert host.features.flags["cpu.cpuid"] == {"AVX", "AVX2", "FMA3", "MOVBE", "AESNI"}
    assert host.features.attributes["cpu.cpuid"] == {"AVX10_VERSION": "1"}
    assert host.features.attributes["kernel.config"] == {"NO_HZ": "y"}
    assert host.features.instances["pci.device"] == ({"class": "0302", "vendor": "10de"},)
    assert host.labels["nvidia.com/gpu.count"] == "8"


def test_yaml_that_makes_numbers_of_texts_is_read_as_it_is_written() -> None:
    text = (
        "kind: Node\nmetadata: {name: n, labels: {kubernetes.io/arch: amd64, "
        f"{NFD}system-os_release.VERSION_ID: 6.10}}}}"
    )
    assert hostfiles.load(text.encode()).fact("os.version") == ("6.10",)


def test_a_node_feature_is_of_the_node_that_its_label_names() -> None:
    host = one(NODE_FEATURE)
    assert (host.name, host.platform) == ("gpu-1", Platform.parse("linux/amd64/v4"))
    assert host.fact("gpu.model") == ("NVIDIA-A100-SXM4-40GB",)
    assert host.fact("pci.devices") == ("10de:20b0:0302",)
    assert host.fact("kernel.modules") == ("vfio",)
    assert host.features.attributes["cpu.model"] == {"vendor_id": "AMD", "family": "25"}


def test_what_nfd_exports_is_read() -> None:
    features = hostfiles.load(json.dumps(FEATURES).encode(), "node-7.json")
    assert (features.name, features.fact("cpu.level")) == ("gpu-1", ("v4",))
    labels = hostfiles.load(json.dumps(NODE["metadata"]["labels"]).encode(), "node-7.json")
    assert (labels.name, labels.platform) == ("node-7", Platform.parse("linux/amd64/v3"))


def test_a_list_is_several_hosts_and_not_one() -> None:
    other = {**NODE, "metadata": {**NODE["metadata"], "name": "gpu-2"}}
    data = json.dumps({"kind": "List", "items": [NODE, other]}).encode()
    assert [host.name for host in hostfiles.load_all(data)] == ["gpu-1", "gpu-2"]
    with pytest.raises(UsageError, match="about 2 hosts, and one is wanted"):
        hostfiles.load(data)


def test_a_node_and_its_features_are_one_host() -> None:
    (host,) = merged([one(NODE), one(NODE_FEATURE)])
    assert host.platform == Platform.parse("linux/amd64/v4")
    assert host.fact("kernel.version") == ("6.8.0",)
    assert host.fact("os.id") == ("debian",)
    arm = {**NODE, "status": {"nodeInfo": {"architecture": "arm64", "operatingSystem": "linux"}}}
    with pytest.raises(UsageError, match="host 'gpu-1' is linux/arm64 in one place and linux/amd64/v4 in another"):
        merged([one(arm), one(NODE_FEATURE)])


def test_a_windows_node_has_its_build() -> None:
    host = one(
        {
            "kind": "Node",
            "metadata": {"name": "w", "labels": {"node.kubernetes.io/windows-build": "10.0.20348"}},
            "status": {"nodeInfo": {"architecture": "amd64", "operatingSystem": "windows"}},
        }
    )
    assert host.platform == Platform(os="windows", architecture="amd64", os_version="10.0.20348")


def test_profiles_are_read_by_the_same_way() -> None:
    assert hostfiles.load(b"platform: linux/arm64/v8.2").platform.variant == "v8.2"
    assert hostfiles.load(b'{"platform": "linux/arm64"}').platform.architecture == "arm64"
    assert hostfiles.load(b"{platform: linux/arm64}").platform.architecture == "arm64"


def changed(path: str, value: object, document: dict[str, Any] = NODE) -> dict[str, Any]:
    """Return a copy of a document with another value at a path."""
    copy = json.loads(json.dumps(document))
    at, keys = copy, path.split("/")
    for key in keys[:-1]:
        at = at[key]
    at[keys[-1]] = value
    return copy


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"kind": "Pod"}, "kind: is 'Pod'; only 'Host' is known"),
        (changed("metadata", ["x"]), "'metadata' is not a map"),
        (changed("metadata/labels", ["a"]), "'metadata.labels' is not a map"),
        (changed("metadata/labels", {"a": ["b"]}), "'metadata.labels' is not a map of texts: the value of 'a' is none"),
        (changed("metadata/labels", {"a": "b" * 5000}), "'metadata.labels' holds a text of 5000 characters"),
        (changed("status", "x"), "'status' is not a map"),
        (changed("status/nodeInfo", [1]), "'status.nodeInfo' is not a map"),
        ({"kind": "Node", "metadata": {"name": "n"}}, "a Node without 'status.nodeInfo.architecture'"),
        (changed("spec/features", 1, NODE_FEATURE), "'spec.features' is not a map"),
        (
            changed("spec/features/flags", [], NODE_FEATURE) | {"spec": {"features": {"flags": [1]}}},
            "'flags' is not a map",
        ),
        (changed("spec/features/flags", {"cpu.cpuid": 1}, NODE_FEATURE), "'flags.cpu.cpuid' is not a map"),
        (
            changed("spec/features/attributes", {"a.b": {"elements": ["x"]}}, NODE_FEATURE),
            "attributes of 'a.b' is not a map",
        ),
        (changed("spec/features/instances", {"a.b": {"elements": {}}}, NODE_FEATURE), None),
        (
            changed("spec/features/instances", {"a.b": {"elements": {"x": 1}}}, NODE_FEATURE),
            "elements of 'a.b' is not a list",
        ),
        (
            changed("spec/features/instances", {"a.b": {"elements": ["x"]}}, NODE_FEATURE),
            "an instance of 'a.b' is not a map",
        ),
        ({"kind": "List", "items": {}}, "'items' is not a list"),
        ({"kind": "List", "items": ["x"]}, "an item is not a map"),
        ({"kind": "List", "items": [{"kind": "Pod"}]}, "kind 'Pod' says nothing of a host"),
        ({f"{NFD}cpu-cpuid.NEON": "true"}, "the labels do not tell the processor"),
    ],
)
def test_malformed_objects_are_one_clear_error(document: dict[str, Any], message: str | None) -> None:
    for text in (yaml.safe_dump(document), json.dumps(document)):
        if message is None:
            assert hostfiles.load(text.encode()).name == "gpu-1"
            continue
        with pytest.raises(InvalidDocumentError) as caught:
            hostfiles.load_all(text.encode(), "n.yaml")
        assert message in str(caught.value)
        assert str(caught.value).startswith("n.yaml:")
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"{", b"[]", b"null", b'{"kind": NaN}', b'{"kind": "Node", "kind": 1}',
     b"{" * 100_000, b'{"a":' * 5000,
     b"kind: &a [*a]", b"kind: Node\nkind: Node", b'{"kind": ["Node"]}', b"[" * 600_000, b'"x"', b"kind: Node\n\tx: y"],
)  # fmt: skip
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(RuntimeimgError):
        hostfiles.load_all(data, "n.yaml")


def test_control_characters_of_a_cluster_do_not_reach_a_profile() -> None:
    host = one(changed("metadata/labels", {"kubernetes.io/arch": "amd64", "a": "x\x1b[2J\ny\u202e"}))
    assert host.labels["a"] == "x?[2J y?"
