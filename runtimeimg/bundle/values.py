"""What a bundle is made of beside its image: what the caller decides, and what was made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from runtimeimg.bundle.paths import normal
from runtimeimg.errors import UsageError

if TYPE_CHECKING:
    from runtimeimg.bundle.features import Runtime
    from runtimeimg.bundle.settings import Setting
    from runtimeimg.unpack.root import Found

STAGES = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
"""When hooks are called (runtime-spec, config.md, "POSIX-platform Hooks")."""

ALLOWED = {
    "links": "mounts, masked and read-only paths whose place is a link in the rootfs",
    "workdir": "a working directory below /proc",
    "volumes": "volumes of the image at or below /dev, /proc or /sys",
    "annotations": "labels that the runtime acts upon",
    "setuid": "setuid and setgid files in a rootless bundle",
    "root-user": "a user without a number in the user namespace, who becomes its root",
}
"""What is refused unless it is allowed by this name."""

_MOUNT_KEYS = {"type": "kind", "source": "source", "src": "source"} | dict.fromkeys(
    ("destination", "dst", "target"), "destination"
)
_WORDS = {"readonly": "ro"}


class Files(Protocol):
    """The files of an image, unpacked or not; paths are gone through as within a chroot (see unpack.root.Root)."""

    def lookup(self, path: str | bytes, *, follow: bool = False) -> Found | None:
        """Tell what is at a path; a link that is its last component is only followed if asked."""

    def read(self, path: str | bytes, limit: int) -> bytes | None:
        """Return the bytes of a file of at most `limit` bytes, None where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A program that the runtime calls; `args` are those after its name, `timeout` is in seconds."""

    stage: str
    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    timeout: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the hook as config.json has it, where `args` begins with the program's name (execv(3))."""
        found: dict[str, Any] = {"path": self.path}
        if self.args:
            found["args"] = [self.path, *self.args]
        if self.env:
            found["env"] = list(self.env)
        if self.timeout is not None:
            found["timeout"] = self.timeout
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A mount (runtime-spec, config.md, "Mounts"); a source that is relative is so to the bundle's folder."""

    destination: str
    kind: str
    source: str
    options: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the mount that `type=T,source=S,destination=D,OPTION...` says; UsageError when it makes no sense.

        Without a type it is a bind mount where there is a source, else a tmpfs. Other words are mount options.
        """
        found: dict[str, str] = {}
        options: list[str] = []
        for word in text.split(","):
            key, equals, value = word.partition("=")
            if equals and key in _MOUNT_KEYS:
                if _MOUNT_KEYS[key] in found:
                    raise UsageError(f"mount {text!r} says twice what its {key} is")
                found[_MOUNT_KEYS[key]] = value
            elif word:
                options.append(_WORDS.get(word, word))
        destination = found.get("destination", "")
        if not destination.startswith("/") or normal(destination) == "/":
            raise UsageError(
                f"mount {text!r} has no absolute destination",
                hint="for example type=bind,source=/srv/data,destination=/data,ro",
            )
        kind = found.get("kind") or ("bind" if found.get("source") else "tmpfs")
        if kind == "bind":
            if not found.get("source"):
                raise UsageError(f"mount {text!r} has no source")
            if not {"bind", "rbind"} & set(options):
                options.insert(0, "rbind")
        return cls(
            destination=normal(destination),
            kind=kind,
            source=found.get("source") or kind,
            options=tuple(options),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the mount as config.json has it."""
        found: dict[str, Any] = {"destination": self.destination, "type": self.kind, "source": self.source}
        if self.options:
            found["options"] = list(self.options)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class IdRange:
    """`size` ids of a user namespace from `container`, which are those from `host` outside of it."""

    container: int
    host: int
    size: int

    def to_json(self) -> dict[str, int]:
        """Return the range as config.json has it."""
        return {"containerID": self.container, "hostID": self.host, "size": self.size}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rootless:
    """The user namespace of a bundle that a normal user starts."""

    uids: tuple[IdRange, ...]
    gids: tuple[IdRange, ...]

    def has_uid(self, uid: int) -> bool:
        """Tell whether the namespace has a user of this number."""
        return any(item.container <= uid < item.container + item.size for item in self.uids)

    def has_gid(self, gid: int) -> bool:
        """Tell whether the namespace has a group of this number."""
        return any(item.container <= gid < item.container + item.size for item in self.gids)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleOptions:
    """What the caller decides of a bundle.

    `argv` is the whole command where it is not to be the image's; otherwise `args`, when not None, take the place of
    the image's Cmd. `env` is added to the image's, a value of a name that it has taking that one's place. `mounts`
    take the place of those with the same destination. `readonly` None leaves it to the defaults. `network` is `own`
    for a network namespace with nothing but a loopback device, or `host`; None is host for a rootless bundle, else own.
    `terminal` None gives the process one where the image is a debug variant or `debug` is asked for, of `console`
    (height, width) characters. `allow` holds names of ALLOWED. `runtime` is what the bundle has to fit, None where that
    is not known. `name` is what the artefact is called, the image's own name by default.
    """

    config_only: bool = False
    rootless: Rootless | None = None
    debug: bool = False
    terminal: bool | None = None
    console: tuple[int, int] | None = None
    argv: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    hooks: tuple[Hook, ...] = ()
    readonly: bool | None = None
    hostname: str | None = None
    domainname: str | None = None
    network: Literal["own", "host"] | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[Setting, ...] = ()
    allow: frozenset[str] = frozenset()
    runtime: Runtime | None = None
    name: str | None = None

    @property
    def own_network(self) -> bool:
        """Whether there is a network namespace."""
        return self.network == "own" or (self.network is None and self.rootless is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle that was written: its folder, what its config.json says, its rootfs (None without one).

    `notes` are for people: what was left out, changed or added that they would not expect.
    """

    path: Path
    config: Mapping[str, Any]
    rootfs: Path | None
    notes: tuple[str, ...] = ()


_LABEL = re.compile(r"[^a-z0-9-]+")


def hostname_of(name: str) -> str:
    """Return a host name (RFC 1123) made of what an artefact is called: `registry/team/web:1` is `web`.

    A transport, folders, tag, digest and the ending of an archive do not count; empty where nothing is left.
    """
    last = name.partition("@")[0].rstrip("/").rpartition("/")[2]
    if ":" in last:
        head, _, tail = last.partition(":")
        last = tail.partition(":")[0] if head in _TRANSPORTS else head
    for ending in (".oci", ".tar", ".oci-archive"):
        last = last.removesuffix(ending)
    return _LABEL.sub("-", last.lower())[:63].strip("-")


_TRANSPORTS = {"docker", "docker-daemon", "oci", "oci-archive", "docker-archive"}
