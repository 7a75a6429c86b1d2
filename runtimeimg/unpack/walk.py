"""Paths gone through by descriptor, a component at a time, inside a directory that stands for the root.

No call of the system follows a link here. A link is followed by hand: from the root where it is absolute, and `..`
stops at the root, as chroot(2) has it. What is there is opened to be looked at alone (O_PATH), so no pipe or device is
touched.
"""

from __future__ import annotations

import os
import stat

from runtimeimg.budgets import MAX_COMPONENT

MAX_LINKS = 40
"""Links that a path may go through, as in Linux (path_resolution(7))."""
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class TooManyLinksError(Exception):
    """A path goes through more links than Linux follows."""


class Walk:
    """A way from `top`, a descriptor that stays the caller's. Close it to let go of the directories on the way."""

    def __init__(self, top: int) -> None:
        self._folders = [top]
        self._names: list[bytes] = []
        self._leaf: int | None = None
        self._followed = 0

    def close(self) -> None:
        """Close what was opened."""
        self._leave()
        for folder in self._folders[1:]:
            os.close(folder)
        del self._folders[1:]

    @property
    def path(self) -> bytes:
        """Where this is, below the top and without links; empty at the top."""
        return b"/".join(self._names)

    @property
    def fd(self) -> int:
        """A descriptor of what is there, for looking at it alone."""
        return self._folders[-1] if self._leaf is None else self._leaf

    @property
    def above(self) -> tuple[int, bytes] | None:
        """The directory that holds it, and its name there; None at the top."""
        if not self._names:
            return None
        return self._folders[-2 if self._leaf is None else -1], self._names[-1]

    def go(self, path: bytes, *, follow: bool) -> bool:
        """Go on to `path` and tell whether there is something; a last component that is a link is followed if asked."""
        pending = _parts(path)
        while pending:
            name = pending.pop()
            if self._leaf is not None or len(name) > MAX_COMPONENT:
                return False
            if name == b"..":
                self._up()
            elif not self._enter(name, pending, follow=follow or bool(pending)):
                return False
        return True

    def _enter(self, name: bytes, pending: list[bytes], *, follow: bool) -> bool:
        try:
            fd = os.open(name, _LOOK, dir_fd=self._folders[-1])
        except FileNotFoundError:
            return False
        kind = stat.S_IFMT(os.fstat(fd).st_mode)
        if kind == stat.S_IFLNK and follow:
            target = os.readlink(b"", dir_fd=fd)
            os.close(fd)
            self._follow(target, pending)
            return True
        self._names.append(name)
        if kind == stat.S_IFDIR:
            self._folders.append(fd)
        else:
            self._leaf = fd
        return True

    def _follow(self, target: bytes, pending: list[bytes]) -> None:
        self._followed += 1
        if self._followed > MAX_LINKS:
            raise TooManyLinksError
        if target.startswith(b"/"):
            while self._names:
                self._up()
        pending += _parts(target)

    def _up(self) -> None:
        if self._names:
            self._names.pop()
            os.close(self._folders.pop())

    def _leave(self) -> None:
        if self._leaf is not None:
            os.close(self._leaf)
            self._names.pop()
            self._leaf = None


def _parts(path: bytes) -> list[bytes]:
    """Return the components of a path, the last one first."""
    return [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]
