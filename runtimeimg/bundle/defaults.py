"""What a config.json has that no image says: each default as data, with its reason (docs/bundles.md is made of it)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONSOLE = (24, 80)
"""Height and width of a console whose size nobody says."""
_CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
_KERNEL = ("nosuid", "noexec", "nodev")


@dataclass(frozen=True, slots=True, kw_only=True)
class Default:
    """A default: where it stands in config.json, its value there, why, and what changes it."""

    path: str
    value: Any
    reason: str
    change: str = ""
    rootless: str = ""
    """What a rootless bundle has instead, and why."""


MOUNTS: tuple[Mapping[str, Any], ...] = (
    {"destination": "/proc", "type": "proc", "source": "proc", "options": [*_KERNEL]},
    {
        "destination": "/dev",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
        "destination": "/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {
        "destination": "/dev/shm",  # noqa: S108 - a place in the container
        "type": "tmpfs",
        "source": "shm",
        "options": [*_KERNEL, "mode=1777", "size=65536k"],
    },
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": [*_KERNEL]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*_KERNEL, "ro"]},
    {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*_KERNEL, "relatime", "ro"]},
)
HOST_SYS: Mapping[str, Any] = {
    "destination": "/sys",
    "type": "none",
    "source": "/sys",
    "options": ["rbind", *_KERNEL, "ro"],
}
VOLUME_OPTIONS = ("nosuid", "nodev", "tmpcopyup")

DEFAULTS = (
    Default(
        path="root.path",
        value="rootfs",
        reason="where every tool that unpacks images puts it; relative, so that the bundle can be moved",
    ),
    Default(
        path="root.readonly",
        value=False,
        reason="programs write where the image's author tested that they can; true where a volume is mounted, since "
        "what is worth keeping has its place then",
        change="`--readonly`, `--set root.readonly=false`",
    ),
    Default(
        path="process.cwd",
        value="/",
        reason="the one folder that every image has",
        change="`--set process.cwd=/app`",
    ),
    Default(
        path="process.env",
        value=[f"PATH={PATH}", "HOME=(the user's in /etc/passwd, else /)"],
        reason="a shell without PATH finds nothing, and much software reads HOME; only where the image names neither. "
        "TERM is added with a terminal",
        change="`--env NAME=VALUE`",
    ),
    Default(
        path="process.terminal",
        value=False,
        reason="services write to pipes; a terminal needs somebody who holds its other end",
        change="`--debug`, which adds consoleSize and TERM",
    ),
    Default(
        path="process.user.umask",
        value=0o022,
        reason="what programs are tested with; otherwise it is that of whoever calls the runtime",
        change="`--set process.user.umask=63`",
    ),
    Default(
        path="process.capabilities",
        value={name: list(_CAPABILITIES) for name in ("bounding", "effective", "inheritable", "permitted", "ambient")},
        reason="to write audit records, to signal what it started as another user, to listen below port 1024; in all "
        "five sets, so that a user that is not root has them too",
        change="`--set process.capabilities.bounding='[...]'` and so on",
    ),
    Default(
        path="process.noNewPrivileges",
        value=True,
        reason="nothing in the image gives the process more than it was started with: neither setuid nor file "
        "capabilities",
        change="`--set process.noNewPrivileges=false`",
    ),
    Default(
        path="process.rlimits",
        value=[{"type": "RLIMIT_NOFILE", "hard": 4096, "soft": 1024}],
        reason="what Linux itself begins with: programs that call select(2) need the one, and more than the other "
        "would not start where the caller has less",
        change="`--set process.rlimits[0].hard=1048576`",
    ),
    Default(
        path="hostname",
        value="(the artefact's name)",
        reason="logs and prompts say which container they are of; the last part of the image's name, without its tag",
        change="`--hostname`",
    ),
    Default(
        path="mounts",
        value=[dict(item) for item in MOUNTS],
        reason="what the runtime specification asks of Linux containers, each with as few rights as it works with",
        change="`--mount`, which takes the place of one with the same destination",
        rootless="/sys is the host's, read-only, where the network is the host's; no `gid=5` where the user namespace "
        "has no group 5",
    ),
    Default(
        path="linux.namespaces",
        value=[{"type": name} for name in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
        reason="one of each kind that every runtime has; time as well where the runtime says that it has it",
        change="`--network host`, `--set linux.namespaces='[...]'`",
        rootless="a user namespace besides, and no network namespace unless that is asked for: a normal user could "
        "connect it to nothing",
    ),
    Default(
        path="linux.resources.devices",
        value=[{"allow": False, "access": "rwm"}],
        reason="no device but those that every container has, which the runtime adds",
        change="`--set linux.resources.devices='[...]'`",
        rootless="none: a normal user has no cgroup to set it in, and makes no devices",
    ),
    Default(
        path="linux.maskedPaths",
        value=[
            "/proc/acpi",
            "/proc/asound",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/proc/sched_debug",
            "/proc/scsi",
            "/sys/firmware",
            "/sys/devices/virtual/powercap",
        ],
        reason="they tell of the host, or act on it, whatever namespace they are read in",
        change="`--set linux.maskedPaths='[...]'`",
    ),
    Default(
        path="linux.readonlyPaths",
        value=["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        reason="they set the whole host",
        change="`--set linux.readonlyPaths='[...]'`",
    ),
)
BY_PATH = {item.path: item for item in DEFAULTS}


def value(path: str) -> Any:
    """Return a copy of a default's value."""
    from copy import deepcopy

    return deepcopy(BY_PATH[path].value)
