"""The directories of a root that is being made: a few of them held open, found by the paths that layers say.

A path is gone through a component at a time, each opened in the one before without following links; links are followed
by hand inside the root. What is missing on the way is made, as root's, 0755, of the time 0; `..` behind it takes it
back.

A directory that something is made in or removed from keeps the time it had: that is set when it is closed. Where this
process may not change what it owns (a directory 0555, without privilege), the mode is treated the same way.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Container

from runtimeimg.budgets import (
    FOLDERS_OF_ENTRY,
    FREE_FOLDERS,
    FREE_STEPS,
    MAX_COMPONENT,
    MAX_DEPTH,
    MAX_PATH,
    STEPS_OF_BYTE,
)
from runtimeimg.image.tarheader import TarFormatError, shown
from runtimeimg.remains.trees import make_usable, remove
from runtimeimg.unpack.walk import MAX_LINKS

_OPEN = 128  # directories; well below the descriptors that a process has without asking
_ALIASES = 4096
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OWN = 0o700


class Folder:
    """A directory that is held open. `path` is where it really is, `time` what it gets when it is closed if changed."""

    __slots__ = ("changed", "depth", "fd", "mode", "path", "time")

    def __init__(self, fd: int, path: bytes, time: int) -> None:
        self.fd = fd
        self.path = path
        self.depth = path.count(b"/") + 1 if path else 0
        self.time = time
        self.mode: int | None = None
        self.changed = False

    def set_mode(self, mode: int) -> None:
        """Set permission bits: now, or when it is closed where they would be in our way."""
        now = mode | _OWN if os.geteuid() else mode
        os.fchmod(self.fd, now)
        self.mode = mode if now != mode else None

    def close(self) -> None:
        """Let go of it as it is to be."""
        try:
            if self.mode is not None:
                os.fchmod(self.fd, self.mode)
            if self.changed:
                os.utime(self.fd, ns=(self.time, self.time))
        finally:
            os.close(self.fd)


class Folders:
    """The directories below `top`, an open one that is closed with them."""

    def __init__(self, top: int, *, rootless: bool) -> None:
        self._rootless = rootless
        self._open: dict[bytes, Folder] = {}
        self._aliases: dict[bytes, bytes] = {}  # paths that go through links, and where they lead
        self._last = b"/"  # no path that a layer says
        self._last_folder: Folder | None = None
        self.top = self._entered(b"", top)
        self._passed: set[bytes] = set()
        self._own: Container[bytes] = ()
        self._paid: Callable[[], int] = int
        self._steps = self._made = self._entries = 0

    def begin(self, own: Container[bytes], paid: Callable[[], int]) -> None:
        """Begin a layer; `own` are the paths that it made itself, `paid` tells how many bytes of its blob were read."""
        self._passed, self._own, self._paid = set(), own, paid
        self._aliases.clear()  # so that links are followed anew, and noted
        self._last_folder = None
        self._steps = self._made = self._entries = 0

    def went_through(self, path: bytes) -> bool:
        """Tell whether paths of this layer went through a link of a lower one that is at `path` or below."""
        return path in self._passed if path else bool(self._passed)

    def close(self) -> None:
        """Let go of all, each as it is to be."""
        while self._open:
            self._open.popitem()[1].close()
        self.top.close()

    def abandon(self) -> None:
        """Let go of all as they are."""
        for folder in (*self._open.values(), self.top):
            os.close(folder.fd)
        self._open.clear()

    def at(self, path: bytes) -> Folder:
        """Return the directory that a path leads to, made where there is none, for something to be changed in it."""
        self._entries += 1
        if path == self._last and self._last_folder is not None:
            return self._last_folder
        folder = self._known(path) or self._walked(path, make=True)
        assert folder is not None
        folder.changed = True
        self._last, self._last_folder = path, folder
        return folder

    def find(self, path: bytes) -> Folder | None:
        """Return the directory that a path leads to, None where there is none."""
        return self._known(path) or self._walked(path, make=False)

    def enter(self, parent: Folder, name: bytes) -> tuple[Folder, bool]:
        """Return the directory `name` in another, made where none is, and whether it is new; a link is replaced."""
        path = below(parent, name)
        if (folder := self._touched(path)) is not None:
            return folder, False
        try:
            return self._new(parent, name, path), True
        except FileExistsError:
            pass
        if (folder := self._opened(parent, name, path)) is not None:
            return folder, False
        self.remove(parent, name)
        return self._new(parent, name, path), True

    def child(self, parent: Folder | None, name: bytes) -> Folder | None:
        """Return the directory `name` in another, None where there is none; no link is followed."""
        if parent is None:
            return None
        path = below(parent, name)
        try:
            return self._touched(path) or self._opened(parent, name, path)
        except FileNotFoundError:
            return None

    def remove(self, parent: Folder, name: bytes) -> None:
        """Remove what is at `name` in a directory, with all that is in it."""
        self.forget(below(parent, name))
        remove(parent.fd, name)

    def forget(self, path: bytes) -> None:
        """Let go of what was known of a path that is removed, and of those below."""
        self._aliases.clear()
        self._last_folder = None
        inside = path + b"/"
        for known in [known for known in self._open if known == path or known.startswith(inside)]:
            os.close(self._open.pop(known).fd)

    # The way to a path

    def _known(self, path: bytes) -> Folder | None:
        if not path:
            return self.top
        return self._touched(path) or self._touched(self._aliases.get(path, b"/"))

    def _touched(self, path: bytes) -> Folder | None:
        """Return a directory that is open, which is then the last to be closed for want of room."""
        folder = self._open.pop(path, None)
        if folder is not None:
            self._open[path] = folder
        return folder

    def _walked(self, path: bytes, *, make: bool) -> Folder | None:
        at, pending = self._nearest(path)
        followed = 0
        missing: list[bytes] = []
        while pending:
            name = pending.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                at = at if missing else self._above(at)
                del missing[-1:]
                continue
            found = None if missing else self._step(at, name)
            if found is None:
                missing.append(name)
            elif isinstance(found, Folder):
                at = found
            else:
                followed += 1
                self._follow(below(at, name), followed, make=make)
                pending += found.split(b"/")[::-1]
                at = self.top if found.startswith(b"/") else at
        if missing and not make:
            return None
        for name in missing:
            at = self._implied(at, name)
        if followed:
            if len(self._aliases) >= _ALIASES:
                self._aliases.clear()
            self._aliases[path] = at.path
        return at

    def _nearest(self, path: bytes) -> tuple[Folder, list[bytes]]:
        """Return an open directory on the way to a path, and the names from there on, the last one first."""
        known = path.rpartition(b"/")[0]
        while known and known not in self._open:
            known = known.rpartition(b"/")[0]
        return self._touched(known) or self.top, path[len(known) :].split(b"/")[::-1]

    def _step(self, at: Folder, name: bytes) -> Folder | bytes | None:
        """Go from a directory to what is in it: a directory, the text of a link, None where there is neither."""
        self._steps += 1
        if self._steps > FREE_STEPS and self._steps > FREE_STEPS + STEPS_OF_BYTE * self._paid():
            raise TarFormatError("its layer goes through more directories than the size of its blob is worth")
        path = below(at, name)
        if (folder := self._touched(path)) is not None:
            return folder
        try:
            folder = self._opened(at, name, path)
        except FileNotFoundError:
            return None
        if folder is not None:
            return folder
        try:
            return os.readlink(name, dir_fd=at.fd)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        return None

    def _above(self, at: Folder) -> Folder:
        path = at.path.rpartition(b"/")[0]
        if not path:
            return self.top
        return self._touched(path) or self._entered(path, os.open(b"..", _FOLDER, dir_fd=at.fd))

    def _follow(self, path: bytes, followed: int, *, make: bool) -> None:
        """Count a link that is followed, and remember one of a lower layer on the way to something that is made."""
        if followed > MAX_LINKS:
            raise TarFormatError(f"its path goes through more than {MAX_LINKS} symbolic links")
        if not make or path in self._own:
            return
        while path and path not in self._passed:
            self._passed.add(path)
            path = path.rpartition(b"/")[0]
        if len(self._passed) > FREE_FOLDERS:
            raise TarFormatError("its layer goes through too many symbolic links")

    # Directories opened and made

    def _opened(self, parent: Folder, name: bytes, path: bytes) -> Folder | None:
        """Open a directory that is there, None where something else is."""
        mode = None
        try:
            fd = os.open(name, _FOLDER, dir_fd=parent.fd)
        except NotADirectoryError:
            return None
        except PermissionError:
            mode = make_usable(parent.fd, name)
            fd = os.open(name, _FOLDER, dir_fd=parent.fd)
        folder = self._entered(path, fd)
        folder.mode = mode if mode is not None else folder.mode
        return folder

    def _entered(self, path: bytes, fd: int) -> Folder:
        """Take on an open directory as it is."""
        status = os.fstat(fd)
        folder = Folder(fd, path, status.st_mtime_ns)
        if os.geteuid() and status.st_mode & _OWN != _OWN:
            folder.set_mode(stat.S_IMODE(status.st_mode))
        self._keep(folder)
        return folder

    def _new(self, parent: Folder, name: bytes, path: bytes) -> Folder:
        """Make a directory, to be given its owner, mode and time by the caller."""
        check_place(parent, name)
        os.mkdir(name, _OWN, dir_fd=parent.fd)
        parent.changed = True
        folder = Folder(os.open(name, _FOLDER, dir_fd=parent.fd), path, 0)
        folder.changed = True
        self._keep(folder)
        return folder

    def _implied(self, parent: Folder, name: bytes) -> Folder:
        """Make a directory that no entry says; what else is in its place is removed."""
        self._made += 1
        if self._made > FREE_FOLDERS + FOLDERS_OF_ENTRY * self._entries:
            raise TarFormatError("its layer goes through too many directories that it does not hold")
        path = below(parent, name)
        try:
            folder = self._new(parent, name, path)
        except FileExistsError:
            self.remove(parent, name)
            folder = self._new(parent, name, path)
        if not self._rootless:
            os.fchown(folder.fd, 0, 0)
        folder.set_mode(0o755)
        return folder

    def _keep(self, folder: Folder) -> None:
        if not folder.path:
            return
        self._open[folder.path] = folder
        if len(self._open) > _OPEN:
            oldest = next(iter(self._open))
            closed = self._open.pop(oldest)
            if closed is self._last_folder:
                self._last_folder = None
            closed.close()


def check_place(parent: Folder, name: bytes) -> None:
    """Refuse what no path of Linux leads to any more, once links on the way are followed."""
    if parent.depth >= MAX_DEPTH or len(parent.path) + len(name) >= MAX_PATH:
        raise TarFormatError(
            f"it would be at a path that is longer than Linux allows, below '{shown(parent.path)[:40]}'"
        )
    if len(name) > MAX_COMPONENT:
        raise TarFormatError("its name is longer than Linux allows")


def below(parent: Folder, name: bytes) -> bytes:
    """Return the path of `name` in a directory."""
    return parent.path + b"/" + name if parent.path else name
