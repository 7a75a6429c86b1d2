"""Every field of a config.json led back to the entry of a runtime's features that vouches for it.

Which entry that is, is data: the table in docs/bundles.md is made of it. Where no entry is for a field alone, it is the
versions of the specification that vouch for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runtimeimg.bundle import records, versions
from runtimeimg.bundle.features import Features, Runtime, ordered, version
from runtimeimg.bundle.paths import Field, at, fields
from runtimeimg.bundle.rules import DENIED, DEPRECATED, NEWER, PASSED_OVER, UNSAID, VERSION
from runtimeimg.findings import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry of the features: the fields that it vouches for, what it is called, and whether it lists names.

    With `names` a text must be in its list, or of an object the keys; otherwise it must be true.
    """

    fields: tuple[str, ...]
    entry: str
    names: bool = False
    what: str = ""


ENTRIES = (
    Entry(fields=("hooks",), entry="hooks", names=True, what="hook"),
    Entry(fields=("linux.namespaces[].type",), entry="linux.namespaces", names=True, what="namespace"),
    Entry(fields=("process.capabilities.*[]",), entry="linux.capabilities", names=True, what="capability"),
    Entry(fields=("linux.seccomp",), entry="linux.seccomp.enabled"),
    Entry(
        fields=("linux.seccomp.defaultAction", "linux.seccomp.syscalls[].action"),
        entry="linux.seccomp.actions",
        names=True,
        what="action of seccomp",
    ),
    Entry(
        fields=("linux.seccomp.syscalls[].args[].op",),
        entry="linux.seccomp.operators",
        names=True,
        what="operator of seccomp",
    ),
    Entry(
        fields=("linux.seccomp.architectures[]",),
        entry="linux.seccomp.archs",
        names=True,
        what="architecture of seccomp",
    ),
    Entry(fields=("linux.seccomp.flags[]",), entry="linux.seccomp.knownFlags", names=True, what="flag of seccomp"),
    Entry(fields=("process.apparmorProfile",), entry="linux.apparmor.enabled"),
    Entry(fields=("process.selinuxLabel", "linux.mountLabel"), entry="linux.selinux.enabled"),
    Entry(fields=("linux.intelRdt",), entry="linux.intelRdt.enabled"),
    Entry(fields=("linux.intelRdt.schemata",), entry="linux.intelRdt.schemata"),
    Entry(fields=("linux.intelRdt.enableMonitoring",), entry="linux.intelRdt.monitoring"),
    Entry(fields=("mounts[].uidMappings", "mounts[].gidMappings"), entry="linux.mountExtensions.idmap.enabled"),
    Entry(fields=("linux.netDevices",), entry="linux.netDevices.enabled"),
    Entry(
        fields=("linux.memoryPolicy.mode",),
        entry="linux.memoryPolicy.modes",
        names=True,
        what="mode of memory policies",
    ),
    Entry(
        fields=("linux.memoryPolicy.flags[]",),
        entry="linux.memoryPolicy.flags",
        names=True,
        what="flag of memory policies",
    ),
    Entry(fields=("linux.resources.unified",), entry="linux.cgroup.v2"),
    Entry(fields=("linux.resources.rdma",), entry="linux.cgroup.rdma"),
)
MOUNT_OPTIONS = "mountOptions"
SYSTEMD = "linux.cgroup.systemd"
DATA_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "tmpfs": ("mode", "size", "uid", "gid", "nr_inodes", "nr_blocks", "huge", "mpol"),
    "devpts": ("mode", "gid", "uid", "ptmxmode", "newinstance", "max"),
    "proc": ("hidepid", "subset", "gid"),
    "overlay": (
        "lowerdir",
        "upperdir",
        "workdir",
        "index",
        "xino",
        "metacopy",
        "redirect_dir",
        "userxattr",
        "volatile",
    ),
}
"""Options that are the file system's own, which no runtime lists (features.md, "Mount Options"), by type of mount."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unvouched:
    """A field that nothing vouches for: by which rule, what of it, and what is to be done."""

    rule: Rule
    path: str
    message: str
    fix: str = ""


def unvouched(config: Mapping[str, Any], runtime: Runtime) -> Iterator[Unvouched]:
    """Yield what of a config.json the features of a runtime do not vouch for; they must be known."""
    features = runtime.features
    if features is None:
        return
    title = runtime.title
    yield from _version(config, features, title)
    yield from _newer(config, features, title)
    passed = records.passed_over(runtime.name, runtime.version)
    for field in fields(config):
        yield from _entries(field, features, title)
        yield from _mount(field, features, title)
        if field.pattern in passed:
            yield Unvouched(
                rule=PASSED_OVER, path=field.path, message=f"{title} is known to pass over '{field.pattern}'"
            )
    yield from _cgroup(config, features, title)
    yield from _prestart(config, features, title)


def _version(config: Mapping[str, Any], features: Features, title: str) -> Iterator[Unvouched]:
    """Yield the version if it is not one that is taken; one before a release (`1.0.2-dev`) counts as that release."""
    said = str(config.get("ociVersion", ""))
    recognised = ordered(features.least) <= ordered(said) and ordered(said)[0] <= ordered(features.most)[0]
    if version(said) is None or recognised:
        return
    yield Unvouched(
        rule=VERSION,
        path="ociVersion",
        message=f"it is '{said}', and {title} recognises '{features.least}' to '{features.most}'",
        fix=f"write the bundle for it: --runtime, or --set ociVersion={features.most}",
    )


def _newer(config: Mapping[str, Any], features: Features, title: str) -> Iterator[Unvouched]:
    """Yield the fields that came after the newest version."""
    known = ordered(features.most)[0]
    for field, since in versions.newer(config):
        if ordered(since)[0] > known:
            what = f"'{field.value}'" if isinstance(field.value, str) and field.pattern not in versions.SINCE else "it"
            yield Unvouched(
                rule=NEWER,
                path=field.path,
                message=f"{what} came with version {since} of the specification; the newest that {title} recognises is "
                f"'{features.most}'",
                fix=f"leave it out, or take a runtime that recognises {since}",
            )


def _entries(field: Field, features: Features, title: str) -> Iterator[Unvouched]:
    for item in ENTRIES:
        if not any(_matches(field.pattern, pattern) for pattern in item.fields):
            continue
        if not item.names:
            yield from _judged(field.path, item.entry, features.flag(item.entry), title, "it")
            continue
        wanted = field.value if isinstance(field.value, Mapping) else [field.value]
        known = features.names(item.entry)
        for name in wanted:
            path = f"{field.path}.{name}" if isinstance(field.value, Mapping) else field.path
            yield from _judged(
                path, item.entry, None if known is None else name in known, title, f"{item.what} '{name}'"
            )


def _mount(field: Field, features: Features, title: str) -> Iterator[Unvouched]:
    """Yield the options of a mount that the runtime does not list, but those that are its file system's own."""
    if field.pattern != "mounts[]" or not isinstance(field.value, Mapping):
        return
    options = field.value.get("options")
    own = DATA_OPTIONS.get(str(field.value.get("type")), ())
    known = features.names(MOUNT_OPTIONS)
    for number, option in enumerate(options if isinstance(options, list) else ()):
        if str(option).partition("=")[0] in own and not (known and option in known):
            continue
        path = f"{field.path}.options[{number}]"
        yield from _judged(
            path, MOUNT_OPTIONS, None if known is None else option in known, title, f"mount option '{option}'"
        )


def _cgroup(config: Mapping[str, Any], features: Features, title: str) -> Iterator[Unvouched]:
    path = at(config, "linux.cgroupsPath")
    if isinstance(path, str) and path.count(":") == 2:  # slice:prefix:name is systemd's form
        yield from _judged("linux.cgroupsPath", SYSTEMD, features.flag(SYSTEMD), title, "a path of systemd's form")


def _prestart(config: Mapping[str, Any], features: Features, title: str) -> Iterator[Unvouched]:
    hooks, known = config.get("hooks"), features.names("hooks")
    if isinstance(hooks, Mapping) and hooks.get("prestart") and known is not None and "createRuntime" in known:
        yield Unvouched(
            rule=DEPRECATED,
            path="hooks.prestart",
            message=f"it is deprecated, and {title} has createRuntime, which is called in the same moment",
            fix="name the stage createRuntime",
        )


def _judged(path: str, entry: str, answer: bool | None, title: str, what: str) -> Iterator[Unvouched]:
    if answer is None:
        yield Unvouched(
            rule=UNSAID,
            path=path,
            message=f"{title} does not say whether it has {what}: '{entry}' of its features is null or missing",
            fix="try it out, or take a runtime that says so",
        )
    elif not answer:
        yield Unvouched(
            rule=DENIED,
            path=path,
            message=f"{title} does not have {what}, by '{entry}' of its features",
            fix="leave it out, or take a runtime that has it",
        )


def _matches(pattern: str, wanted: str) -> bool:
    """Tell whether a path is one that an entry is for; `*` stands for any one key."""
    if "*" not in wanted:
        return pattern == wanted
    before, _, behind = wanted.partition("*")
    middle = pattern[len(before) : len(pattern) - len(behind)]
    return pattern.startswith(before) and pattern.endswith(behind) and bool(middle) and "." not in middle
