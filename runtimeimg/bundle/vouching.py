"""Every field of a config.json led back to the entry of a runtime's features that vouches for it.

Which entry that is, is data: the table in docs/bundles.md is made of it. Where no entry is for a field alone, it is the
versions of the specification that vouch for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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

    With `names` a text must be in its list, or of an object the keys; otherwise it must be true. One that is `further`
    narrows another one down, so that nothing is said where it says nothing.
    """

    fields: tuple[str, ...]
    entry: str
    names: bool = False
    what: str = ""
    further: bool = False


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
    Entry(
        fields=("linux.seccomp.flags[]",),
        entry="linux.seccomp.supportedFlags",
        names=True,
        what="support for the flag of seccomp",
        further=True,
    ),
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
    "sysfs": (),
    "mqueue": (),
    "cgroup": ("all", "none", "name", "xattr", "noprefix", "release_agent"),
    "cgroup2": ("nsdelegate", "favordynmods", "memory_localevents", "memory_recursiveprot"),
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
_PLAIN = frozenset({"", "none", "bind", "rbind"})
"""Types of mounts that are of no file system of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unvouched:
    """A field that nothing vouches for: by which rule, what of it, and what is to be done."""

    rule: Rule
    path: str
    message: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an entry of the features says of a field: yes, no, or nothing (None)."""

    path: str
    entry: str
    what: str
    said: bool | None


def unvouched(config: Mapping[str, Any], runtime: Runtime) -> Iterator[Unvouched]:
    """Yield what of a config.json the features of a runtime do not vouch for; they must be known.

    An entry that is for a field alone decides over the version that brought the field.
    """
    features = runtime.features
    if features is None:
        return
    title = runtime.title
    yield from _version(config, features, title)
    told = list(answers(config, features))
    decided = {item.path for item in told if item.said is not None}
    decided |= {path.rpartition(".")[0] for path in decided}  # and the object that it is all about
    newer = {field.path: _newer(field, since, features, title) for field, since in versions.newer(config)}
    lacking = {path: found for path, found in newer.items() if found is not None and path not in decided}
    yield from lacking.values()
    yield from _denied(told, title)
    yield from _unsaid([item for item in told if not _is_in(item.path, lacking)], title)
    yield from _foreign(config, features, title)
    passed = records.passed_over(runtime.name, runtime.version)
    for field in fields(config):
        if field.pattern in passed:
            yield Unvouched(
                rule=PASSED_OVER, path=field.path, message=f"{title} is known to pass over '{field.pattern}'"
            )
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


def _newer(field: Field, since: str, features: Features, title: str) -> Unvouched | None:
    """Return what there is to say of a field if it came after the newest version that is recognised."""
    if ordered(since)[0] <= ordered(features.most)[0]:
        return None
    what = f"'{field.value}'" if isinstance(field.value, str) and field.pattern not in versions.SINCE else "it"
    return Unvouched(
        rule=NEWER,
        path=field.path,
        message=f"{what} came with version {since} of the specification; the newest that {title} recognises is "
        f"'{features.most}'",
        fix=f"leave it out, or take a runtime that recognises {since}",
    )


def answers(config: Mapping[str, Any], features: Features) -> Iterator[Answer]:
    """Yield what entries that are for certain fields say of those that are there."""
    for field in fields(config):
        for item in ENTRIES:
            if any(_matches(field.pattern, pattern) for pattern in item.fields):
                found = _entry(field, item, features)
                yield from (answer for answer in found if answer.said is not None or not item.further)
        if field.pattern == "mounts[]" and isinstance(field.value, Mapping):
            yield from _options(field, features)
    path = at(config, "linux.cgroupsPath")
    if isinstance(path, str) and path.count(":") == 2:  # slice:prefix:name is systemd's form
        said = features.flag(SYSTEMD)
        yield Answer(path="linux.cgroupsPath", entry=SYSTEMD, what="paths of systemd's form", said=said)


def _entry(field: Field, item: Entry, features: Features) -> Iterator[Answer]:
    if not item.names:
        yield Answer(path=field.path, entry=item.entry, what="it", said=features.flag(item.entry))
        return
    known = features.names(item.entry)
    keys = isinstance(field.value, Mapping)
    for name in filter(_is_text, field.value if keys else [field.value]):  # another type is a finding by itself
        yield Answer(
            path=f"{field.path}.{name}" if keys else field.path,
            entry=item.entry,
            what=f"{item.what} '{name}'",
            said=None if known is None else name in known,
        )


def _options(field: Field, features: Features) -> Iterator[Answer]:
    """Yield the options of a mount, but those that are its file system's own, or may be."""
    kind = str(field.value.get("type", ""))
    known = features.names(MOUNT_OPTIONS)
    for number, option in _texts(field.value):
        own = kind not in _PLAIN and (kind not in DATA_OPTIONS or option.partition("=")[0] in DATA_OPTIONS[kind])
        if own and not (known and option in known):
            continue
        said = None if known is None else option in known
        path = f"{field.path}.options[{number}]"
        yield Answer(path=path, entry=MOUNT_OPTIONS, what=f"mount option '{option}'", said=said)


def _prestart(config: Mapping[str, Any], features: Features, title: str) -> Iterator[Unvouched]:
    hooks, known = config.get("hooks"), features.names("hooks")
    if isinstance(hooks, Mapping) and hooks.get("prestart") and known is not None and "createRuntime" in known:
        yield Unvouched(
            rule=DEPRECATED,
            path="hooks.prestart",
            message=f"it is deprecated, and {title} has createRuntime, which is called in the same moment",
            fix="name the stage createRuntime",
        )


def _denied(answers: Iterable[Answer], title: str) -> Iterator[Unvouched]:
    for item in answers:
        if item.said is False:
            yield Unvouched(
                rule=DENIED,
                path=item.path,
                message=f"{title} does not have {item.what}, by '{item.entry}' of its features",
                fix="leave it out, or take a runtime that has it",
            )


def _unsaid(answers: Iterable[Answer], title: str) -> Iterator[Unvouched]:
    """Yield for each entry that does not say all the fields that it would have to vouch for, as one."""
    silent: dict[str, list[Answer]] = {}
    for item in answers:
        if item.said is None:
            silent.setdefault(item.entry, []).append(item)
    for entry, items in silent.items():
        names = ", ".join(dict.fromkeys(item.what for item in items))
        more = f" (and {len(items) - 1} more places)" if len(items) > 1 else ""
        yield Unvouched(
            rule=UNSAID,
            path=items[0].path,
            message=f"{title} does not say whether it has {names}{more}: '{entry}' of its features is null or "
            "not there",
            fix="try it out, or take a runtime that says so",
        )


def _foreign(config: Mapping[str, Any], features: Features, title: str) -> Iterator[Unvouched]:
    """Yield options that are in no list, of file systems whose own options nobody knows here."""
    known = features.names(MOUNT_OPTIONS)
    for field in fields(config):
        if field.pattern != "mounts[]" or not isinstance(field.value, Mapping):
            continue
        kind = str(field.value.get("type", ""))
        for number, option in _texts(field.value) if kind not in _PLAIN and kind not in DATA_OPTIONS else ():
            if known is None or option not in known:
                yield Unvouched(
                    rule=UNSAID,
                    path=f"{field.path}.options[{number}]",
                    message=f"'{option}' is not among '{MOUNT_OPTIONS}' of {title}; it may be an option of '{kind}' "
                    "itself, which no runtime lists",
                    fix="try it out",
                )


def _texts(mount: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    options = mount.get("options")
    yield from (
        (number, option)
        for number, option in enumerate(options if isinstance(options, list) else ())
        if _is_text(option)
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_in(path: str, others: Iterable[str]) -> bool:
    return any(path == other or path.startswith(f"{other}.") for other in others)


def _matches(pattern: str, wanted: str) -> bool:
    """Tell whether a path is one that an entry is for; `*` stands for any one key."""
    if "*" not in wanted:
        return pattern == wanted
    before, _, behind = wanted.partition("*")
    middle = pattern[len(before) : len(pattern) - len(behind)]
    return pattern.startswith(before) and pattern.endswith(behind) and bool(middle) and "." not in middle
