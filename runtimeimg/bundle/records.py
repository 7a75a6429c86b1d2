"""What is known of runtimes that cannot tell their features, and of what they pass over though they tell otherwise.

All of it was tried out with them; tests/bundle tries it again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runtimeimg.bundle.features import Features, ordered

_CAPABILITIES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
_OPTIONS = """
defaults bind rbind ro rw suid nosuid dev nodev exec noexec sync async dirsync remount mand nomand atime noatime
diratime nodiratime relatime norelatime strictatime nostrictatime shared rshared slave rslave private rprivate
unbindable runbindable rro rrw rsuid rnosuid rdev rnodev rexec rnoexec rsync rasync rdirsync rmand rnomand ratime
rnoatime rdiratime rnodiratime rrelatime rnorelatime rstrictatime rnostrictatime tmpcopyup
"""
_ACTIONS = "ALLOW ERRNO KILL KILL_PROCESS KILL_THREAD LOG NOTIFY TRACE TRAP"
_OPERATORS = "EQ GE GT LE LT MASKED_EQ NE"
_ARCHITECTURES = (
    "AARCH64 ARM MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE RISCV64 S390 S390X X32 X86 X86_64"
)
_CRUN_1_8_1: Mapping[str, Any] = {
    "ociVersionMin": "1.0.0",
    "ociVersionMax": "1.1.0",
    "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
    "mountOptions": _OPTIONS.split(),
    "linux": {
        "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"],
        "capabilities": [f"CAP_{name}" for name in _CAPABILITIES.split()],
        "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": None},
        "seccomp": {
            "enabled": True,
            "actions": [f"SCMP_ACT_{name}" for name in _ACTIONS.split()],
            "operators": [f"SCMP_CMP_{name}" for name in _OPERATORS.split()],
            "archs": [f"SCMP_ARCH_{name}" for name in _ARCHITECTURES.split()],
            "knownFlags": [f"SECCOMP_FILTER_FLAG_{name}" for name in ("TSYNC", "LOG", "SPEC_ALLOW")],
        },
        "apparmor": {"enabled": True},
        "selinux": {"enabled": True},
        "mountExtensions": {"idmap": {"enabled": True}},
    },
}
_RECORDS = (("crun", "1.8.1", "1.8.2", _CRUN_1_8_1),)
"""Name, first version, first version that it is not of, features."""
PASSED_OVER = (
    ("runc", "1.1", "1.2", "linux.personality"),
    ("crun", "1.8.1", "1.8.2", "process.ioPriority"),
    ("crun", "1.8.1", "1.8.2", "process.scheduler"),
)
"""Name, first version, first version that heeds it, field."""


def of(name: str, version: str) -> Features | None:
    """Return what is on record of a version of a runtime, None where nothing is."""
    return next((Features(data=data) for *key, data in _RECORDS if _is(name, version, *key)), None)


def passed_over(name: str, version: str) -> frozenset[str]:
    """Return the fields of which it is on record that a version of a runtime passes over them without a word."""
    return frozenset(field for *key, field in PASSED_OVER if _is(name, version, *key))


def _is(name: str, version: str, known: str, first: str, end: str) -> bool:
    """Tell whether a version is in a range; what a distribution adds to its number does not count."""
    plain = re.match(r"[0-9]+\.[0-9]+(\.[0-9]+)?", version)
    return name == known and plain is not None and ordered(first) <= ordered(plain[0]) < ordered(end)
