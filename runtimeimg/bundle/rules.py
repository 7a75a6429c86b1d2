"""What `bundle check` looks for, as data; docs/findings.md is made from it."""

from __future__ import annotations

from runtimeimg.findings import Rule, Severity

_CONFIG = "OCI runtime-spec, config.md"
_LINUX = "OCI runtime-spec, config-linux.md"
_FEATURES = "OCI runtime-spec, features.md"

SCHEMA = Rule(
    id="BUNDLE-001",
    title="Every field of config.json is of the type that the specification gives it",
    severity=Severity.ERROR,
    explanation="Fields that are missing, of a wrong type or out of bounds stop a runtime, or mean something else to "
    "it than they say.",
    bad='"process": {"args": "sh"}',
    good='"process": {"args": ["sh"], "cwd": "/"}',
    source=_CONFIG,
)
UNKNOWN = Rule(
    id="BUNDLE-002",
    title="Every field of config.json is one that the specification knows",
    severity=Severity.ERROR,
    explanation="Runtimes pass over fields that they do not know without a word: what was meant by it does not happen.",
    bad='"process": {"noNewPriviliges": true}',
    good='"process": {"noNewPrivileges": true}',
    source=f"{_CONFIG}, Extensibility",
)
VERSION = Rule(
    id="BUNDLE-003",
    title="The ociVersion is one that the runtime takes",
    severity=Severity.ERROR,
    explanation="A runtime says the oldest and newest version of the specification that it recognises. Some refuse a "
    "bundle of another version, others read it as if it were of theirs.",
    bad='"ociVersion": "1.3.0", and a runtime with "ociVersionMax": "1.0.2-dev"',
    good='"ociVersion": "1.0.2-dev"',
    source=f"{_FEATURES}, Specification version",
)
NEWER = Rule(
    id="BUNDLE-004",
    title="No field is newer than the newest version that the runtime recognises",
    severity=Severity.ERROR,
    explanation="The version is the only entry of a runtime's features that vouches for most fields. One that came "
    "later is unknown to the runtime, as far as it says, and passed over without a word.",
    bad='"domainname": "example.org", and a runtime with "ociVersionMax": "1.0.2-dev"',
    good="no domainname, or a runtime that recognises version 1.1.0",
    source=f"{_FEATURES}, Specification version",
)
DENIED = Rule(
    id="BUNDLE-005",
    title="The runtime has what a field asks for",
    severity=Severity.ERROR,
    explanation="Features list the hooks, mount options, namespaces, capabilities, actions of seccomp and so on that a "
    "runtime recognises. A name that is not in such a list stops the runtime, or is passed over.",
    bad='{"type": "time"} among the namespaces, and a runtime whose "namespaces" have no "time"',
    good="a runtime that lists it, or a config.json without it",
    source=_FEATURES,
)
UNSAID = Rule(
    id="BUNDLE-006",
    title="The runtime says whether it has what a field asks for",
    severity=Severity.WARNING,
    explanation="An entry of the features that is null or not there means that the runtime does not say; that is "
    "neither yes nor no, and not the empty list. Nothing vouches for the field then.",
    bad='"uidMappings" of a mount, and a runtime without "mountExtensions"',
    good='a runtime that says "mountExtensions": {"idmap": {"enabled": true}}',
    source=f"{_FEATURES}; null is not an empty value",
)
SILENT = Rule(
    id="BUNDLE-007",
    title="The runtime can tell its features",
    severity=Severity.WARNING,
    explanation="A runtime without the command `features` vouches for nothing. Nor is anything on record of this "
    "version, so that trying it out is what is left.",
    bad="crun 1.7",
    good="runc 1.1 or newer, a crun that has the command",
    source=_FEATURES,
)
RECORDED = Rule(
    id="BUNDLE-008",
    title="What the runtime can is told by itself, not by our record of it",
    severity=Severity.INFO,
    explanation="This version cannot tell its features. What is judged by was tried out with it once, on one "
    "machine, by those who wrote this rule; the runtime itself vouches for none of it.",
    bad="crun 1.8.1",
    good="a newer crun, which has the command `features`",
    source=_FEATURES,
)
PASSED_OVER = Rule(
    id="BUNDLE-009",
    title="No field is one that this version is known to pass over",
    severity=Severity.ERROR,
    explanation="The field is of a version of the specification that the runtime says it recognises, and has no "
    "entry in its features. Yet it was tried out that this version of the runtime passes over it without a word.",
    bad='"personality": {"domain": "LINUX32"} with runc 1.1',
    good="runc 1.2 or newer, or crun",
    source="tried out; docs/bundles.md",
)
UNSAFE = Rule(
    id="BUNDLE-010",
    title="No annotation is one that the runtime acts upon",
    severity=Severity.WARNING,
    explanation="Runtimes read some annotations as settings, also dangerous ones. The labels of an image become "
    "annotations, so that its author may have set them.",
    bad='"annotations": {"org.systemd.property.TasksMax": "uint32 9"}',
    good="such a setting made by whoever runs the bundle, with --allow annotations or --set",
    source=f"{_FEATURES}, Unsafe annotations",
)
LINK = Rule(
    id="BUNDLE-011",
    title="What is mounted, masked or made read-only is no link in the rootfs",
    severity=Severity.ERROR,
    explanation="A runtime that follows such a link works on what it leads to, which the image's author chose. Several "
    "holes of runtimes were of this kind.",
    bad="/dev in the rootfs is a link to /somewhere",
    good="a directory, or nothing: the runtime makes it",
    source="CVE-2025-31133, CVE-2025-52565, CVE-2026-41579",
)
WORKDIR = Rule(
    id="BUNDLE-012",
    title="The working directory is not below /proc",
    severity=Severity.ERROR,
    explanation="A working directory below /proc/self/fd may be one of the host's that the runtime has open.",
    bad='"cwd": "/proc/self/fd/7"',
    good='"cwd": "/app"',
    source="CVE-2024-21626",
)
ROOTFS = Rule(
    id="BUNDLE-013",
    title="The rootfs is where config.json says",
    severity=Severity.ERROR,
    explanation="root.path is a directory, by an absolute path or one from the folder of the bundle.",
    bad='"root": {"path": "rootfs"} in a folder without rootfs',
    good="the two beside each other, as `bundle IMAGE DIR` writes them",
    source="OCI runtime-spec, bundle.md",
)
DEPRECATED = Rule(
    id="BUNDLE-014",
    title="No hook is of the deprecated stage prestart where the runtime has createRuntime",
    severity=Severity.INFO,
    explanation="The two are called in the same moment; prestart may go.",
    bad='"hooks": {"prestart": [...]}',
    good='"hooks": {"createRuntime": [...]}',
    source=f"{_CONFIG}, Prestart",
)
SETUID = Rule(
    id="BUNDLE-015",
    title="A rootless bundle has no setuid files",
    severity=Severity.ERROR,
    explanation="All files of a rootless bundle belong to the user who made it. Whoever else reaches a setuid one "
    "among them runs it as that user; within the container it is root's.",
    bad="-rwsr-xr-x /bin/su in a bundle with uidMappings",
    good="the bundle in a folder that nobody else enters (0700), as `bundle IMAGE DIR --allow setuid` makes it",
    source=f"{_LINUX}, User namespace mappings",
)
PROC = Rule(
    id="BUNDLE-016",
    title="Nothing but proc is mounted at /proc, and nothing below it",
    severity=Severity.ERROR,
    explanation="Runtimes apply profiles and mask files through /proc. What is mounted over it can make that come to "
    "nothing; newer runtimes refuse to start then.",
    bad='{"destination": "/proc", "type": "tmpfs", "source": "tmpfs"}',
    good='{"destination": "/proc", "type": "proc", "source": "proc"}',
    source="CVE-2019-16884, CVE-2023-27561",
)
RULES = (
    SCHEMA,
    UNKNOWN,
    VERSION,
    NEWER,
    DENIED,
    UNSAID,
    SILENT,
    RECORDED,
    PASSED_OVER,
    UNSAFE,
    LINK,
    WORKDIR,
    ROOTFS,
    DEPRECATED,
    SETUID,
    PROC,
)
