"""A folder of this machine as a file system to copy from: the workspace, or `dir:PATH` in the builder's place.

Owners are 0:0, modes and times those of the files, hard links are kept, extended attributes are not; sockets are
passed over. So do Docker's clients send a build context. Symlinks are told as they are and never followed here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from runtimeimg.errors import InvalidDocumentError, NotFoundError, RuntimeimgError
from runtimeimg.image.layertar import BLOCK_DEVICE, CHARACTER, DIRECTORY, FIFO, FILE, HARDLINK, SYMLINK, Entry

_CHUNK = 1 << 20
_KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK_DEVICE,
    stat.S_IFIFO: FIFO,
}


class Directory:
    """The folder `root`; paths are relative to it, as in a layer."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise NotFoundError(f"folder '{root}' does not exist")
        self.root = root
        self._base = os.fsencode(root)

    def entries(self, paths: Iterable[bytes]) -> Iterator[Entry]:
        """Yield what lies at and below `paths` and the folders above them, parents first, names in byte order."""
        seen: set[bytes] = set()
        links: dict[tuple[int, int], bytes] = {}
        for path in sorted(paths):
            for found in chain(self._above(path), self._below(path)):
                if found not in seen:
                    seen.add(found)
                    yield from self._entry(found, links)

    def pieces(self, path: bytes, size: int) -> Iterator[bytes]:
        """Yield the contents of a file that was `size` bytes long; one that changed meanwhile is an error."""
        full = os.path.join(self._base, path)  # noqa: PTH118 - pathlib has no paths of bytes
        left = size
        try:
            descriptor = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - it is open already
                while data := file.read(min(_CHUNK, left + 1)):
                    left -= len(data)
                    if left < 0:
                        break
                    yield data
        except OSError as error:
            raise RuntimeimgError(f"file '{_text(full)}' cannot be read: {error.strerror}") from None
        if left:
            raise RuntimeimgError(f"file '{_text(full)}' changed while it was read")

    def _above(self, path: bytes) -> Iterator[bytes]:
        """Yield the folders above `path`, up to the first that is none: a symlink is told, but not followed."""
        at = b""
        for part in path.split(b"/")[:-1]:
            at = at + b"/" + part if at else part
            yield at
            if not stat.S_ISDIR(self._mode(at)):
                return

    def _below(self, path: bytes) -> Iterator[bytes]:
        """Yield `path` and all that is in it, if no symlink is on the way to it."""
        if any(not stat.S_ISDIR(self._mode(at)) for at in self._above(path)):
            return
        stack = [path]
        while stack:
            at = stack.pop()
            yield at
            full = os.path.join(self._base, at)  # noqa: PTH118
            if at == b"" or stat.S_ISDIR(self._mode(at)):
                try:
                    names = sorted(os.listdir(full), reverse=True)  # noqa: PTH208 - names of bytes
                except OSError as error:
                    raise RuntimeimgError(f"folder '{_text(full)}' cannot be read: {error.strerror}") from None
                stack += [at + b"/" + name if at else name for name in names]

    def _mode(self, path: bytes) -> int:
        try:
            return os.lstat(os.path.join(self._base, path)).st_mode  # noqa: PTH118
        except OSError:
            return 0

    def _entry(self, path: bytes, links: dict[tuple[int, int], bytes]) -> Iterator[Entry]:
        full = os.path.join(self._base, path)  # noqa: PTH118
        try:
            status = os.lstat(full)
        except OSError:
            return
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None or not path:
            return
        if path.rpartition(b"/")[2].startswith(b".wh."):
            raise InvalidDocumentError(f"file '{_text(full)}' has a name that means its removal in a layer")
        target, size = b"", 0
        first = links.setdefault((status.st_dev, status.st_ino), path) if status.st_nlink > 1 else path
        if kind == FILE and first != path:
            kind, target = HARDLINK, first
        elif kind == FILE:
            size = status.st_size
        elif kind == SYMLINK:
            target = os.readlink(full)  # noqa: PTH115
        device = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in "cb" else (0, 0)
        mtime = status.st_mtime_ns // 1_000_000_000
        yield Entry(path, kind, stat.S_IMODE(status.st_mode), 0, 0, size, mtime, target, device)


def _text(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
