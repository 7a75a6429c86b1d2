"""Setuid and setgid files of a rootfs."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path


def setuid_files(rootfs: Path) -> Iterator[str]:
    """Yield the paths of regular files, as the container has them, that are setuid or setgid; links are not followed.

    Directories that cannot be read are passed over.
    """
    for folder, _, names, fd in os.fwalk(rootfs, follow_symlinks=False):
        for name in names:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
                yield f"/{(Path(folder) / name).relative_to(rootfs)}"
