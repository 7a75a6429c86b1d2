"""A folder of this machine as a file system to copy from: the workspace, or `dir:PATH` in the builder's place.

Owners are 0:0, modes and times those of the files, hard links are kept, extended attributes are not. Symlinks are told
as they are and never followed here: the folder is opened once, and everything in it by descriptors from there, a name
at a time (openat(2) with O_NOFOLLOW). Whoever swaps a folder for a symlink meanwhile gets an error, never a file of
somewhere else into the image. Devices, pipes and sockets are told by their kinds; nothing is read of them.
"""

from __future__ import annotations

import os
import stat
import weakref
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from runtimeimg.errors import InvalidDocumentError, NotFoundError, RuntimeimgError
from runtimeimg.image.kinds import SOCKET, kind_of
from runtimeimg.image.layertar import BLOCK_DEVICE, CHARACTER, FIFO, FILE, HARDLINK, SYMLINK, Entry

ODD_KINDS = {CHARACTER: "a device", BLOCK_DEVICE: "a device", FIFO: "a pipe", SOCKET: "a socket"}
"""What no image takes out of a folder, and what it is called."""

_CHUNK = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Directory:
    """The folder `root`; paths are relative to it, as in a layer. For one thread at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            raise NotFoundError(f"folder '{root}' does not exist") from None
        except OSError as error:
            raise RuntimeimgError(f"folder '{root}' cannot be read: {error.strerror}") from None
        weakref.finalize(self, os.close, self._root)
        self._open = _Opened(self._root)
        weakref.finalize(self, self._open.close)

    def entries(self, paths: Iterable[bytes]) -> Iterator[Entry]:
        """Yield what lies at and below `paths` and the folders above them, parents first, names in byte order."""
        seen: set[bytes] = set()
        links: dict[tuple[int, int], bytes] = {}
        for path in sorted(paths):
            for found, status in chain(self._above(path), self.walk(path)):
                if found not in seen:
                    seen.add(found)
                    yield from self._entry(found, status, links)

    def pieces(self, path: bytes, size: int) -> Iterator[bytes]:
        """Yield the contents of a file that was `size` bytes long; one that changed meanwhile is an error."""
        left = size
        parent, _, name = path.rpartition(b"/")
        try:
            descriptor = os.open(name, _FILE, dir_fd=self._open.folder(parent))
            with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - it is open already
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise RuntimeimgError(f"file '{self.shown(path)}' changed while it was read")
                while data := file.read(min(_CHUNK, left + 1)):
                    left -= len(data)
                    if left < 0:
                        break
                    yield data
        except OSError as error:
            raise RuntimeimgError(
                f"file '{self.shown(path)}' cannot be read: {error.strerror}", hint="build again when it is at rest"
            ) from None
        if left:
            raise RuntimeimgError(f"file '{self.shown(path)}' changed while it was read")

    def walk(self, path: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
        """Yield `path` and all that is in it, folders first, if no symlink is on the way to it."""
        stack = [path]
        while stack:
            at = stack.pop()
            status = self.lstat(at)
            if status is None:
                continue
            yield at, status
            if stat.S_ISDIR(status.st_mode):
                stack += [at + b"/" + name if at else name for name in reversed(self.names(at))]

    def names(self, path: bytes) -> list[bytes]:
        """Return the names in a folder, in byte order."""
        try:
            return sorted(os.fsencode(name) for name in os.listdir(self._open.folder(path)))  # noqa: PTH208
        except OSError as error:
            raise RuntimeimgError(f"folder '{self.shown(path)}' cannot be read: {error.strerror}") from None

    def lstat(self, path: bytes) -> os.stat_result | None:
        """Return what is at a path, symlinks told as such; None where there is nothing, or a symlink on the way."""
        parent, _, name = path.rpartition(b"/")
        try:
            if not path:
                return os.fstat(self._root)
            return os.stat(name, dir_fd=self._open.folder(parent), follow_symlinks=False)
        except OSError:
            return None

    def readlink(self, path: bytes) -> bytes:
        """Return what a symlink says."""
        parent, _, name = path.rpartition(b"/")
        try:
            return os.readlink(name, dir_fd=self._open.folder(parent))
        except OSError as error:
            raise RuntimeimgError(f"symlink '{self.shown(path)}' cannot be read: {error.strerror}") from None

    def shown(self, path: bytes) -> str:
        """Return a path for messages."""
        return os.path.join(os.fsencode(self.root), path).decode("utf-8", "backslashreplace")  # noqa: PTH118

    def _above(self, path: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
        """Yield the folders above `path`, up to the first that is none: a symlink is told, but not followed."""
        at = b""
        for part in path.split(b"/")[:-1]:
            at = at + b"/" + part if at else part
            status = self.lstat(at)
            if status is None:
                return
            yield at, status

    def _entry(self, path: bytes, status: os.stat_result, links: dict[tuple[int, int], bytes]) -> Iterator[Entry]:
        kind = kind_of(status)
        if not path:
            return
        if path.rpartition(b"/")[2].startswith(b".wh."):
            raise InvalidDocumentError(f"file '{self.shown(path)}' has a name that means its removal in a layer")
        target, size = b"", 0
        first = links.setdefault((status.st_dev, status.st_ino), path) if status.st_nlink > 1 else path
        if kind == FILE and first != path:
            kind, target = HARDLINK, first
        elif kind == FILE:
            size = status.st_size
        elif kind == SYMLINK:
            target = self.readlink(path)
        device = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in "cb" else (0, 0)
        mtime = status.st_mtime_ns // 1_000_000_000
        yield Entry(path, kind, stat.S_IMODE(status.st_mode), 0, 0, size, mtime, target, device)


class _Opened:
    """The folder that was opened last, kept open: what is read next mostly lies in it or below."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._path = b""
        self._descriptor = root

    def folder(self, path: bytes) -> int:
        """Return a descriptor of a folder, good until the next call; OSError when a symlink is on the way to it."""
        if path == self._path:
            return self._descriptor
        if not path:
            self.close()
            return self._root
        start, rest = os.dup(self._root), path
        if self._path and path.startswith(self._path + b"/"):
            os.close(start)
            start, rest = os.dup(self._descriptor), path[len(self._path) + 1 :]
        for part in rest.split(b"/"):
            try:
                following = os.open(part, _FOLDER, dir_fd=start)
            finally:
                os.close(start)
            start = following
        self.close()
        self._path, self._descriptor = path, start
        return start

    def close(self) -> None:
        """Go back to the root."""
        if self._descriptor != self._root:
            os.close(self._descriptor)
        self._path, self._descriptor = b"", self._root
