"""File trees in memory, and the merged view of an image's layers (OCI image-spec, layer.md, "Applying Changesets").

A tree holds only what was asked for: the folders of `Wanted` with all that is in them, and what leads there. A walk
that leaves it raises NeedsMoreError; the caller adds that path and makes the tree anew, which takes milliseconds and
happens once or twice where symlinks lead elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from runtimeimg.compose.counts import Counts
from runtimeimg.image.layertar import DIRECTORY, FILE, HARDLINK, SYMLINK
from runtimeimg.image.toc import OPAQUE, WHITEOUT, Row

MAX_LINKS = 40
"""Symlinks followed in one path, as Linux has it (MAXSYMLINKS)."""
FOLDER: Row = (b"", DIRECTORY, 0o755, 0, 0, 0, 0, b"", (0, 0), ())
"""What a folder is that no layer describes."""


class NeedsMoreError(Exception):
    """A walk came to `paths`, which the tree does not cover."""

    def __init__(self, paths: Sequence[bytes]) -> None:
        super().__init__(paths)
        self.paths = paths


class EndlessLinksError(Exception):
    """A path goes through more than MAX_LINKS symlinks."""


class LeadsOutError(Exception):
    """A symlink of a folder that may not be left leads out of it."""


class Wanted:
    """Paths that a tree covers: some folders or files with all that is below, and all folders above them."""

    def __init__(self, paths: Iterable[bytes] = ()) -> None:
        self._whole: set[bytes] = set()
        self._exact: set[bytes] = set()
        self._below: tuple[bytes, ...] | None = None
        self._followed = 0
        for path in paths:
            self.add(path)

    def add(self, path: bytes) -> None:
        """Cover `path` and what is below it too."""
        if self.covers_below(path):
            return
        self._whole.add(path)
        self._below = None
        at = path
        while at not in self._exact:
            self._exact.add(at)
            at = at.rpartition(b"/")[0]

    def follow(self, path: bytes, target: bytes) -> bool:
        """Cover what a symlink at `path` leads to, where something covered lies at or behind it; tell whether it does.

        That is a guess, as other layers may have something else there; it spares reading a layer once more.
        """
        if path not in self._exact or self._followed >= MAX_LINKS:
            return False
        behind = [whole[len(path) :] for whole in list(self._whole) if whole == path or whole.startswith(path + b"/")]
        self._followed += 1
        at = [] if target.startswith(b"/") else path.split(b"/")[:-1]
        for part in target.split(b"/"):
            if part == b"..":
                del at[-1:]
            elif part not in (b"", b"."):
                at.append(part)
        for rest in behind:
            self.add(b"/".join(at) + rest if at else rest[1:])
        return bool(behind)

    @property
    def roots(self) -> frozenset[bytes]:
        """The paths that are covered with all below, none within another."""
        return frozenset(path for path in self._whole if path == b"" or not self.covers_below(path.rpartition(b"/")[0]))

    def copy(self) -> Wanted:
        """Return the same for another tree."""
        return Wanted(self._whole)

    def covers(self, path: bytes) -> bool:
        """Tell whether what lies at `path` itself is in the tree."""
        if self._below is None:
            self._below = tuple(item + b"/" for item in self._whole)
        return path in self._exact or path.startswith(self._below) or b"" in self._whole

    def covers_below(self, path: bytes) -> bool:
        """Tell whether all that is below `path` is in the tree."""
        while path not in self._whole:
            if not path:
                return False
            path = path.rpartition(b"/")[0]
        return True


class Place(NamedTuple):
    """Where contents are: number of the source, of its layer, and of the entry in the layer's table."""

    source: int
    layer: int
    entry: int


class Inode:
    """What a path leads to; hard links share one, and `shared` says that there are some.

    `row` is that of a table, its path left out where the contents are found by place. There may be a million of
    these, so the place is kept as one number.
    """

    __slots__ = ("_place", "row", "shared")

    def __init__(self, row: Row, place: Place | None) -> None:
        self.row = row
        self.shared = False
        self._place = -1 if place is None else (place.source << 32 | place.layer) << 32 | place.entry

    @property
    def kind(self) -> str:
        """One of the kinds of layertar, never a hard link."""
        kind: str = self.row[1]
        return kind

    @property
    def place(self) -> Place | None:
        """Where the contents are, None for what no layer holds."""
        packed, low = self._place, 0xFFFFFFFF
        return None if packed < 0 else Place(packed >> 64, packed >> 32 & low, packed & low)

    def copied(self, owner: tuple[int, int] | None) -> Inode:
        """Return one of the same contents that is not shared, with another owner if one is given."""
        inode = Inode(self.row if owner is None else (*self.row[:3], *owner, *self.row[5:]), None)
        inode._place = self._place
        return inode


class Node:
    """A name in a tree: an inode, and what is in it when that is a folder. `touched` is for whoever changes a tree."""

    __slots__ = ("children", "inode", "touched")

    def __init__(self, inode: Inode, *, touched: bool = False) -> None:
        self.inode = inode
        self.children: dict[bytes, Node] | None = {} if inode.kind == DIRECTORY else None
        self.touched = touched


class Tree:
    """A root folder, and what of it is covered. With `strict` no path and no symlink may lead out of it."""

    def __init__(self, wanted: Wanted, *, strict: bool = False) -> None:
        self._strict = strict
        self.root = Node(Inode(FOLDER, None))
        self.wanted = wanted

    def resolve(self, path: bytes, *, last: bool = True) -> tuple[bytes, Node | None]:
        """Return the path without symlinks that `path` comes to, and what is there.

        As within a chroot: absolute targets start at the tree's root and `..` stops there. With `last` off, a symlink
        at the very end is not followed. Where something on the way is missing the rest is kept as it is and nothing
        returned. Raises EndlessLinksError, NeedsMoreError, and NotADirectoryError with the path of what is none.
        """
        walk = _Walk(self.root, path, strict=self._strict)
        while walk.pending:
            part = walk.pending.pop()
            if part == b"..":
                walk.up()
            elif part not in (b"", b"."):
                self._step(walk, part, last=last)
        return b"/".join(walk.at), None if walk.missing else walk.nodes[-1]

    def _step(self, walk: _Walk, part: bytes, *, last: bool) -> None:
        """Go into the folder, or along the symlink, that `part` names."""
        missing = walk.missing
        walk.at.append(part)
        if missing:
            return
        joined = b"/".join(walk.at)
        if not self.wanted.covers(joined):
            raise NeedsMoreError([joined])
        children = walk.nodes[-1].children
        if children is None:
            raise NotADirectoryError(b"/".join(walk.at[:-1]))
        node = children.get(part)
        if node is not None and node.inode.kind == SYMLINK and (last or any(walk.pending)):
            walk.at.pop()
            walk.follow(node.inode.row[7])
        elif node is not None:
            walk.nodes.append(node)


class _Walk:
    """A path on its way: what is left of it, and the names and nodes passed; the root is the first node."""

    def __init__(self, root: Node, path: bytes, *, strict: bool) -> None:
        self.pending = path.split(b"/")[::-1]
        self.at: list[bytes] = []
        self.nodes = [root]
        self._strict = strict
        self._followed = 0

    @property
    def missing(self) -> bool:
        """Whether the last of the names passed is not there."""
        return len(self.nodes) <= len(self.at)

    def up(self) -> None:
        """Leave a folder; the root cannot be left."""
        if self._strict and not self.at:
            raise LeadsOutError
        del self.at[-1:]
        del self.nodes[len(self.at) + 1 :]

    def follow(self, target: bytes) -> None:
        """Put a symlink's target in front of what is left."""
        self._followed += 1
        if self._followed > MAX_LINKS:
            raise EndlessLinksError
        self.pending += target.split(b"/")[::-1]
        if target.startswith(b"/"):
            if self._strict:
                raise LeadsOutError
            self.at.clear()
            del self.nodes[1:]


class Table(Protocol):
    """What a tree is merged from: a Toc, or the entries of a folder."""

    @property
    def has_paths(self) -> bool:
        """Whether contents are found by path rather than by place."""

    @property
    def whiteouts(self) -> int:
        """How many whiteouts there are among the rows."""

    def rows(self) -> Iterator[Row]:
        """Yield the entries."""


def merge(
    layers: Sequence[Table], wanted: Wanted, source: int = 0, *, contents: bool = True, strict: bool = False
) -> Tree:
    """Return the tree that `layers`, base first, make together; `source` is put into the places of its contents.

    NeedsMoreError names the targets of hard links that are not covered. Without `contents` they are not needed, and
    such a link counts as a file of its own. Raises InvalidDocumentError beyond the budgets for rows, nodes and folders.
    """
    tree = Tree(wanted, strict=strict)
    count = Counts()
    for number, toc in enumerate(layers):
        merger = _Merger(tree, source, number, contents=contents, paths=toc.has_paths, counts=count)
        merger.apply(toc)
        if merger.uncovered:
            raise NeedsMoreError(merger.uncovered)
    return tree


class _Merger:
    """Applies one layer to a tree."""

    def __init__(self, tree: Tree, source: int, layer: int, *, contents: bool, paths: bool, counts: Counts) -> None:
        self._counts = counts
        self.uncovered: list[bytes] = []
        self._contents = contents
        self._paths = paths
        self._root = tree.root
        self._wanted = tree.wanted
        self._source = source
        self._layer = layer
        self._parent = b""
        self._folder = tree.root
        self._same: dict[Any, Any] = {}

    def apply(self, toc: Table) -> None:
        """Remove what the layer's whiteouts hide, whatever their place in the archive, then add its entries."""
        covers, counts = self._wanted.covers, self._counts
        if toc.whiteouts:
            for row in toc.rows():
                if row[1] in (WHITEOUT, OPAQUE) and covers(row[0]):
                    self._remove(row[0], below=row[1] == OPAQUE)
        for index, row in enumerate(toc.rows()):
            counts.rows += 1
            if covers(row[0]) and row[1] not in (WHITEOUT, OPAQUE):
                counts.nodes += 1
                self._add(row, index)
            if not counts.rows % 1024:
                counts.check()
        counts.check()

    def _remove(self, path: bytes, *, below: bool) -> None:
        node: Node | None = self._root
        parent, name = node, b""
        for part in path.split(b"/") if path else ():
            if node is None or node.children is None:
                return
            parent, name, node = node, part, node.children.get(part)
        if node is None:
            return
        if below:
            if node.children is not None:
                node.children.clear()
        elif parent is not None and parent.children is not None:
            del parent.children[name]

    def _add(self, row: Row, index: int) -> None:
        path: bytes = row[0]
        if not path:
            if row[1] == DIRECTORY:
                self._root.inode = self._inode(row, index)
            return
        parent, _, name = path.rpartition(b"/")
        children = self._children(parent)
        present = children.get(name)
        if row[1] == DIRECTORY and present is not None and present.children is not None:
            present.inode = self._inode(row, index)
            return
        if row[1] == HARDLINK:
            inode = self._linked(row)
            if inode is None:
                return
        else:
            inode = self._inode(row, index)
        children[name] = Node(inode)
        if present is not None and present.children is not None:
            self._parent, self._folder = b"", self._root

    def _inode(self, row: Row, index: int) -> Inode:
        """Return an inode that takes little memory: equal values are kept once, the path only where it is needed."""
        path, kind, mode, uid, gid, size, mtime, target, device, xattrs = row
        same = self._same.setdefault
        values = (kind, same(mode, mode), same(uid, uid), same(gid, gid), size, same(mtime, mtime), target)
        kept = (path if self._paths else b"", *values, same(device, device), xattrs)
        return Inode(kept, Place(self._source, self._layer, index))

    def _linked(self, row: Row) -> Inode | None:
        """Return the inode that a hard link shares, with the owner and times that the link's own entry gives.

        None where the target is nowhere, which is left to be an error to whoever wants the file.
        """
        target: bytes = row[7]
        if not self._wanted.covers(target):
            if self._contents:
                self.uncovered.append(target)
                return None
            return Inode((row[0], FILE, *row[2:]), None)
        node: Node | None = self._root
        for part in target.split(b"/"):
            node = node.children.get(part) if node is not None and node.children is not None else None
        if node is None or node.children is not None:
            return None
        inode = node.inode
        inode.shared = True
        inode.row = (*inode.row[:2], *row[2:5], inode.row[5], row[6], *inode.row[7:])
        return inode

    def _children(self, parent: bytes) -> dict[bytes, Node]:
        """Return the folder at `parent`, made where there is none; it hides what else a lower layer has there."""
        if parent != self._parent or not parent:
            node = self._root
            for part in parent.split(b"/") if parent else ():
                assert node.children is not None
                child = node.children.get(part)
                if child is None or child.children is None:
                    child = node.children[part] = Node(Inode(FOLDER, None))
                    self._counts.folders += 1
                    if not self._counts.folders % 1024:
                        self._counts.check()
                node = child
            self._parent, self._folder = parent, node
        assert self._folder.children is not None
        return self._folder.children
