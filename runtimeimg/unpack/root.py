"""A root file system on the disk, looked at by descriptor: nothing in it leads out of it, and nothing hangs."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from runtimeimg.errors import InvalidDocumentError
from runtimeimg.hostfile import system_error
from runtimeimg.image.kinds import kind_of
from runtimeimg.image.layertar import SYMLINK
from runtimeimg.image.tarheader import shown
from runtimeimg.unpack.walk import MAX_LINKS, TooManyLinksError, Walk

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What there is at a path.

    `path` is where it lies below the root, without links on the way and without `/` at its ends; empty for the root.
    `kind` is one of layertar's constants or SOCKET. `mode` is the permission bits with setuid, setgid and sticky,
    `size` is in bytes, `target` is a link's text. Owners are those on the disk.
    """

    path: bytes
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    device: tuple[int, int] = (0, 0)
    target: bytes = b""


class Root:
    """A directory held open, as a context; the root of the paths that are given, which may begin with `/` or not."""

    def __init__(self, path: Path) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise system_error(error, f"root file system '{path}' cannot be read") from error
        self._shown = str(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self._fd)

    def lookup(self, path: str | bytes, *, follow: bool = False) -> Found | None:
        """Tell what is at `path`, None where nothing is; a link that is its last component is only followed if asked.

        Links before the last component are followed: the path of what is found shows whether there were any.
        InvalidDocumentError for a path through too many links.
        """
        with self._walked(path, follow=follow) as walk:
            return None if walk is None else _found(walk)

    def read(self, path: str | bytes, limit: int) -> bytes | None:
        """Return the bytes of a regular file, None where nothing is; links are followed, inside the root.

        InvalidDocumentError for what is no regular file and for one of more than `limit` bytes.
        """
        with self._walked(path, follow=True) as walk:
            if walk is None:
                return None
            status = os.fstat(walk.fd)
            if not stat.S_ISREG(status.st_mode) or walk.above is None:
                raise InvalidDocumentError(f"'{_name(path)}' is not a regular file")
            folder, name = walk.above
            parts, left = [], limit + 1
            with os.fdopen(os.open(name, _READ, dir_fd=folder), "rb", buffering=0) as reader:
                if not os.path.samestat(status, os.fstat(reader.fileno())):
                    raise InvalidDocumentError(f"'{_name(path)}' was replaced while it was read")
                while left > 0 and (data := reader.read(min(left, 1 << 20))):
                    parts.append(data)
                    left -= len(data)
            if left <= 0:
                raise InvalidDocumentError(f"'{_name(path)}' is larger than {limit} bytes")
            return b"".join(parts)

    def names(self, path: str | bytes) -> list[bytes] | None:
        """Return the sorted names in a directory, None where no directory is; links are followed, inside the root."""
        with self._walked(path, follow=True) as walk:
            if walk is None or not stat.S_ISDIR(os.fstat(walk.fd).st_mode):
                return None
            folder = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=walk.fd)
            try:
                with os.scandir(folder) as entries:
                    return sorted(os.fsencode(entry.name) for entry in entries)
            finally:
                os.close(folder)

    @contextlib.contextmanager
    def _walked(self, path: str | bytes, *, follow: bool) -> Iterator[Walk | None]:
        """Return a context whose value stands at `path`, None where nothing is."""
        wanted = os.fsencode(path)
        if b"\0" in wanted:
            raise InvalidDocumentError(f"'{_name(path)}' is no path: it holds a NUL")
        with contextlib.closing(Walk(self._fd)) as walk:
            try:
                yield walk if walk.go(wanted, follow=follow) else None
            except TooManyLinksError:
                raise InvalidDocumentError(f"'{_name(path)}' goes through more than {MAX_LINKS} links") from None
            except OSError as error:
                raise system_error(error, f"'{_name(path)}' in '{self._shown}' cannot be read") from error


def _found(walk: Walk) -> Found:
    status = os.fstat(walk.fd)
    kind = kind_of(status)
    return Found(
        path=walk.path,
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size,
        device=(os.major(status.st_rdev), os.minor(status.st_rdev)),
        target=os.readlink(b"", dir_fd=walk.fd) if kind == SYMLINK else b"",
    )


def _name(path: str | bytes) -> str:
    return f"/{shown(os.fsencode(path).lstrip(b'/'))}"
