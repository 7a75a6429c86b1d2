"""Names and inodes of file trees in memory: there may be a million of them, so they are kept small."""

from __future__ import annotations

from typing import NamedTuple

from runtimeimg.image.layertar import DIRECTORY


class Place(NamedTuple):
    """Where contents are: number of the source, of its layer, and of the entry in the layer's table."""

    source: int
    layer: int
    entry: int


class Attributes(NamedTuple):
    """What many files have in common; equal ones are kept once. The fields are those of layertar's Entry."""

    kind: str
    mode: int
    uid: int
    gid: int
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


class Inode:
    """What a path leads to; hard links share one, and `shared` says that there are some.

    `size` is in bytes and `mtime` in seconds. `path` is that of a file that is found by it rather than by place, empty
    for others. There may be a million of these, so the place is kept as one number.
    """

    __slots__ = ("_place", "attributes", "mtime", "path", "shared", "size")

    def __init__(
        self, attributes: Attributes, size: int = 0, mtime: int = 0, place: Place | None = None, path: bytes = b""
    ) -> None:
        self.attributes = attributes
        self.size = size
        self.mtime = mtime
        self.path = path
        self.shared = False
        self._place = -1 if place is None else (place.source << 20 | place.layer) << 32 | place.entry

    @property
    def kind(self) -> str:
        """One of the kinds of layertar, never a hard link."""
        return self.attributes.kind

    @property
    def place(self) -> Place | None:
        """Where the contents are, None for what no layer holds."""
        packed = self._place
        return None if packed < 0 else Place(packed >> 52, packed >> 32 & 0xFFFFF, packed & 0xFFFFFFFF)

    def copied(self, attributes: Attributes) -> Inode:
        """Return one of the same contents that is not shared, with these attributes."""
        inode = Inode(attributes, self.size, self.mtime, None, self.path)
        inode._place = self._place
        return inode


FOLDER = Attributes(DIRECTORY, 0o755, 0, 0)
"""What a folder is that no layer describes."""


class Node:
    """A name in a tree: an inode, and what is in it when that is a folder. `touched` is for whoever changes a tree."""

    __slots__ = ("children", "inode", "touched")

    def __init__(self, inode: Inode, *, touched: bool = False) -> None:
        self.inode = inode
        self.children: dict[bytes, Node] | None = {} if inode.kind == DIRECTORY else None
        self.touched = touched
