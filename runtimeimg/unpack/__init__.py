"""Layers onto a disk: an image's root file system as files, and how such a root is looked at without leaving it."""

from runtimeimg.unpack.root import Found, Root
from runtimeimg.unpack.rootfs import Unpacked, unpack, unpack_into

__all__ = ["Found", "Root", "Unpacked", "unpack", "unpack_into"]
