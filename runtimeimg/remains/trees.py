"""Removal of trees by descriptor: no link is followed, and directories that do not let their owner in are made to."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_AT_ONCE = 1000
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: Path) -> None:
    """Remove what is at `path`, with all that is in it; nothing where it is not there."""
    above = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        remove(above, os.fsencode(path.name))
    finally:
        os.close(above)


def remove(folder: int, name: bytes) -> None:
    """Remove `name` from an open directory, with all that is in it; nothing where it is not there."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError) as error:
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise error from None
        _remove_folder(folder, name)


def opened(folder: int, name: bytes) -> int:
    """Open a directory in an open one, for changing what is in it; its mode is changed where it does not let us."""
    try:
        fd = os.open(name, _FOLDER, dir_fd=folder)
    except PermissionError:
        make_usable(folder, name)
        return os.open(name, _FOLDER, dir_fd=folder)
    if os.geteuid() and os.fstat(fd).st_mode & 0o700 != 0o700:
        os.fchmod(fd, 0o700)
    return fd


def make_usable(folder: int, name: bytes) -> int:
    """Let the owner of a directory read and change it, and return the mode that it had."""
    fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        os.chmod(f"/proc/self/fd/{fd}", mode | 0o700)  # noqa: PTH101 - fchmod(2) takes no descriptor of this kind
    finally:
        os.close(fd)
    return mode


def _remove_folder(folder: int, name: bytes) -> None:
    """Remove a directory depth first, without recursion: its parts are a descriptor, a name and what is to be done."""
    ways: list[tuple[int, bytes, list[bytes]]] = [(opened(folder, name), name, [])]
    try:
        while ways:
            fd, called, pending = ways[-1]
            if not pending:
                pending += _folders_left(fd)
            if pending:
                inner = pending.pop()
                ways.append((opened(fd, inner), inner, []))
                continue
            ways.pop()
            os.close(fd)
            os.rmdir(called, dir_fd=ways[-1][0] if ways else folder)
    finally:
        for fd, _, _ in ways:
            os.close(fd)


def _folders_left(fd: int) -> list[bytes]:
    """Remove all but directories from a directory, and return the names of some of those; none when it is empty."""
    while True:
        gone = 0
        found: list[bytes] = []
        with os.scandir(fd) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(name, dir_fd=fd)
                    gone += 1
                elif len(found) < _AT_ONCE:
                    found.append(name)
        if found or not gone:
            return found
