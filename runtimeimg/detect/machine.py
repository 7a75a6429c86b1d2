"""All that is found of this machine, as one host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from runtimeimg.detect import devices, programs, runtimes, system
from runtimeimg.oci import Platform
from runtimeimg.selection.hosts import Features, Host
from runtimeimg.selection.nfd import facts as derived
from runtimeimg.selection.nfd.processors import with_level

_OPTIONS = """
    BINFMT_MISC BLK_CGROUP BPF_SYSCALL BTRFS_FS CFS_BANDWIDTH CGROUPS CGROUP_BPF CGROUP_DEVICE CGROUP_PIDS CPUSETS
    DM_VERITY EROFS_FS FUSE_FS IDMAPPED_MOUNTS INET IPC_NS KEYS MEMCG NAMESPACES NETFILTER NET_NS NF_TABLES OVERLAY_FS
    PID_NS SECCOMP SECCOMP_FILTER SECURITY_APPARMOR SECURITY_LANDLOCK SECURITY_SELINUX SQUASHFS TIME_NS USER_NS UTS_NS
    VETH VFIO_PCI XFS_FS
"""
CONTAINER_OPTIONS = frozenset(_OPTIONS.split())
"""Options of a kernel that containers ask for: the fact `kernel.config` names those that are there."""


def detect(root: Path, name: str, platform: Platform, env: Mapping[str, str], *, full: bool = False) -> Host:
    """Return this machine as a host called `name`.

    `root` is where its /proc, /sys, /etc, /boot and /lib are; `env` the environment of programs that are asked;
    `platform` what is known without looking. `full` keeps all options and modules of the kernel, some ten thousand.
    """
    ask: Callable[[tuple[str, ...]], bytes | None] = partial(_quiet, env)
    found = system.features(root)
    config = found.attributes.get("kernel.config", {})
    kept = {"system.name": {"nodename": name}}
    features = Features(
        flags={name: values for name, values in found.flags.items() if full or name != "kernel.enabledmodule"},
        attributes={
            **{name: values for name, values in found.attributes.items() if full or values is not config},
            **kept,
        },
        instances=devices.instances(root),
    )
    facts = derived.facts(features, platform.architecture) | system.facts(root)
    facts |= devices.cards(
        root, features.instances.get("pci.device", ()), lambda argv: (ask(argv) or b"").decode("utf-8", "replace")
    )
    facts |= runtimes.facts(ask)
    if enabled := sorted(option for option in CONTAINER_OPTIONS if config.get(option) in {"y", "m"}):
        facts["kernel.config"] = tuple(enabled)
    return Host(
        name=name,
        platform=with_level(platform, facts.get("cpu.level", ("",))[0]),
        facts=facts,
        features=features,
    )


def _quiet(env: Mapping[str, str], argv: tuple[str, ...]) -> bytes | None:
    return programs.quiet(argv, env)
