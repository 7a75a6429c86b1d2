"""The small shell that is brought in beside an image: the /bin of a debug image, as a folder or a tar archive."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import IO

from runtimeimg.builders.debugshell import check_folder
from runtimeimg.image import Image
from runtimeimg.oci import Location
from runtimeimg.stores import StoreOptions, open_one
from runtimeimg.stores.missing import named
from runtimeimg.unpack import Root
from runtimeimg.unpack.rootfs import unpack_into

DEFAULT = "busybox:musl"
"""The debug image where nobody names one."""


def unpacked(location: Location, image: Image, stores: StoreOptions, folder: Path) -> Path:
    """Return the folder of a debug image's /bin, for `image`; it is unpacked to `folder`, which must not be there yet.

    Raises UsageError for a shell that would not run elsewhere.
    """
    root = Path(location.path or "") if location.transport == "dir" else folder
    if location.transport != "dir":
        with named("debug image", location):
            found = open_one(location, image.platform, stores)
        unpack_into(found, folder, rootless=os.geteuid() != 0, progress=stores.progress)
    check_folder(root, f"debug image '{location}'")
    with Root(root) as opened:
        there = opened.lookup("/bin", follow=True)
    assert there is not None  # it holds the shell
    return root.absolute() / os.fsdecode(there.path)


def archive(folder: Path, target: IO[bytes]) -> None:
    """Write the files and links of a folder as a tar archive, all of them root's."""

    def kept(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if not (entry.isfile() or entry.isdir() or entry.issym() or entry.islnk()):
            return None
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mode &= 0o755
        return entry

    with tarfile.open(fileobj=target, mode="w|") as out:
        out.add(folder, ".", filter=kept)
    target.seek(0)
