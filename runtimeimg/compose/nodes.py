"""Names and inodes of file trees in memory: there may be a million of them, so they are kept small."""

from __future__ import annotations

from typing import NamedTuple

from runtimeimg.image.layertar import DIRECTORY

BASE = 0
"""Number of the base among the sources of contents; those of copies follow."""


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

    `size` is in bytes and `mtime` in seconds, None for a folder that was made here and takes the time of its layer.
    `path` is that of a file that is found by it rather than by place, empty for others. There may be a million of
    these, so the place is kept as one number.
    """

    __slots__ = ("_place", "attributes", "mtime", "path", "shared", "size")

    def __init__(
        self,
        attributes: Attributes,
        size: int = 0,
        mtime: int | None = 0,
        place: Place | None = None,
        path: bytes = b"",
    ) -> None:
        self.attributes = attributes
        self.size = size
        self.mtime = mtime
        self.path = path
        self.shared = False
        self._place = -1 if place is None else origin(place.source, place.layer) << 32 | place.entry

    @property
    def kind(self) -> str:
        """One of the kinds of layertar, never a hard link."""
        return self.attributes.kind

    @property
    def place(self) -> Place | None:
        """Where the contents are, None for what no layer holds."""
        packed = self._place
        return None if packed < 0 else Place(packed >> 52, packed >> 32 & 0xFFFFF, packed & 0xFFFFFFFF)

    @property
    def origin(self) -> int:
        """The place's source and layer as one number, see `origin`; negative for what no layer holds."""
        return self._place >> 32

    @property
    def entry(self) -> int:
        """The place's entry."""
        return self._place & 0xFFFFFFFF

    def linked(self) -> Inode:
        """Return one of the same contents for hard links of its own."""
        inode = Inode(self.attributes, self.size, self.mtime, None, self.path)
        inode._place = self._place
        inode.shared = True
        return inode


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


def origin(source: int, layer: int) -> int:
    """Return a number for a layer of a source; those of higher layers and later sources are greater."""
    return source << 20 | layer


FOLDER = Attributes(DIRECTORY, 0o755, 0, 0)
"""What a folder is that no layer describes."""
Owner = tuple[int, int]
"""User and group id."""


class Node:
    """A name in a tree: an inode, and what is in it when that is a folder.

    `owner` takes the place of the inode's. `touched` is the number of the copy that last put the name there, 0 for what
    no copy did.
    """

    __slots__ = ("children", "inode", "owner", "touched")

    def __init__(self, inode: Inode, *, owner: Owner | None = None, touched: int = 0) -> None:
        self.inode = inode
        self.children: dict[bytes, Node] | None = {} if inode.kind == DIRECTORY else None
        self.owner = owner
        self.touched = touched

    @property
    def attributes(self) -> Attributes:
        """What the inode has, with the owner that counts here."""
        return owned(self.inode.attributes, self.owner)


def owned(attributes: Attributes, owner: Owner | None) -> Attributes:
    """Return attributes with another owner, if one is given."""
    return attributes if owner is None else attributes._replace(uid=owner[0], gid=owner[1])
