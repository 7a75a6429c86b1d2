"""Devices out of /sys, and what is known of graphics cards out of /proc, /sys and the vendor's tool."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from runtimeimg.detect.reading import fit, names, text, word
from runtimeimg.selection.nfd.facts import vendors

Facts = dict[str, tuple[str, ...]]
Ask = Callable[[tuple[str, ...]], str]
"""Runs a program and returns what it wrote; empty where it is not there or failed."""

_PCI = ("class", "vendor", "device", "subsystem_vendor", "subsystem_device", "sriov_totalvfs")
_USB = {"class": "bDeviceClass", "vendor": "idVendor", "device": "idProduct", "serial": "serial"}
_NETWORK = {"operstate": "operstate", "speed": "speed", "mtu": "mtu", "sriov_numvfs": "device/sriov_numvfs"}
_NETWORK["sriov_totalvfs"] = "device/sriov_totalvfs"
_STORAGE = {name: f"queue/{name}" for name in ("dax", "rotational", "nr_zones", "zoned")}

_NVIDIA_DRIVER = re.compile(r"Kernel Module(?: for \S+)?\s+([0-9]{1,4}(?:\.[0-9]{1,4}){1,2})")
_CUDA = re.compile(r"CUDA Version\s*:\s*([0-9]{1,3}\.[0-9]{1,3})")
_MODEL = re.compile(r"Model:\s*(.{1,200})")
_BRAND = re.compile(r"Product Brand\s*:\s*([A-Za-z][A-Za-z ]{0,40})")
_QUERY = ("nvidia-smi", "--query-gpu=name,driver_version,compute_cap,memory.total", "--format=csv,noheader,nounits")
_CUDA_OF_DRIVER = (
    *((580, "13.0"), (575, "12.9"), (570, "12.8"), (565, "12.7"), (560, "12.6"), (555, "12.5"), (550, "12.4")),
    *((545, "12.3"), (535, "12.2"), (530, "12.1"), (525, "12.0"), (520, "11.8"), (515, "11.7"), (510, "11.6")),
    *((495, "11.5"), (470, "11.4"), (465, "11.3"), (460, "11.2"), (455, "11.1"), (450, "11.0")),
)
"""The first driver of each CUDA version on Linux (CUDA Toolkit release notes, "CUDA Driver"), the newest first."""


def instances(root: Path) -> dict[str, tuple[Mapping[str, str], ...]]:
    """Return devices by NFD's names of their features."""
    physical: list[Mapping[str, str]] = []
    virtual: list[Mapping[str, str]] = []
    for name, values in _each(root / "sys/class/net", _NETWORK):
        if name != "lo":
            place = physical if (root / "sys/class/net" / name / "device").exists() else virtual
            place.append({"name": name, **values})
    found = {
        "pci.device": tuple(_pci(root)),
        "usb.device": tuple(values for _, values in _each(root / "sys/bus/usb/devices", _USB) if "vendor" in values),
        "network.device": tuple(physical),
        "network.virtual": tuple(virtual),
        "storage.block": tuple({"name": name, **values} for name, values in _each(root / "sys/block", _STORAGE)),
    }
    return {name: devices for name, devices in found.items() if devices}


def _pci(root: Path) -> Iterator[Mapping[str, str]]:
    for _, values in _each(root / "sys/bus/pci/devices", {name: name for name in _PCI}):
        found = {name: value.removeprefix("0x") for name, value in values.items()}
        if "class" in found:
            found["class"] = found["class"][:4]
        yield found


def _each(folder: Path, wanted: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    for name in names(folder):
        values = {key: word(folder / name / place) for key, place in wanted.items()}
        yield name, {key: value for key, value in values.items() if value}


def cards(root: Path, devices: tuple[Mapping[str, str], ...], ask: Ask) -> Facts:
    """Return the facts of graphics cards; `devices` are those of PCI, `ask` runs the vendor's tool."""
    found: dict[str, list[str]] = {}
    there = vendors(devices)
    if "nvidia" in there or (root / "proc/driver/nvidia").is_dir():
        there = list(dict.fromkeys([*there, "nvidia"]))
        found = _nvidia(root, ask)
    if "amd" in there:
        found.setdefault("gpu.model", []).extend(_amd(root))
        found.setdefault("gpu.driver.version", []).append(word(root / "sys/module/amdgpu/version"))
    found["gpu.vendor"] = there
    facts = {name: tuple(dict.fromkeys(filter(None, values))) for name, values in found.items()}
    return {name: values for name, values in facts.items() if values}


def _nvidia(root: Path, ask: Ask) -> dict[str, list[str]]:
    said = [line.split(",") for line in ask(_QUERY).splitlines()]
    rows = [[fit(cell) for cell in row] for row in said if len(row) == 4]
    if rows:
        models, drivers, levels, memory = (list(column) for column in zip(*rows, strict=True))
        count = str(len(rows))
    else:
        information = [text(path) for path in sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))]
        models = [fit(model[1]) for each in information if (model := _MODEL.search(each))]
        drivers, levels, memory, count = [_nvidia_driver(root)], [], [], str(len(information) or "")
    more = ask(("nvidia-smi", "-q")) if rows else ""
    cuda = _CUDA.search(more)
    return {
        "gpu.model": models,
        "gpu.driver.version": drivers,
        "gpu.arch": levels,
        "gpu.brand": [fit(brand).replace(" ", "").lower() for brand in _BRAND.findall(more)],
        "gpu.memory.mib": memory,
        "gpu.count": [count],
        "cuda.driver.version": [cuda[1] if cuda else cuda_of(next(iter(drivers), ""))],
    }


def _nvidia_driver(root: Path) -> str:
    found = _NVIDIA_DRIVER.search(text(root / "proc/driver/nvidia/version"))
    return found[1] if found else word(root / "sys/module/nvidia/version")


def cuda_of(driver: str) -> str:
    """Return the newest CUDA that a driver of NVIDIA runs, empty where that is not known."""
    major = driver.partition(".")[0]
    if not major.isdecimal() or len(major) > 6:
        return ""
    return next((cuda for first, cuda in _CUDA_OF_DRIVER if int(major) >= first), "")


def _amd(root: Path) -> Iterator[str]:
    for name in names(root / "sys/class/drm"):
        if re.fullmatch(r"card[0-9]+", name):
            yield word(root / "sys/class/drm" / name / "device/product_name")
