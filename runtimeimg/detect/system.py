"""Processor, memory, kernel, operating system and C library, out of /proc, /sys, /etc, /boot and /lib."""

from __future__ import annotations

import contextlib
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from runtimeimg.detect.reading import MAX_BYTES, fit, names, pairs, text, word
from runtimeimg.errors import RuntimeimgError
from runtimeimg.hostfile import read_file
from runtimeimg.oci import Platform
from runtimeimg.selection.hosts import Features
from runtimeimg.selection.nfd import processors
from runtimeimg.selection.nfd.processors import nfd_name

Facts = dict[str, tuple[str, ...]]

_KIB = re.compile(r"MemTotal:\s+([0-9]{1,15}) kB")
_VERSION = re.compile(r"([0-9]+)\.([0-9]+)(?:\.([0-9]+))?")
_GLIBC = re.compile(rb"GNU C Library [^\n\0]{0,80}version ([0-9]{1,3}\.[0-9]{1,3})")
_CONFIG = re.compile(r"CONFIG_([A-Za-z0-9_]{1,80})=(.{1,200})")
_VENDORS = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD", "HygonGenuine": "Hygon"}
_LIBRARIES = ("lib64", "usr/lib64", "lib", "usr/lib")


def features(root: Path) -> Features:
    """Return what NFD would say of processor, kernel and system, by its names."""
    cpu, release = pairs(text(root / "proc/cpuinfo"), ":"), word(root / "proc/sys/kernel/osrelease")
    found = {
        "cpu.model": _model(cpu),
        "cpu.topology": _topology(root),
        "kernel.config": dict(_config(root, release)),
        "kernel.selinux": _selinux(root),
        "kernel.version": _version(release),
        "memory.numa": _numa(root),
        "memory.swap": {"enabled": "true" if len(text(root / "proc/swaps").splitlines()) > 1 else "false"},
        "system.osrelease": _release(root),
    }
    loaded = [line.split()[0] for line in text(root / "proc/modules").splitlines() if line.split()]
    there = {"cpu.cpuid": [nfd_name(flag) for flag in _flags(cpu)], "kernel.loadedmodule": loaded}
    there["kernel.enabledmodule"] = [*loaded, *_builtin(root, release)]
    return Features(
        flags={name: frozenset(values) for name, values in there.items() if values},
        attributes={name: values for name, values in found.items() if values},
    )


def facts(root: Path) -> Facts:
    """Return facts that no feature of NFD has."""
    cpu, memory = pairs(text(root / "proc/cpuinfo"), ":"), _KIB.search(text(root / "proc/meminfo"))
    count = sum(name[3:].isdecimal() for name in names(root / "sys/devices/system/cpu") if name.startswith("cpu"))
    library, version = libc(root)
    single = {
        "cpu.model": cpu.get("model name", ""),
        "cpu.count": str(count) if count else "",
        "memory.bytes": str(int(memory[1]) * 1024) if memory else "",
        "libc.name": library,
        "libc.version": version,
    }
    found: Facts = {name: (value,) for name, value in single.items() if value}
    return found | ({"cpu.flags": tuple(sorted(flags))} if (flags := _flags(cpu)) else {})


def _flags(cpu: dict[str, str]) -> list[str]:
    return (cpu.get("flags") or cpu.get("Features") or "").split()


def with_level(platform: Platform, root: Path) -> Platform:
    """Return the platform of a machine with the level of its processor as the variant, where it is above the lowest."""
    level = processors.level(_flags(pairs(text(root / "proc/cpuinfo"), ":")), platform.architecture)
    return processors.with_level(platform, level)


def libc(root: Path) -> tuple[str, str]:
    """Return name and version of the C library; the version of glibc alone is in its file."""
    for folder in _LIBRARIES:
        for path in (root / folder / "libc.so.6", *sorted((root / folder).glob("*-linux-gnu*/libc.so.6"))):
            if found := _GLIBC.search(_raw(path)):
                return "glibc", found[1].decode()
    return ("musl", "") if any((root / "lib").glob("ld-musl-*.so.1")) else ("", "")


def _raw(path: Path) -> bytes:
    with contextlib.suppress(RuntimeimgError, OSError):
        return read_file(path, MAX_BYTES)
    return b""


def _model(cpu: dict[str, str]) -> dict[str, str]:
    vendor = cpu.get("vendor_id", "")
    found = {"vendor_id": _VENDORS.get(vendor, vendor), "family": cpu.get("cpu family"), "id": cpu.get("model")}
    return {name: value for name, value in found.items() if value}


def _topology(root: Path) -> dict[str, str]:
    folder = root / "sys/devices/system/cpu"
    sockets = {
        word(folder / name / "topology/physical_package_id") for name in names(folder) if name[3:].isdecimal()
    } - {""}
    if not sockets:
        return {}
    threads = word(folder / "smt/active") == "1"
    return {"socket_count": str(len(sockets)), "hardware_multithreading": "true" if threads else "false"}


def _version(release: str) -> dict[str, str]:
    found = _VERSION.match(release)
    if found is None:
        return {}
    parts = {"full": release, "major": found[1], "minor": found[2], "revision": found[3] or ""}
    return {name: value for name, value in parts.items() if value}


def _config(root: Path, release: str) -> Iterator[tuple[str, str]]:
    """Yield the options of the kernel, by whichever file has them."""
    places = (f"boot/config-{release}", f"lib/modules/{release}/config", f"usr/lib/modules/{release}/config")
    contents = _unpacked(root / "proc/config.gz") or next(
        (found for place in places if release and (found := text(root / place))), ""
    )
    for line in contents.splitlines():
        if option := _CONFIG.fullmatch(line.strip()):
            yield option[1], fit(option[2].strip('"'))


def _unpacked(path: Path) -> str:
    with contextlib.suppress(OSError, EOFError, zlib.error), gzip.open(io.BytesIO(_raw(path))) as unpacked:
        return unpacked.read(MAX_BYTES).decode("utf-8", "replace")
    return ""


def _selinux(root: Path) -> dict[str, str]:
    enforcing = word(root / "sys/fs/selinux/enforce")
    return {"enabled": "true" if enforcing == "1" else "false"}


def _numa(root: Path) -> dict[str, str]:
    nodes = [name for name in names(root / "sys/bus/node/devices") if name.startswith("node")]
    return {"is_numa": "true" if len(nodes) > 1 else "false", "node_count": str(len(nodes))} if nodes else {}


def _release(root: Path) -> dict[str, str]:
    found = pairs(text(root / "etc/os-release") or text(root / "usr/lib/os-release"), "=")
    version = found.get("VERSION_ID", "").split(".")
    parts = {f"VERSION_ID.{name}": part for name, part in zip(("major", "minor"), version, strict=False) if part}
    return {**found, **parts}


def _builtin(root: Path, release: str) -> Iterator[str]:
    for line in text(root / f"lib/modules/{release}/modules.builtin").splitlines() if release else ():
        yield line.rpartition("/")[2].partition(".")[0]
