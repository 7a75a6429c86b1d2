"""Owners of files that cannot be set: kept in an extended attribute, `user.rootlesscontainers`.

Its value is a message of protocol buffers, the owner as field 1 and the group as field 2, both varints. 0xffffffff
stands for an id that is the one on the disk, which is root's as the image has it; a file of root:root has no attribute.
This is what umoci writes, and what tools that emulate owners (PRoot, user.rootlesscontainers) read.
"""

from __future__ import annotations

NAME = b"user.rootlesscontainers"
_SAME = 0xFFFFFFFF


def encoded(uid: int, gid: int) -> bytes | None:
    """Return the attribute's value for an owner, None where there is none to be set."""
    if not uid and not gid:
        return None
    return b"\x08" + _varint(uid or _SAME) + b"\x10" + _varint(gid or _SAME)


def _varint(number: int) -> bytes:
    made = bytearray()
    while number >= 0x80:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)
