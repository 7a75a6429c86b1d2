"""Headers of layer tar archives: the same values always give the same bytes.

ustar, with PAX records for what it cannot hold: names that are long or not ASCII, large numbers, negative times,
extended attributes. Owners are numbers only. `hdrcharset=BINARY` precedes names that are not UTF-8 (POSIX pax,
"pax Header Block"); readers that do not know the record take the bytes as they are all the same.
"""

from __future__ import annotations

import re
import stat
from typing import NamedTuple

from runtimeimg.image.layertar import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    FILE,
    HARDLINK,
    SYMLINK,
    Entry,
)
from runtimeimg.image.tarheader import BLOCK, byte_sum

END = bytes(2 * BLOCK)
"""What ends an archive."""

_FLAGS = {FILE: b"0", HARDLINK: b"1", SYMLINK: b"2", CHARACTER: b"3", BLOCK_DEVICE: b"4", DIRECTORY: b"5", FIFO: b"6"}
_TYPES = {
    b"0": stat.S_IFREG,
    b"1": stat.S_IFREG,
    b"2": stat.S_IFLNK,
    b"3": stat.S_IFCHR,
    b"4": stat.S_IFBLK,
    b"5": stat.S_IFDIR,
    b"6": stat.S_IFIFO,
}
_MAX_ID = 0o7777777
_MAX_SIZE = 0o77777777777
_MAX_PREFIX = 155
_NAMELESS = bytes(64)
_NAME = re.compile(rb"[A-Za-z0-9_.-]{0,31}")
_MAX_NAMES = 256


class Style(NamedTuple):
    """What another writer of archives adds to a header that readers of layers pass over.

    That is the kind of the file in the field of its mode, and names of users and groups by their numbers.
    """

    typed: bool
    users: dict[int, bytes]
    groups: dict[int, bytes]

    def learn(self, entry: Entry, block: bytes) -> Style:
        """Return the style with what the header block of an entry tells beyond it; of each id the first name counts."""
        typed = self.typed or (block[100:108] > b"0010000" and block[156:157] in _TYPES)
        for names, number, field in (
            (self.users, entry.uid, block[265:297]),
            (self.groups, entry.gid, block[297:329]),
        ):
            if number not in names and len(names) < _MAX_NAMES:
                name = field.rstrip(b"\0")
                names[number] = name if is_name(name) else b""
        return self._replace(typed=typed)


def is_name(name: bytes) -> bool:
    """Tell whether a name is one of a user or group, or none at all."""
    return _NAME.fullmatch(name) is not None


_PLAIN = Style(False, {}, {})


def header(entry: Entry, style: Style = _PLAIN) -> bytes:
    """Return all header blocks of `entry`; its contents follow, filled up to a multiple of 512 bytes.

    `style` adds what another writer does; nothing is added where there is nobody to be like.
    """
    path, kind, mode, uid, gid, size, mtime, target, device, xattrs = entry
    if kind == DIRECTORY:
        path += b"/"
    records: list[tuple[bytes, bytes]] = []
    name, prefix = _split(path)
    if name is None:
        records.append((b"path", path))
        name, prefix = path[:100], b""
    if len(target) > 100 or not target.isascii():
        records.append((b"linkpath", target))
        target = target[:100]
    uid = _fitting(uid, _MAX_ID, b"uid", records)
    gid = _fitting(gid, _MAX_ID, b"gid", records)
    size = _fitting(size, _MAX_SIZE, b"size", records)
    mtime = _fitting(mtime, _MAX_SIZE, b"mtime", records)
    records += [(b"SCHILY.xattr." + key, value) for key, value in xattrs]
    flag = _FLAGS[kind]
    if style.typed:
        mode |= _TYPES[flag]
    names = style.users.get(uid, b"").ljust(32, b"\0") + style.groups.get(gid, b"").ljust(32, b"\0")
    block = _block(name, mode, uid, gid, size, mtime, flag, target, names, device, prefix)
    return _extended(records) + block if records else block


def padding(size: int) -> bytes:
    """Return what fills up contents of `size` bytes."""
    return bytes(-size % BLOCK)


def _split(path: bytes) -> tuple[bytes | None, bytes]:
    """Return name and prefix fields of a path, no name where it does not fit them."""
    if not path.isascii():
        return None, b""
    if len(path) <= 100:
        return path, b""
    at = path.rfind(b"/", 0, min(_MAX_PREFIX + 1, len(path) - 1))  # as late as it may be, as Go's writer does it
    return (path[at + 1 :], path[:at]) if at > 0 and len(path) - at <= 101 else (None, b"")


def _fitting(value: int, most: int, key: bytes, records: list[tuple[bytes, bytes]]) -> int:
    if 0 <= value <= most:
        return value
    records.append((key, b"%d" % value))
    return 0


def _block(
    name: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    flag: bytes,
    link: bytes,
    names: bytes,
    device: tuple[int, int],
    prefix: bytes,
) -> bytes:
    text = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0        %b%bustar\x0000%b%07o\0%07o\0%b" % (
        name.ljust(100, b"\0"),
        mode,
        uid,
        gid,
        size,
        mtime,
        flag,
        link.ljust(100, b"\0"),
        names,
        *device,
        prefix.ljust(167, b"\0"),
    )
    return b"%b%06o\0 %b" % (text[:148], byte_sum(text), text[156:])


def _extended(records: list[tuple[bytes, bytes]]) -> bytes:
    """Return a PAX header that holds `records`."""
    if any(key in (b"path", b"linkpath") and not _is_utf8(value) for key, value in records):
        records = [(b"hdrcharset", b"BINARY"), *records]
    data = b"".join(_record(key, value) for key, value in records)
    block = _block(b"PaxHeader", 0o644, 0, 0, len(data), 0, b"x", b"", _NAMELESS, (0, 0), b"")
    return block + data + padding(len(data))


def _record(key: bytes, value: bytes) -> bytes:
    rest = b" %b=%b\n" % (key, value)
    length = len(rest)
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d%b" % (length, rest)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
