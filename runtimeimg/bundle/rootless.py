"""The user namespace of a bundle that a normal user starts: its own id, and those that /etc/subuid lends it."""

from __future__ import annotations

from collections.abc import Iterator

from runtimeimg.bundle.users import MAX_ID
from runtimeimg.bundle.values import IdRange, Rootless

MAX_LENT = 1 << 16
"""Ids of the namespace that are lent ones; images use no others."""


def namespace(uid: int, gid: int, *, name: str = "", subuid: str = "", subgid: str = "") -> Rootless:
    """Return the namespace of a user: its root is the user, and from 1 on there are the ids that are lent to it.

    `subuid` and `subgid` are the files of that name (subuid(5)); without a line for the user, by name or number, the
    root is all that there is.
    """
    return Rootless(uids=_ranges(uid, (name, str(uid)), subuid), gids=_ranges(gid, (name, str(uid)), subgid))


def _ranges(own: int, names: tuple[str, ...], text: str) -> tuple[IdRange, ...]:
    found = [IdRange(container=0, host=own, size=1)]
    following = 1
    for first, count in _lent(names, text):
        size = min(count, MAX_LENT - following)
        if size <= 0:
            break
        found.append(IdRange(container=following, host=first, size=size))
        following += size
    return tuple(found)


def _lent(names: tuple[str, ...], text: str) -> Iterator[tuple[int, int]]:
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) != 3 or fields[0] not in names or not fields[0]:
            continue
        if all(item.isascii() and item.isdigit() and len(item) <= 10 for item in fields[1:]):
            first, count = int(fields[1]), int(fields[2])
            if count and first + count - 1 <= MAX_ID:
                yield first, count
