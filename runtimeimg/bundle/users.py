"""`Config.User` as numbers (image-spec, config.md and conversion.md, "Config.User")."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runtimeimg.bundle.values import Files
from runtimeimg.errors import InvalidDocumentError, NotFoundError

PASSWD, GROUP = "/etc/passwd", "/etc/group"
MAX_FILE = 4 << 20
"""Bytes of a passwd or group file; a larger one is refused."""
MAX_ID = (1 << 32) - 2
"""The greatest id of Linux; the one after it means "no change" to chown(2) and setresuid(2)."""
MAX_GROUPS = 65536
"""Groups that a process may be in (NGROUPS_MAX)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """The user of a process: numbers, further groups, and its home where passwd names one."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    """A line of passwd(5)."""

    name: str
    uid: int
    gid: int
    home: str


def resolve(text: str, files: Files, image: str) -> User:
    """Return the user that `user[:group]` names, root where it is empty.

    Numbers are taken as they are; a number that passwd knows has the group that it says there, else group 0. A name
    has the groups that list it, unless a group is named. NotFoundError for a name that the image does not have,
    InvalidDocumentError for what is no user.
    """
    name, colon, group = text.partition(":")
    if text and ("\0" in text or not name or (colon and not group) or ":" in group):
        raise InvalidDocumentError(f"user {text[:80]!r} of image '{image}' is not of the form user[:group]")
    accounts = _Accounts(files)
    groups: tuple[int, ...] = ()
    if _is_number(name or "0"):
        uid = _id(name or "0", image)
        known = accounts.by_uid(uid)
        gid = known.gid if known else 0
    else:
        known = accounts.by_name(name)
        if known is None:
            raise _missing("user", name, PASSWD, image)
        uid, gid = known.uid, known.gid
        groups = () if group else accounts.memberships(name, gid)
    if group:
        gid = _id(group, image) if _is_number(group) else accounts.group(group, image)
    return User(uid=uid, gid=gid, groups=groups, home=known.home if known else None)


class _Accounts:
    """The accounts of an image, read when they are asked for; lines that make no sense are passed over."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def by_name(self, name: str) -> _Account | None:
        """Return the first account of a name."""
        return next((item for item in self._accounts() if item.name == name), None)

    def by_uid(self, uid: int) -> _Account | None:
        """Return the first account of a number."""
        return next((item for item in self._accounts() if item.uid == uid), None)

    def group(self, name: str, image: str) -> int:
        """Return the number of a group; NotFoundError where there is none."""
        for found, gid, _ in self._groups():
            if found == name:
                return gid
        raise _missing("group", name, GROUP, image)

    def memberships(self, name: str, gid: int) -> tuple[int, ...]:
        """Return the groups that list a user, each once, without its own group."""
        found = dict.fromkeys(number for _, number, members in self._groups() if name in members and number != gid)
        return tuple(found)[:MAX_GROUPS]

    def _accounts(self) -> Iterator[_Account]:
        for fields in self._lines(PASSWD):
            if len(fields) >= 6 and _is_id(fields[2]) and _is_id(fields[3]):
                yield _Account(name=fields[0], uid=int(fields[2]), gid=int(fields[3]), home=fields[5])

    def _groups(self) -> Iterator[tuple[str, int, tuple[str, ...]]]:
        for fields in self._lines(GROUP):
            if len(fields) >= 3 and _is_id(fields[2]):
                yield fields[0], int(fields[2]), tuple(fields[3].split(",")) if len(fields) > 3 else ()

    def _lines(self, path: str) -> Iterator[list[str]]:
        data = self._files.read(path, MAX_FILE)
        for line in (data or b"").decode("utf-8", "replace").split("\n"):
            if line and not line.startswith("#"):
                yield line.strip("\r").split(":")


def _missing(what: str, name: str, path: str, image: str) -> NotFoundError:
    return NotFoundError(
        f"{what} '{name[:80]}' is not in {path} of image '{image}'",
        hint="say who it is with --set process.user.uid=NUMBER and --set process.user.gid=NUMBER",
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_id(text: str) -> bool:
    return _is_number(text) and len(text) <= 10 and int(text) <= MAX_ID


def _id(text: str, image: str) -> int:
    if not _is_id(text):
        raise InvalidDocumentError(f"id '{text[:40]}' of the user of image '{image}' is larger than {MAX_ID}")
    return int(text)
