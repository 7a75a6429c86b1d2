"""Kinds of files on a disk, by the words that layers have for them."""

from __future__ import annotations

import os
import stat

from runtimeimg.image.layertar import BLOCK_DEVICE, CHARACTER, DIRECTORY, FIFO, FILE, SYMLINK

SOCKET = "s"
"""Kind of a socket, which no layer holds."""

_KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK_DEVICE,
    stat.S_IFIFO: FIFO,
    stat.S_IFSOCK: SOCKET,
}


def kind_of(status: os.stat_result) -> str:
    """Return one of the kinds of layertar, or SOCKET."""
    return _KINDS.get(stat.S_IFMT(status.st_mode), SOCKET)
