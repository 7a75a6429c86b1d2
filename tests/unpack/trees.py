"""Trees on the disk as values, and archives with what the standard library's tarfile does not write."""

import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

from runtimeimg.image.layertar import FILE, Entry
from runtimeimg.image.tarwrite import header, padding

KINDS = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
    stat.S_IFIFO: "p",
}


class There(NamedTuple):
    """What is at a path; `first` is the first path, in order, of those that share an inode."""

    kind: str
    mode: int
    uid: int
    gid: int
    time: int
    content: bytes
    xattrs: dict[str, bytes]
    device: int
    first: str


def tree(top: Path) -> dict[str, There]:
    """Return all that is below `top`, itself included as the empty path, by path."""
    found: dict[str, There] = {}
    inodes: dict[int, str] = {}
    for path in sorted([os.fsencode(top), *_below(os.fsencode(top))]):
        status = os.lstat(path)
        name = os.fsdecode(path[len(os.fsencode(top)) + 1 :])
        kind = KINDS[stat.S_IFMT(status.st_mode)]
        content = b""
        if kind == "f":
            content = Path(os.fsdecode(path)).read_bytes()
        elif kind == "l":
            content = os.fsencode(Path(os.fsdecode(path)).readlink())
        found[name] = There(
            kind=kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            time=status.st_mtime_ns,
            content=content,
            xattrs={key: os.getxattr(path, key, follow_symlinks=False) for key in attributes(path)},
            device=status.st_rdev,
            first=inodes.setdefault(status.st_ino, name),
        )
    return found


def attributes(path: bytes) -> list[str]:
    """Names of the extended attributes of what is at a path, a link not followed."""
    return sorted(os.listxattr(path, follow_symlinks=False))


def _below(top: bytes) -> list[bytes]:
    return [above + b"/" + name for above, folders, files in os.walk(top) for name in folders + files]


def entry(path: bytes, kind: str = FILE, data: bytes = b"", **more: Any) -> bytes:
    """An entry of an archive with its contents, whatever its names and numbers are."""
    values = {"mode": 0o644, "uid": 0, "gid": 0, "size": len(data), "mtime": 1, **more}
    return header(Entry(path=path, kind=kind, **values)) + data + padding(len(data))


def archive(*entries: bytes) -> bytes:
    """An archive of such entries."""
    return b"".join(entries) + bytes(1024)
