"""What a runtime says of itself (runtime-spec, features.md), and what is known of those that cannot.

null, or nothing at all, is not the empty list: the first two mean that the runtime does not say, the last that it has
none of the kind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtimeimg import process
from runtimeimg.errors import InvalidDocumentError, RuntimeimgError, UnavailableError
from runtimeimg.oci.documents import load_json

TIMEOUT, MAX_SAID = 30.0, 1 << 20
"""Seconds and bytes that a runtime may take to say something."""

_VERSION = re.compile(r"\bversion\s+v?([0-9][0-9A-Za-z.+~-]{0,60})")
_NUMBER = re.compile(
    r"([0-9]{1,6})\.([0-9]{1,6})(?:\.([0-9]{1,6}))?(-[0-9A-Za-z.-]{1,60})?(?:\+[0-9A-Za-z.-]{1,60})?\Z"
)
_LISTS = (
    "hooks",
    "mountOptions",
    "potentiallyUnsafeConfigAnnotations",
    "linux.namespaces",
    "linux.capabilities",
    "linux.seccomp.actions",
    "linux.seccomp.operators",
    "linux.seccomp.archs",
    "linux.seccomp.knownFlags",
    "linux.seccomp.supportedFlags",
)
_FLAGS = (
    "linux.cgroup.v1",
    "linux.cgroup.v2",
    "linux.cgroup.systemd",
    "linux.cgroup.systemdUser",
    "linux.cgroup.rdma",
    "linux.seccomp.enabled",
    "linux.apparmor.enabled",
    "linux.selinux.enabled",
    "linux.intelRdt.enabled",
    "linux.intelRdt.schemata",
    "linux.intelRdt.monitoring",
    "linux.mountExtensions.idmap.enabled",
    "linux.netDevices.enabled",
    "linux.memoryPolicy.modes",
    "linux.memoryPolicy.flags",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """A features document; `data` is the parsed object, its known fields being of the types that they should be."""

    data: Mapping[str, Any]

    @property
    def least(self) -> str:
        """The oldest version of the runtime specification that is taken."""
        return str(self.data["ociVersionMin"])

    @property
    def most(self) -> str:
        """The newest version of the runtime specification that is taken."""
        return str(self.data["ociVersionMax"])

    def names(self, path: str) -> frozenset[str] | None:
        """Return a list of names by its dotted path, None where the runtime does not say."""
        value = self._at(path)
        return None if value is None else frozenset(value)

    def flag(self, path: str) -> bool | None:
        """Return a truth by its dotted path, None where the runtime does not say."""
        value = self._at(path)
        return None if value is None else bool(value)

    def _at(self, path: str) -> Any:
        value: Any = self.data
        for key in path.split("."):
            if not isinstance(value, Mapping):
                return None
            value = value.get(key)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A runtime: its name and version, and its features, None where nobody knows them.

    `told` is whether the runtime said them itself; otherwise they are from our own records of that version.
    """

    name: str
    version: str = ""
    features: Features | None = None
    told: bool = True

    @property
    def title(self) -> str:
        """What the runtime is called in messages."""
        return f"{self.name} {self.version}".strip()


def parse(raw: bytes, what: str) -> Features:
    """Return the features that a document holds; InvalidDocumentError where it is none, naming `what` it should be."""
    data = load_json(raw, what)
    features = Features(data=data)
    for key in ("ociVersionMin", "ociVersionMax"):
        if not isinstance(data.get(key), str) or version(data[key]) is None:
            raise InvalidDocumentError(f"{what} says no {key} that is a version")
    if ordered(features.most) < ordered(features.least):
        raise InvalidDocumentError(f"{what} has an ociVersionMax {features.most!r} below its ociVersionMin")
    for path in _LISTS:
        _check(features, path, what, "a list of texts", _is_texts)
    for path in _FLAGS:
        if path.startswith("linux.memoryPolicy"):
            _check(features, path, what, "a list of texts", _is_texts)
        else:
            _check(features, path, what, "true or false", lambda value: isinstance(value, bool))
    return features


def read(path: Path) -> Runtime:
    """Return the runtime whose features document is at a path; its own annotations may say which one it is."""
    from runtimeimg.budgets import MAX_DOCUMENT
    from runtimeimg.hostfile import read_file

    features = parse(read_file(path, MAX_DOCUMENT, "features document"), f"features document '{path}'")
    return Runtime(name=path.name, features=features)


def ask(program: str, environ: Mapping[str, str]) -> Runtime:
    """Return what a runtime on PATH, or at a path, says of itself.

    One that cannot tell its features has those that are on record for its version, or none. UnavailableError where
    there is no such program.
    """
    from runtimeimg.bundle import records

    found = process.find(program, environ.get("PATH"))
    if found is None:
        raise UnavailableError(f"runtime '{program}' is not installed")
    name = Path(program).name
    said = _say((found, "--version"), environ) or b""
    match = _VERSION.search(said[:4096].decode("utf-8", "replace"))
    number = match[1] if match else ""
    document = _say((found, "features"), environ)
    if document is not None:
        return Runtime(name=name, version=number, features=parse(document, f"features of '{name}'"))
    return Runtime(name=name, version=number, features=records.of(name, number), told=False)


def version(text: str) -> tuple[int, int, int, str] | None:
    """Return a version of the runtime specification in its parts (Semantic Versioning 2.0.0), None for another text."""
    match = _NUMBER.match(text)
    return (int(match[1]), int(match[2]), int(match[3] or 0), (match[4] or "")[1:]) if match else None


def ordered(text: str) -> tuple[tuple[int, int, int], bool, tuple[tuple[int, str], ...]]:
    """Return a key by which versions are in their order: one before a release comes before that."""
    major, minor, patch, before = version(text) or (0, 0, 0, "")
    parts = (
        tuple((int(part), "") if part.isdigit() else (1 << 32, part) for part in before.split(".")) if before else ()
    )
    return ((major, minor, patch), not before, parts)


def _say(argv: tuple[str, ...], environ: Mapping[str, str]) -> bytes | None:
    """Return what a program writes, None where it fails."""
    try:
        code, said, _ = process.answer(argv, env=environ, timeout=TIMEOUT, limit=MAX_SAID)
    except UnavailableError:
        raise
    except RuntimeimgError:
        return None
    return None if code else said


def _check(features: Features, path: str, what: str, kind: str, fits: Any) -> None:
    parts = path.split(".")
    value: Any = features.data
    for at, key in enumerate(parts):
        if value is None:
            return
        if not isinstance(value, Mapping):
            raise InvalidDocumentError(f"{what}: {'.'.join(parts[:at])} is not an object")
        value = value.get(key)
    if value is not None and not fits(value):
        raise InvalidDocumentError(f"{what}: {path} is not {kind}")


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
