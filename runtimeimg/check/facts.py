"""What the rules look at: an image's files, its config, and what is known of where it came from."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from runtimeimg.check.loader.objects import Objects
from runtimeimg.check.packages import Owners
from runtimeimg.compose.owners import GROUP, MAX_FILE, PASSWD, Names
from runtimeimg.compose.view import File, View
from runtimeimg.findings import Finding, Place, Rule, Severity
from runtimeimg.image import Image
from runtimeimg.plan import Copy

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What engines set where an image has no PATH."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a process is: user id and all its groups."""

    uid: int = 0
    groups: frozenset[int] = frozenset({0})


@dataclass(kw_only=True)
class Facts:
    """An image to be checked.

    `base_layers` is how many of its layers are the base's, None where nobody knows. `origin` is the image that it was
    copied from, `open_builder` merges that one's files. `levels` are the names of glibc-hwcaps that a host of the
    image's platform has. `copies` are those that the image was made by, where its plan is known, and `copied_from` the
    name under which they call the image that most of them read.
    """

    view: View
    base_layers: int | None = None
    origin: Image | None = None
    copies: tuple[Copy, ...] = ()
    copied_from: str = ""
    open_builder: Callable[[Iterable[str]], View] | None = None
    levels: tuple[str, ...] = ()
    identity: Identity = field(default_factory=Identity)
    notes: list[str] = field(default_factory=list)
    """What could not be read of the packages' records, in sentences."""

    @property
    def name(self) -> str:
        """What messages call the image."""
        return self.view.image.name

    @cached_property
    def builder(self) -> View | None:
        """The files of the image that it was copied from, which are looked at only for what is to be done."""
        return self.open_builder(["/"]) if self.open_builder is not None else None

    def builder_at(self, paths: Iterable[str]) -> View | None:
        """Return what of its files is at paths and below: less work than all of them."""
        if "builder" in self.__dict__ or self.open_builder is None:
            return self.builder
        return self.open_builder(paths)

    @cached_property
    def owners(self) -> Owners:
        """Which package each file of the image came with, by the image's own records."""
        return Owners(self.view, self.notes.append)

    @cached_property
    def builders_owners(self) -> Owners | None:
        """The same of the image that it was copied from, where that is known."""
        return Owners(self.builder, self.notes.append) if self.builder is not None else None

    @cached_property
    def objects(self) -> Objects:
        """The image's programs and libraries."""
        return Objects(self.view)

    @cached_property
    def env(self) -> dict[str, str]:
        """The environment of what is started."""
        return {"PATH": DEFAULT_PATH, **self.view.image.config.env}

    @cached_property
    def cwd(self) -> str:
        """The folder that what is started begins in."""
        said = self.view.image.config.config.get("WorkingDir")
        return posixpath.normpath(said) if isinstance(said, str) and said.startswith("/") else "/"

    @cached_property
    def user(self) -> str:
        """The user as the config has it, empty for root."""
        said = self.view.image.config.config.get("User")
        return said if isinstance(said, str) else ""

    @cached_property
    def names(self) -> Names:
        """Users and groups of the image."""
        return Names.parse(self._small(PASSWD), self._small(GROUP))

    def _small(self, path: bytes) -> bytes:
        file = self.view.file("/" + path.decode())
        return self.view.read(file, MAX_FILE) if file is not None else b""

    def is_new(self, file: File) -> bool:
        """Tell whether a file is none of the base's; of an image whose base is not known all are taken as such."""
        return file.layer >= (self.base_layers or 0)

    def absolute(self, path: str) -> str:
        """Return a path as seen from the working directory."""
        return posixpath.join(self.cwd, path)

    def found(
        self, rule: Rule, inside: str, message: str, fix: str = "", *, severity: Severity | None = None
    ) -> Finding:
        """Return a finding in the image, where wanted of another severity than its rule has."""
        if severity is not None and severity != rule.severity:
            rule = dataclasses.replace(rule, severity=severity)
        return Finding(rule=rule, where=Place(artifact=self.name, inside=inside), message=message, fix=fix)

    def closed(self, path: str, bit: int) -> str | None:
        """Return the path that keeps the user from reading (4) or executing (1) a file, None where none does."""
        who = self.identity
        at = ""
        parts = [part for part in path.split("/") if part]
        for number, part in enumerate(parts):
            at = f"{at}/{part}"
            there = self.view.find(at)
            if there is None:
                return None
            if not there.may(bit if number == len(parts) - 1 else 1, who.uid, who.groups):
                return at
        return None


_COPY = "add to spec.runtime.directories: "


def copied(path: str) -> str:
    """Return what to do so that a file of the builder image is in the image."""
    return f"{_COPY}'{path}'"


def to_copy(fix: str) -> str | None:
    """Return the path of what `copied` returned, None for anything else that is to be done."""
    return fix[len(_COPY) + 1 : -1] if fix.startswith(_COPY) else None


Findings = Iterator[Finding]
