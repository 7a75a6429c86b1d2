"""Versions of the runtime specification: which one a config.json needs, and which it says that it follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runtimeimg.bundle.features import Features, ordered
from runtimeimg.bundle.paths import Field, fields

LEAST = "1.0.2"
"""What a config.json says that needs nothing newer: hooks, umask and seccomp flags came with it."""
NEWEST = "1.3.0"
"""The newest version known here."""
SINCE: Mapping[str, str] = {
    "hooks.createContainer": "1.0.2",
    "hooks.createRuntime": "1.0.2",
    "hooks.startContainer": "1.0.2",
    "linux.intelRdt": "1.0.1",
    "linux.intelRdt.closID": "1.0.2",
    "linux.intelRdt.memBwSchema": "1.0.2",
    "linux.personality": "1.0.2",
    "linux.resources.memory.useHierarchy": "1.0.2",
    "linux.resources.rdma": "1.0.2",
    "linux.seccomp.flags": "1.0.2",
    "process.user.umask": "1.0.2",
    "vm": "1.0.2",
    "domainname": "1.1.0",
    "linux.intelRdt.enableMonitoring": "1.3.0",
    "linux.intelRdt.schemata": "1.3.0",
    "linux.memoryPolicy": "1.3.0",
    "linux.netDevices": "1.3.0",
    "linux.resources.cpu.burst": "1.1.0",
    "linux.resources.cpu.idle": "1.1.0",
    "linux.resources.memory.checkBeforeUpdate": "1.1.0",
    "linux.resources.unified": "1.1.0",
    "linux.seccomp.defaultErrnoRet": "1.1.0",
    "linux.seccomp.listenerMetadata": "1.1.0",
    "linux.seccomp.listenerPath": "1.1.0",
    "linux.seccomp.syscalls[].errnoRet": "1.1.0",
    "linux.timeOffsets": "1.1.0",
    "mounts[].gidMappings": "1.1.0",
    "mounts[].uidMappings": "1.1.0",
    "process.execCPUAffinity": "1.2.1",
    "process.ioPriority": "1.1.0",
    "process.scheduler": "1.1.0",
    "zos": "1.1.0",
    "freebsd": "1.3.0",
}
"""Fields that came after version 1.0.0, and the version that brought them (the specification's ChangeLog)."""
VALUES_SINCE: Mapping[tuple[str, str], str] = {
    ("linux.namespaces[].type", "time"): "1.1.0",
    ("linux.seccomp.flags[]", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"): "1.1.0",
    ("linux.seccomp.defaultAction", "SCMP_ACT_NOTIFY"): "1.1.0",
    ("linux.seccomp.syscalls[].action", "SCMP_ACT_NOTIFY"): "1.1.0",
    ("linux.seccomp.defaultAction", "SCMP_ACT_LOG"): "1.0.2",
    ("linux.seccomp.syscalls[].action", "SCMP_ACT_LOG"): "1.0.2",
    ("linux.seccomp.architectures[]", "SCMP_ARCH_RISCV64"): "1.1.0",
    ("mounts[].options[]", "idmap"): "1.2.0",
    ("mounts[].options[]", "ridmap"): "1.2.0",
}
"""Values that came after version 1.0.0 into fields that were there."""


def chosen(config: Mapping[str, Any], features: Features | None) -> str:
    """Return the version that a config.json says: the least that has all its fields, within what the runtime takes.

    Where the runtime takes only older ones it is the newest of those; `bundle check` names the fields that it lacks.
    """
    needed = max((since for _, since in newer(config)), key=ordered, default=LEAST)
    needed = max(needed, LEAST, key=ordered)
    if features is None:
        return needed
    if ordered(needed) > ordered(features.most):
        return features.most
    return max(needed, features.least, key=ordered)


def newer(config: Mapping[str, Any]) -> Iterator[tuple[Field, str]]:
    """Yield the fields that are newer than version 1.0.0, each with the version that brought it."""
    for field in fields(config):
        since = SINCE.get(field.pattern)
        if since is None and isinstance(field.value, str):
            since = VALUES_SINCE.get((field.pattern, field.value))
        if since is not None:
            yield field, since
