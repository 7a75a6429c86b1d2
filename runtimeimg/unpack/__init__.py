"""Layers onto a disk: an image's root file system as files, and how such a root is looked at without leaving it."""

from runtimeimg.unpack.root import Found, Root

__all__ = ["Found", "Root"]
