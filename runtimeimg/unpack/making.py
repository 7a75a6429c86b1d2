"""The making of files, links, devices and the dressing of directories, each by a name in an open directory.

The order is that in which Linux keeps what was set: contents, owner (which takes set-user-ID bits and capabilities
away), extended attributes, permission bits, times.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator

from runtimeimg.image.holes import is_hole
from runtimeimg.image.layertar import CHARACTER, FIFO, SYMLINK, Entry
from runtimeimg.image.reserving import ReservingFile
from runtimeimg.image.tarheader import TarFormatError, shown
from runtimeimg.unpack import owners
from runtimeimg.unpack.folders import Folder

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LARGE = 1 << 22
_LEFT_OUT = (b"trusted.overlay.", b"user.overlay.", b"security.selinux")
"""What attributes begin with that mean something to whoever mounts a file system, not to what is in it."""
_DEFAULT_ACL = b"system.posix_acl_default"
_NAMED = 20
_MAX_MAJOR, _MAX_MINOR = 1 << 12, 1 << 20
_OURS_ALONE = frozenset({errno.EPERM, errno.EACCES})
_NO_ROOM = frozenset({errno.ERANGE, errno.ENOSPC, errno.E2BIG})
_UNKNOWN = frozenset({errno.ENOTSUP})


class Maker:
    """Makes what entries say. `left_out` counts what the file system or the lack of privilege did not allow, by name.

    `rootless` keeps owners in an attribute in place of setting them, makes devices as empty files and passes over
    attributes that this user may not set.
    """

    def __init__(self, *, rootless: bool) -> None:
        self._rootless = rootless
        self.left_out: Counter[str] = Counter()
        self._inherits = False

    def file(self, folder: Folder, name: bytes, entry: Entry, time: int, content: Iterator[memoryview]) -> None:
        """Make a regular file; FileExistsError where something is, before anything of its contents is read."""
        fd = os.open(name, _NEW, 0o600, dir_fd=folder.fd)
        try:
            if entry[5]:
                _write(fd, entry[5], content)
            self._dress(fd, entry)
            os.fchmod(fd, entry[2])
            os.utime(fd, ns=(time, time))
        finally:
            os.close(fd)

    def folder(self, folder: Folder, entry: Entry, time: int, *, new: bool) -> None:
        """Give a directory the owner, attributes, mode and time of its entry, in place of what it had."""
        if not new:
            told = {key for key, _ in entry.xattrs}
            for key in _attributes(folder.fd):
                if key not in told:
                    self._try(key, lambda key=key: os.removexattr(folder.fd, key))  # type: ignore[misc]
        self._dress(folder.fd, entry)
        folder.set_mode(entry.mode)
        folder.time, folder.changed = time, True
        self._inherits = self._inherits or any(key == _DEFAULT_ACL for key, _ in entry.xattrs)

    def other(self, folder: Folder, name: bytes, entry: Entry, time: int) -> None:
        """Make a symlink, a device or a pipe; FileExistsError where something is."""
        if entry.kind == SYMLINK:
            os.symlink(entry.target, name, dir_fd=folder.fd)
        elif entry.kind == FIFO:
            os.mkfifo(name, 0o600, dir_fd=folder.fd)
        elif self._rootless:
            self.file(folder, name, entry, time, iter(()))
            self.left_out["devices, which are empty files"] += 1
            return
        else:
            _device(folder, name, entry)
        self._dress_by_name(folder, name, entry, time)

    def link(self, source: int, target: bytes, folder: Folder, name: bytes, entry: Entry, time: int) -> None:
        """Make a hard link to `target` in the open directory `source`; the inode takes what the link's entry says."""
        os.link(target, name, src_dir_fd=source, dst_dir_fd=folder.fd, follow_symlinks=False)
        self._dress_by_name(folder, name, entry, time)

    # What is said of an inode

    def _dress(self, fd: int, entry: Entry) -> None:
        """Set the owner and the attributes of an open file or directory."""
        if not self._rootless:
            os.fchown(fd, entry[3], entry[4])
        elif (kept := owners.encoded(entry[3], entry[4])) is not None:
            self._try(owners.NAME, lambda: os.setxattr(fd, owners.NAME, kept))
        if self._inherits:
            self._disinherit(fd, entry)
        for key, value in entry[9]:
            if self._takes(key):
                self._try(key, lambda key=key, value=value: os.setxattr(fd, key, value))  # type: ignore[misc]

    def _dress_by_name(self, folder: Folder, name: bytes, entry: Entry, time: int) -> None:
        """Set the same of what cannot be opened, and mode and time."""
        path = b"/proc/self/fd/%d/%s" % (folder.fd, name)
        status = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
        if self._rootless:
            kept = owners.encoded(entry.uid, entry.gid)
            if stat.S_ISREG(status.st_mode) and kept is not None:
                self._try(owners.NAME, lambda: os.setxattr(path, owners.NAME, kept, follow_symlinks=False))
        elif (status.st_uid, status.st_gid) != (entry.uid, entry.gid):
            os.chown(name, entry.uid, entry.gid, dir_fd=folder.fd, follow_symlinks=False)
            status = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
        for key, value in entry.xattrs:
            if self._takes(key):
                self._try(key, lambda key=key, value=value: os.setxattr(path, key, value, follow_symlinks=False))  # type: ignore[misc]
        if not stat.S_ISLNK(status.st_mode) and stat.S_IMODE(status.st_mode) != entry.mode:
            _chmod(folder, name, entry.mode)
        os.utime(name, ns=(time, time), dir_fd=folder.fd, follow_symlinks=False)

    def _takes(self, key: bytes) -> bool:
        if self._rootless and key == owners.NAME:
            return False
        if key.startswith(_LEFT_OUT):
            self._leave_out(key)
            return False
        return True

    def _try(self, key: bytes, work: Callable[[], None]) -> None:
        """Change an attribute, or count it among what is left out where that is for a reason that is no fault."""
        try:
            work()
        except OSError as error:
            if error.errno not in _UNKNOWN and not (self._rootless and error.errno in _OURS_ALONE):
                if error.errno in _NO_ROOM:
                    raise TarFormatError("the file system has no room for its extended attributes") from None
                if error.errno == errno.EINVAL:
                    raise TarFormatError(f"its attribute '{shown(key)}' has an impossible value") from None
                raise
            self._leave_out(key)

    def _leave_out(self, key: bytes) -> None:
        """Count an attribute that is not set, by its name as long as there are few."""
        name = f"attribute {shown(key)}"
        self.left_out[name if name in self.left_out or len(self.left_out) < _NAMED else "other attributes"] += 1

    def _disinherit(self, fd: int, entry: Entry) -> None:
        """Take back what a new inode has of the default access list of its directory."""
        told = {key for key, _ in entry.xattrs}
        for key in (_DEFAULT_ACL, b"system.posix_acl_access"):
            if key not in told:
                with contextlib.suppress(OSError):
                    os.removexattr(fd, key)


def _write(fd: int, size: int, content: Iterator[memoryview]) -> None:
    if size > _LARGE:
        _write_large(fd, size, content)
        return
    sparse = False
    for view in content:
        if is_hole(view):
            sparse = True
            os.lseek(fd, len(view), os.SEEK_CUR)
            continue
        written = os.write(fd, view)
        while written < len(view):
            written += os.write(fd, view[written:])
    if sparse:
        os.ftruncate(fd, size)


def _write_large(fd: int, size: int, content: Iterator[memoryview]) -> None:
    with ReservingFile(fd, "wb", closefd=False) as file:
        for view in content:
            if is_hole(view):
                file.skip(len(view))
                continue
            written = file.write(view)
            while written < len(view):
                written += file.write(view[written:])
    if os.fstat(fd).st_size != size:
        os.ftruncate(fd, size)


def _device(folder: Folder, name: bytes, entry: Entry) -> None:
    major, minor = entry.device
    if not 0 <= major < _MAX_MAJOR or not 0 <= minor < _MAX_MINOR:
        raise TarFormatError(f"there is no device {major}:{minor}")
    kind = stat.S_IFCHR if entry.kind == CHARACTER else stat.S_IFBLK
    os.mknod(name, kind | 0o600, os.makedev(major, minor), dir_fd=folder.fd)


def _chmod(folder: Folder, name: bytes, mode: int) -> None:
    """Set permission bits of something that is no link and must not be opened for it."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.fd)
    try:
        os.chmod(f"/proc/self/fd/{fd}", mode)  # noqa: PTH101 - fchmod(2) takes no descriptor of this kind
    finally:
        os.close(fd)


def _attributes(fd: int) -> list[bytes]:
    try:
        return [os.fsencode(key) for key in os.listxattr(fd)]
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise
