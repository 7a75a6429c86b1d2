"""Bundles that each use one feature: what runc and crun do not vouch for is named, and what is called fine starts."""

import copy
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runtimeimg.bundle import BundleOptions, check, features, write
from runtimeimg.bundle.features import Runtime
from runtimeimg.findings import Severity

from .images import busybox
from .starting import Starter, needs_namespaces, place

Change = Callable[[dict[str, Any]], object]
DEBIANS = {"runc": "1.1.5", "crun": "1.8.1"}
IDS = [{"containerID": 0, "hostID": 1000, "size": 1}]


@dataclass(frozen=True)
class Case:
    """A feature: what it changes, the rule and place of the findings for both runtimes, why it cannot start here."""

    name: str
    change: Change
    runc: tuple[str, ...] = ()
    crun: tuple[str, ...] = ()
    not_here: str = ""
    out: str = field(default="ok\n")


def both(name: str, change: Change, *found: str, **more: Any) -> Case:
    return Case(name, change, found, found, **more)


def put(path: str, value: Any) -> Change:
    """Return what puts a value at a path."""

    def change(config: dict[str, Any]) -> None:
        *way, last = path.split(".")
        for key in way:
            config = config.setdefault(key, {})
        config[last] = value

    return change


def mounted(*options: str, kind: str = "tmpfs", **more: Any) -> Change:
    source = {"bind": "/etc", "tmpfs": "tmpfs"}.get(kind, kind)
    return lambda config: config["mounts"].append(
        {"destination": "/more", "type": kind, "source": source, "options": list(options), **more}
    )


def namespace(kind: str, **more: Any) -> Change:
    return lambda config: config["linux"]["namespaces"].append({"type": kind, **more})


def seccomp(**more: Any) -> Change:
    return put("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", **more})


def call(**more: Any) -> Change:
    return seccomp(syscalls=[{"names": ["mkdirat"], "action": "SCMP_ACT_ERRNO", **more}])


def several(*changes: Change) -> Change:
    return lambda config: [change(config) for change in changes]


def hook(stage: str) -> Change:
    return put(f"hooks.{stage}", [{"path": "/bin/true" if stage != "startContainer" else "/bin/busybox"}])


AT_MOUNT = "mounts[7]"
CASES = (
    both("nothing", lambda _: None),
    both("prestart", hook("prestart")),
    *(both(stage, hook(stage)) for stage in ("createRuntime", "createContainer", "startContainer")),
    both("poststart", hook("poststart")),
    both("poststop", hook("poststop")),
    both("read-only tmpfs", mounted("ro", "nosuid")),
    both("recursive read-only bind", mounted("rbind", "rro", kind="bind")),
    both("size of a tmpfs", mounted("size=1m", "mode=700")),
    both("tmpcopyup", mounted("tmpcopyup")),
    Case("nosymfollow", mounted("bind", "nosymfollow", kind="bind"), (), (f"BUNDLE-005 {AT_MOUNT}.options[1]",)),
    both("unknown mount option", mounted("bind", "nonsense", kind="bind"), f"BUNDLE-005 {AT_MOUNT}.options[1]"),
    both(
        "option idmap",
        mounted("bind", "idmap", kind="bind"),
        f"BUNDLE-005 {AT_MOUNT}.options[1]",
        not_here="there is no user namespace whose ids it could map",
    ),
    Case(
        "idmapped mount",
        mounted("bind", kind="bind", uidMappings=IDS, gidMappings=IDS),
        tuple(f"BUNDLE-004 {AT_MOUNT}.{key}Mappings" for key in ("uid", "gid")),
        (),
    ),
    both("time namespace", namespace("time"), "BUNDLE-005 linux.namespaces[6].type"),
    Case(
        "time offsets",
        several(namespace("time"), put("linux.timeOffsets", {"boottime": {"secs": 5}})),
        ("BUNDLE-005 linux.namespaces[6].type", "BUNDLE-004 linux.timeOffsets"),
        ("BUNDLE-005 linux.namespaces[6].type",),
    ),
    both("capability", lambda config: config["process"]["capabilities"]["bounding"].append("CAP_CHOWN")),
    both(
        "unknown capability",
        lambda config: config["process"]["capabilities"]["bounding"].append("CAP_NONSENSE"),
        "BUNDLE-005 process.capabilities.bounding[3]",
    ),
    both("seccomp", call()),
    both("seccomp on an architecture", seccomp(architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"])),
    Case(
        "seccomp on another architecture",
        seccomp(architectures=["SCMP_ARCH_RISCV64"]),
        ("BUNDLE-005 linux.seccomp.architectures[0]",),
        (),
    ),
    both(
        "seccomp on an architecture that neither has",
        seccomp(architectures=["SCMP_ARCH_LOONGARCH64"]),
        "BUNDLE-005 linux.seccomp.architectures[0]",
    ),
    Case("seccomp flag", seccomp(flags=["SECCOMP_FILTER_FLAG_LOG"]), ("BUNDLE-006 linux.seccomp.flags[0]",), ()),
    both("seccomp operator", call(args=[{"index": 0, "value": 9, "op": "SCMP_CMP_EQ"}])),
    Case(
        "seccomp error number",
        call(errnoRet=2),
        ("BUNDLE-004 linux.seccomp.syscalls[0].errnoRet",),
        (),
    ),
    both("AppArmor", put("process.apparmorProfile", "x"), not_here="the kernel has no AppArmor"),
    both("SELinux label", put("process.selinuxLabel", "a:b:c:s0"), not_here="the kernel has no SELinux"),
    both("label of mounts", put("linux.mountLabel", "a:b:c:s0"), not_here="the kernel has no SELinux"),
    Case(
        "resctrl",
        put("linux.intelRdt", {"closID": "x"}),
        ("BUNDLE-006 linux.intelRdt",),
        ("BUNDLE-006 linux.intelRdt",),
        not_here="the processor has no resctrl",
    ),
    both(
        "network device",
        put("linux.netDevices", {"nothing0": {}}),
        "BUNDLE-004 linux.netDevices",
        not_here="there is no such device",
    ),
    both("memory policy", put("linux.memoryPolicy", {"mode": "MPOL_DEFAULT"}), "BUNDLE-004 linux.memoryPolicy"),
    both("limit of memory", put("linux.resources.memory", {"limit": 100_000_000})),
    both("limit of processes", put("linux.resources.pids", {"limit": 100})),
    both("shares of processors", put("linux.resources.cpu", {"shares": 512})),
    Case("idle group", put("linux.resources.cpu", {"idle": 0}), ("BUNDLE-004 linux.resources.cpu.idle",), ()),
    Case(
        "unified cgroups",
        put("linux.resources.unified", {"memory.high": "max"}),
        (),
        (),
        not_here="the cgroups are of version 1",
    ),
    both(
        "RDMA",
        put("linux.resources.rdma", {"mlx5_0": {"hcaHandles": 1}}),
        "BUNDLE-006 linux.resources.rdma",
        not_here="there is no RDMA device",
    ),
    Case("domain name", put("domainname", "example.org"), ("BUNDLE-004 domainname",), ()),
    both("umask", put("process.user.umask", 63)),
    both("further groups", put("process.user.additionalGids", [29, 44])),
    both("OOM score", put("process.oomScoreAdj", 100)),
    Case(
        "priority of I/O",
        put("process.ioPriority", {"class": "IOPRIO_CLASS_BE", "priority": 4}),
        ("BUNDLE-004 process.ioPriority",),
        ("BUNDLE-009 process.ioPriority",),
    ),
    Case(
        "scheduler",
        put("process.scheduler", {"policy": "SCHED_BATCH"}),
        ("BUNDLE-004 process.scheduler",),
        ("BUNDLE-009 process.scheduler",),
    ),
    both(
        "affinity of exec",
        put("process.execCPUAffinity", {"initial": "0"}),
        "BUNDLE-004 process.execCPUAffinity",
    ),
    both("limits", put("process.rlimits", [{"type": "RLIMIT_CORE", "hard": 0, "soft": 0}])),
    Case("personality", put("linux.personality", {"domain": "LINUX32"}), ("BUNDLE-009 linux.personality",), ()),
    both("sysctl", put("linux.sysctl", {"net.ipv4.ip_unprivileged_port_start": "80"})),
    both("device", put("linux.devices", [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}])),
    both("propagation", put("linux.rootfsPropagation", "private")),
    both("read-only root", put("root.readonly", True)),
    both("cgroup", put("linux.cgroupsPath", f"/runtimeimg-test-{os.getpid()}")),
    both("annotation that is acted upon", put("annotations", {"run.oci.x": "1"}), "BUNDLE-010 annotations[run.oci.x]"),
    both(
        "tmpfs over /proc",
        lambda config: config["mounts"].append({"destination": "/proc/", "type": "tmpfs", "source": "tmpfs"}),
        "BUNDLE-016 mounts[7].destination",
    ),
    both("unknown field", put("nonsense", {"a": 1}), "BUNDLE-002 nonsense"),
    both("misspelt field", put("process.noNewPriviliges", True), "BUNDLE-002 process.noNewPriviliges"),
    both("version of the future", put("ociVersion", "1.3.0"), "BUNDLE-003 ociVersion"),
    both("version of the past", put("ociVersion", "0.9.0"), "BUNDLE-003 ociVersion"),
    both("wrong type", put("process.args", "sh"), "BUNDLE-001 process.args"),
)


@pytest.fixture(scope="module")
def plain() -> Iterator[Path]:
    """A folder with one bundle, whose rootfs all others have too."""
    with place() as made:
        write(busybox(Entrypoint=["/bin/sh", "-c"], Cmd=["echo ok"]), made / "plain", BundleOptions(hostname="h"))
        yield made


def made_of(plain: Path, case: Case, number: int) -> Path:
    config = json.loads((plain / "plain" / "config.json").read_text())
    config = copy.deepcopy(config)
    config["root"]["path"] = str(plain / "plain" / "rootfs")
    config["ociVersion"] = "1.0.2"
    case.change(config)
    folder = plain / f"case-{number}"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def judged(folder: Path, runtime: Runtime) -> tuple[str, ...]:
    _, found = check.check_folder(folder, runtime)
    return tuple(f"{item.rule.id} {item.where.inside}" for item in found if item.rule.severity > Severity.INFO)


@pytest.mark.mounts
@pytest.mark.parametrize("name", [pytest.param(name, marks=getattr(pytest.mark, name)) for name in DEBIANS])
@pytest.mark.parametrize(("number", "case"), [*enumerate(CASES)], ids=[case.name for case in CASES])
def test_a_feature(plain: Path, name: str, number: int, case: Case) -> None:
    needs_namespaces()
    runtime = features.ask(name, {"PATH": os.environ["PATH"]})
    folder = made_of(plain, case, number)
    found = judged(folder, runtime)
    if runtime.version.startswith(DEBIANS[name]):
        assert sorted(found) == sorted(getattr(case, name))
    if not found and not case.not_here:
        ended = Starter(name).run(folder)
        assert (ended.code, ended.out) == (0, case.out), ended.err


def test_there_are_enough_of_them() -> None:
    assert len(CASES) > 50
    assert sum(bool(case.runc) for case in CASES) >= 20
    assert sum(not case.crun and not case.not_here for case in CASES) >= 25
