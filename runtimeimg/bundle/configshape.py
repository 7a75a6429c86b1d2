"""The shape of config.json, as versions 1.0 to 1.3 of the runtime specification have it (config.md, config-linux.md).

What is of other systems than Linux is known to be there, and not looked into.
"""

from __future__ import annotations

import re

from runtimeimg.bundle.features import ordered, version
from runtimeimg.bundle.paths import fields
from runtimeimg.bundle.shape import ANY, FLAG, TEXT, TEXTS, Shape, Wrong, integer, listed, mapped, record, text, wrong
from runtimeimg.bundle.values import STAGES


def _named(prefix: str, names: str) -> tuple[str, ...]:
    """Return names that have a beginning in common."""
    return tuple(f"{prefix}{name}" for name in names.split())


NAMESPACES = ("mount", "pid", "network", "uts", "ipc", "user", "cgroup", "time")
ACTIONS = tuple(
    f"SCMP_ACT_{name}"
    for name in ("KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "TRACE", "ALLOW", "LOG", "NOTIFY")
)
OPERATORS = tuple(f"SCMP_CMP_{name}" for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"))
ARCHITECTURES = _named(
    "SCMP_ARCH_",
    "X86 X86_64 X32 ARM AARCH64 LOONGARCH64 M68K MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 "
    "PPC64LE S390 S390X SH SHEB PARISC PARISC64 RISCV64",
)
FILTER_FLAGS = tuple(f"SECCOMP_FILTER_FLAG_{name}" for name in ("TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"))

_U16, _U32, _U64 = (integer(0, (1 << bits) - 1) for bits in (16, 32, 64))
_I32, _I64 = (integer(-(1 << bits - 1), (1 << bits - 1) - 1) for bits in (32, 64))
_ODD = re.compile("[\0\ud800-\udfff]")
_CPUS = text(pattern=r"^[0-9, -]*$")
_TEXT_MAP = mapped(TEXT)
_CAPABILITIES = ("bounding", "effective", "inheritable", "permitted", "ambient")
_IDS = listed(
    record({"containerID": _U32, "hostID": _U32, "size": _U32}, "containerID", "hostID", "size"),
)
_HOOKS = listed(record({"path": TEXT, "args": TEXTS, "env": TEXTS, "timeout": integer(1)}, "path"))
_MOUNT = record(
    {
        "destination": TEXT,
        "type": TEXT,
        "source": TEXT,
        "options": TEXTS,
        "uidMappings": _IDS,
        "gidMappings": _IDS,
    },
    "destination",
)
_PROCESS = record(
    {
        "terminal": FLAG,
        "consoleSize": record({"height": _U64, "width": _U64}, "height", "width"),
        "user": record(
            {"uid": _U32, "gid": _U32, "umask": _U32, "additionalGids": listed(_U32), "username": TEXT},
        ),
        "args": TEXTS,
        "commandLine": TEXT,
        "env": TEXTS,
        "cwd": TEXT,
        "capabilities": record(dict.fromkeys(_CAPABILITIES, TEXTS)),
        "rlimits": listed(
            record(
                {"type": text(pattern=r"^RLIMIT_[A-Z]+$"), "soft": _U64, "hard": _U64},
                "type",
                "soft",
                "hard",
            )
        ),
        "noNewPrivileges": FLAG,
        "apparmorProfile": TEXT,
        "oomScoreAdj": integer(-1000, 1000),
        "selinuxLabel": TEXT,
        "ioPriority": record(
            {
                "class": text(choices=("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE")),
                "priority": _I32,
            },
            "class",
        ),
        "scheduler": record(
            {
                "policy": text(
                    choices=tuple(
                        f"SCHED_{name}" for name in ("OTHER", "FIFO", "RR", "BATCH", "ISO", "IDLE", "DEADLINE")
                    )
                ),
                "nice": _I32,
                "priority": _I32,
                "flags": listed(
                    text(
                        choices=_named(
                            "SCHED_FLAG_",
                            "RESET_ON_FORK RECLAIM DL_OVERRUN KEEP_POLICY KEEP_PARAMS UTIL_CLAMP_MIN UTIL_CLAMP_MAX",
                        )
                    )
                ),
                "runtime": _U64,
                "deadline": _U64,
                "period": _U64,
            },
            "policy",
        ),
        "execCPUAffinity": record({"initial": _CPUS, "final": _CPUS}),
    },
    "cwd",
)
_DEVICE_RATE = record({"major": _I64, "minor": _I64, "rate": _U64}, "major", "minor")
_RESOURCES = record(
    {
        "unified": _TEXT_MAP,
        "devices": listed(
            record({"allow": FLAG, "type": TEXT, "major": _I64, "minor": _I64, "access": TEXT}, "allow"),
        ),
        "pids": record({"limit": _I64}, "limit"),
        "blockIO": record(
            {
                "weight": _U16,
                "leafWeight": _U16,
                "weightDevice": listed(
                    record(
                        {"major": _I64, "minor": _I64, "weight": _U16, "leafWeight": _U16},
                        "major",
                        "minor",
                    )
                ),
                **dict.fromkeys(
                    (
                        "throttleReadBpsDevice",
                        "throttleWriteBpsDevice",
                        "throttleReadIOPSDevice",
                        "throttleWriteIOPSDevice",
                    ),
                    listed(_DEVICE_RATE),
                ),
            }
        ),
        "cpu": record(
            {
                "cpus": TEXT,
                "mems": TEXT,
                "period": _U64,
                "quota": _I64,
                "burst": _U64,
                "realtimePeriod": _U64,
                "realtimeRuntime": _I64,
                "shares": _U64,
                "idle": _I64,
            }
        ),
        "hugepageLimits": listed(
            record({"pageSize": text(pattern=r"^[1-9][0-9]*[KMG]B$"), "limit": _U64}, "pageSize", "limit"),
        ),
        "memory": record(
            {
                "kernel": _I64,
                "kernelTCP": _I64,
                "limit": _I64,
                "reservation": _I64,
                "swap": _I64,
                "swappiness": _U64,
                "disableOOMKiller": FLAG,
                "useHierarchy": FLAG,
                "checkBeforeUpdate": FLAG,
            }
        ),
        "network": record(
            {
                "classID": _U32,
                "priorities": listed(record({"name": TEXT, "priority": _U32}, "name", "priority")),
            }
        ),
        "rdma": mapped(record({"hcaHandles": _U32, "hcaObjects": _U32})),
    }
)
_SYSCALL = record(
    {
        "names": listed(TEXT, fewest=1),
        "action": text(choices=ACTIONS),
        "errnoRet": _U32,
        "args": listed(
            record(
                {"index": _U32, "value": _U64, "valueTwo": _U64, "op": text(choices=OPERATORS)},
                "index",
                "value",
                "op",
            )
        ),
    },
    "names",
    "action",
)
_SECCOMP = record(
    {
        "defaultAction": text(choices=ACTIONS),
        "defaultErrnoRet": _U32,
        "flags": listed(text(choices=FILTER_FLAGS)),
        "listenerPath": TEXT,
        "listenerMetadata": TEXT,
        "architectures": listed(text(choices=ARCHITECTURES)),
        "syscalls": listed(_SYSCALL),
    },
    "defaultAction",
)
_OFFSET = record({"secs": _I64, "nanosecs": _U32})
_LINUX = record(
    {
        "devices": listed(
            record(
                {
                    "type": text(pattern=r"^[cbup]$"),
                    "path": TEXT,
                    "fileMode": integer(0, 0o777),
                    "major": _I64,
                    "minor": _I64,
                    "uid": _U32,
                    "gid": _U32,
                },
                "type",
                "path",
            )
        ),
        "netDevices": mapped(record({"name": TEXT})),
        "uidMappings": _IDS,
        "gidMappings": _IDS,
        "namespaces": listed(record({"type": text(choices=NAMESPACES), "path": TEXT}, "type")),
        "resources": _RESOURCES,
        "cgroupsPath": TEXT,
        "rootfsPropagation": text(choices=("private", "shared", "slave", "unbindable")),
        "seccomp": _SECCOMP,
        "sysctl": _TEXT_MAP,
        "maskedPaths": TEXTS,
        "readonlyPaths": TEXTS,
        "mountLabel": TEXT,
        "intelRdt": record(
            {
                "closID": TEXT,
                "schemata": TEXTS,
                "l3CacheSchema": TEXT,
                "memBwSchema": text(pattern=r"^MB:[^\n]*$"),
                "enableMonitoring": FLAG,
            }
        ),
        "memoryPolicy": record(
            {
                "mode": text(
                    choices=_named(
                        "MPOL_", "DEFAULT BIND INTERLEAVE WEIGHTED_INTERLEAVE PREFERRED PREFERRED_MANY LOCAL"
                    )
                ),
                "nodes": TEXT,
                "flags": listed(
                    text(
                        choices=tuple(f"MPOL_F_{name}" for name in ("NUMA_BALANCING", "RELATIVE_NODES", "STATIC_NODES"))
                    )
                ),
            }
        ),
        "personality": record({"domain": text(choices=("LINUX", "LINUX32")), "flags": TEXTS}),
        "timeOffsets": record({"boottime": _OFFSET, "monotonic": _OFFSET}),
    }
)
CONFIG: Shape = record(
    {
        "ociVersion": TEXT,
        "root": record({"path": TEXT, "readonly": FLAG}, "path"),
        "mounts": listed(_MOUNT),
        "process": _PROCESS,
        "hostname": TEXT,
        "domainname": TEXT,
        "hooks": record(dict.fromkeys(STAGES, _HOOKS)),
        "annotations": _TEXT_MAP,
        "linux": _LINUX,
        **dict.fromkeys(("solaris", "windows", "vm", "zos", "freebsd"), ANY),
    },
    "ociVersion",
)


def check(config: object) -> list[Wrong]:
    """Return what is wrong with a config.json by itself: types, and what the specification's text asks for besides."""
    found = list(wrong(config, CONFIG))
    if found and any(not item.unknown for item in found):
        return found
    assert isinstance(config, dict)
    return found + list(_rules(config))


def _rules(config: dict[str, object]) -> list[Wrong]:
    found = [
        Wrong(path=field.path, message=f"{field.value[:80]!r} is no UTF-8 text without NUL")
        for field in fields(config)
        if isinstance(field.value, str) and not field.path.startswith("annotations.") and _ODD.search(field.value)
    ]
    if version(str(config["ociVersion"])) is None:
        found.append(Wrong(path="ociVersion", message=f"{config['ociVersion']!r} is no version (SemVer 2.0.0)"))
    for path, value, meaning in _absolute(config):
        if not value.startswith("/"):
            found.append(Wrong(path=path, message=f"{value[:80]!r} is not an absolute path{meaning}"))
    process = config.get("process")
    if isinstance(process, dict):
        if not process.get("args") and "commandLine" not in process:
            found.append(Wrong(path="process.args", message="it is empty: there is nothing to start"))
        types = [item["type"] for item in process.get("rlimits", ())]
        found += [
            Wrong(path="process.rlimits", message=f"{name} is there twice")
            for name in dict.fromkeys(types)
            if types.count(name) > 1
        ]
    return found + _of_linux(config)


def _of_linux(config: dict[str, object]) -> list[Wrong]:
    linux = config.get("linux")
    if not isinstance(linux, dict):
        return []
    types = [item["type"] for item in linux.get("namespaces", ())]
    found = [
        Wrong(path="linux.namespaces", message=f"'{name}' is there twice")
        for name in dict.fromkeys(types)
        if types.count(name) > 1
    ]
    if (linux.get("uidMappings") or linux.get("gidMappings")) and "user" not in types:
        found.append(Wrong(path="linux.uidMappings", message="there is no user namespace that they could be of"))
    if linux.get("timeOffsets") and "time" not in types:
        found.append(Wrong(path="linux.timeOffsets", message="there is no time namespace that they could be of"))
    if config.get("hostname") and "uts" not in types:
        found.append(Wrong(path="hostname", message="there is no uts namespace that it could be of"))
    return found


def _absolute(config: dict[str, object]) -> list[tuple[str, str, str]]:
    """Return the values that must be absolute paths, with where they are and why."""
    found: list[tuple[str, str, str]] = []
    process, mounts, hooks, linux = (config.get(key) for key in ("process", "mounts", "hooks", "linux"))
    if isinstance(process, dict):
        found.append(("process.cwd", process["cwd"], ""))
    if isinstance(mounts, list) and ordered(str(config["ociVersion"]))[0] < (1, 2, 0):
        found += [
            (f"mounts[{number}].destination", item["destination"], ", which versions before 1.2.0 want")
            for number, item in enumerate(mounts)
        ]
    if isinstance(hooks, dict):
        found += [
            (f"hooks.{stage}[{number}].path", item["path"], "")
            for stage, items in hooks.items()
            if stage in STAGES
            for number, item in enumerate(items)
        ]
    if isinstance(linux, dict):
        found += [
            (f"linux.namespaces[{number}].path", item["path"], "")
            for number, item in enumerate(linux.get("namespaces", ()))
            if "path" in item
        ]
    return found
