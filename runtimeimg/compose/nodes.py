"""Names and inodes of file trees in memory: there may be a million of them, so they are kept small."""

from __future__ import annotations

from copy import copy
from typing import ClassVar, NamedTuple, Protocol

from runtimeimg.image.layertar import DIRECTORY

BASE = 0
"""Number of the base among the sources of contents; those of copies follow."""


def origin(source: int, layer: int) -> int:
    """Return a number for a layer of a source; those of higher layers and later sources are greater."""
    return source << 20 | layer


_PLACED, _SHARED, _SIZE = 1 << 64, 1 << 65, 66  # flags above the place, and where the size begins


def placed(source: int, layer: int) -> int:
    """Return the place of a layer's first entry as one number; those of the others follow on it."""
    return _PLACED | origin(source, layer) << 32


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


class Name(Protocol):
    """A name in a tree: what it leads to, and what is in that when it is a folder.

    `owner` takes the place of the inode's. `touched` is the number of the copy that last put the name there, 0 for what
    no copy did. Folders are always a Node.
    """

    @property
    def inode(self) -> Inode:
        """What the name leads to."""

    @property
    def children(self) -> dict[bytes, Name] | None:
        """What is in a folder, None for what is none."""

    @property
    def owner(self) -> Owner | None:
        """The owner that counts here, None for that of the inode."""

    @property
    def touched(self) -> int:
        """The copy."""

    @property
    def origin(self) -> int:
        """That of the inode."""


class Inode:
    """What a path leads to; hard links share one, and `shared` says that there are some.

    `size` is in bytes and `mtime` in seconds, None for a folder that was made here and takes the time of its layer.
    `place` is that of `placed`, 0 for what no layer holds. There may be a million of these, so size, place and `shared`
    are kept as one number, and an inode stands for its own name where that has no other owner and the number of its
    copy does not matter.
    """

    __slots__ = ("_packed", "attributes", "mtime")

    path: bytes = b""
    """The path of a file that is found by it rather than by place, empty for others."""
    children: ClassVar[None] = None
    owner: ClassVar[None] = None

    def __init__(self, attributes: Attributes, size: int = 0, mtime: int | None = 0, place: int = 0) -> None:
        self.attributes = attributes
        self.mtime = mtime
        self._packed = size << _SIZE | place

    @property
    def inode(self) -> Inode:
        """The inode as a name of its own."""
        return self

    @property
    def touched(self) -> int:
        """1 for what a copy brought, as a name of its own."""
        return self._packed >> 52 & 0x1FFF > 0x1000  # placed, and in another source than the base

    @property
    def size(self) -> int:
        """Bytes of the contents."""
        return self._packed >> _SIZE

    @property
    def shared(self) -> bool:
        """Whether there are hard links."""
        return bool(self._packed & _SHARED)

    @shared.setter
    def shared(self, there_are: bool) -> None:
        self._packed = self._packed | _SHARED if there_are else self._packed & ~_SHARED

    @property
    def kind(self) -> str:
        """One of the kinds of layertar, never a hard link."""
        return self.attributes.kind

    @property
    def place(self) -> Place | None:
        """Where the contents are, None for what no layer holds."""
        packed = self._packed
        if not packed & _PLACED:
            return None
        return Place(packed >> 52 & 0xFFF, packed >> 32 & 0xFFFFF, packed & 0xFFFFFFFF)

    @property
    def origin(self) -> int:
        """The place's source and layer as one number, see `origin`; negative for what no layer holds."""
        return (self._packed >> 32 & 0x1FFFFFFFF) - 0x100000000

    @property
    def entry(self) -> int:
        """The place's entry."""
        return self._packed & 0xFFFFFFFF

    def linked(self) -> Inode:
        """Return one of the same contents for hard links of its own."""
        inode = copy(self)
        inode.shared = True
        return inode


class PathInode(Inode):
    """A file that is found by its path."""

    __slots__ = ("path",)


class FolderInode(Inode):
    """A folder as a layer has it; `below` is what a lower layer of the same image has in its place."""

    __slots__ = ("below",)

    below: FolderInode | None

    def as_of(self, highest: int) -> FolderInode | None:
        """Return the folder as the layers up to the origin `highest` have it, None where they have none."""
        found: FolderInode | None = self
        while found is not None and found.origin > highest:
            found = found.below
        return found


FOLDER = Attributes(DIRECTORY, 0o755, 0, 0)
"""What a folder is that no layer describes."""
Owner = tuple[int, int]
"""User and group id."""


class Node:
    """A name that an inode cannot stand for: a folder, or one with an owner or number of its own."""

    __slots__ = ("children", "inode", "owner", "touched")

    def __init__(self, inode: Inode, *, owner: Owner | None = None, touched: int = 0) -> None:
        self.inode = inode
        self.children: dict[bytes, Name] | None = {} if inode.kind == DIRECTORY else None
        self.owner = owner
        self.touched = touched

    @property
    def origin(self) -> int:
        """That of the inode."""
        return self.inode.origin

    @property
    def attributes(self) -> Attributes:
        """What the inode has, with the owner that counts here."""
        return owned(self.inode.attributes, self.owner)


def owned(attributes: Attributes, owner: Owner | None) -> Attributes:
    """Return attributes with another owner, if one is given."""
    return attributes if owner is None else attributes._replace(uid=owner[0], gid=owner[1])
