"""Owners by name: `user[:group]` looked up in /etc/passwd and /etc/group.

As BuildKit and buildah have it: a name without a group takes the group that passwd gives the user; a number without a
group is the group's number too. A name that is not there is an error (BuildKit of 2020 took root instead).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runtimeimg.errors import NotFoundError, UsageError
from runtimeimg.image.tarheader import MAX_ID

PASSWD, GROUP = b"etc/passwd", b"etc/group"
MAX_FILE = 4 << 20
"""Bytes of a passwd or group file; a larger one is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Users (id and first group) and groups of an image."""

    users: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, passwd: bytes, group: bytes) -> Names:
        """Return what the files hold; the first line of a name counts, lines that make no sense are passed over."""
        users: dict[str, tuple[int, int]] = {}
        for fields in _lines(passwd):
            if len(fields) >= 4 and _is_id(fields[2]) and _is_id(fields[3]):
                users.setdefault(fields[0], (int(fields[2]), int(fields[3])))
        groups: dict[str, int] = {}
        for fields in _lines(group):
            if len(fields) >= 3 and _is_id(fields[2]):
                groups.setdefault(fields[0], int(fields[2]))
        return cls(users=users, groups=groups)

    def owner(self, text: str, base: str) -> tuple[int, int]:
        """Return the numbers of `user[:group]`; NotFoundError names what the image `base` lacks."""
        user, colon, group = text.partition(":")
        if user.isdecimal():
            uid = gid = _number(user)
        elif user in self.users:
            uid, gid = self.users[user]
        else:
            raise NotFoundError(
                f"user '{user}' is not in /etc/passwd of the base image '{base}'",
                hint="write its number, or make it in spec.runtime.run",
            )
        if colon and group:
            gid = self._group(group, base)
        return uid, gid

    def _group(self, group: str, base: str) -> int:
        if group.isdecimal():
            return _number(group)
        if group in self.groups:
            return self.groups[group]
        raise NotFoundError(
            f"group '{group}' is not in /etc/group of the base image '{base}'",
            hint="write its number, or make it in spec.runtime.run",
        )


def needs_names(text: str | None) -> bool:
    """Tell whether `user[:group]` holds a name."""
    return text is not None and not all(part.isdecimal() for part in text.split(":") if part)


def _number(text: str) -> int:
    if len(text) > 10 or int(text) > MAX_ID:
        raise UsageError(f"id '{text}' is larger than {MAX_ID}")
    return int(text)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX_ID


def _lines(data: bytes) -> list[list[str]]:
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    return [line.split(":") for line in lines if line and not line.startswith("#")]
