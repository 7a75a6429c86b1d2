"""The merged view of an image's layers (OCI image-spec, layer.md, "Applying Changesets")."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from runtimeimg.compose.counts import Counts
from runtimeimg.compose.nodes import BASE, FOLDER, Attributes, FolderInode, Inode, Name, Node, PathInode, placed
from runtimeimg.compose.tree import Tree
from runtimeimg.compose.wanted import NeedsMoreError, Wanted
from runtimeimg.image.layertar import DIRECTORY, FILE, HARDLINK
from runtimeimg.image.toc import OPAQUE, WHITEOUT, Row

InodeT = TypeVar("InodeT", bound=Inode)
_WHITEOUTS = (WHITEOUT, OPAQUE)


class Table(Protocol):
    """What a tree is merged from: a Toc, or the entries of a folder."""

    @property
    def has_paths(self) -> bool:
        """Whether contents are found by path rather than by place."""

    @property
    def whiteouts(self) -> int:
        """How many whiteouts there are among the rows."""

    def rows(self, covers: Callable[[bytes], bool] = ...) -> Iterator[tuple[int, Row]]:
        """Yield the entries and their indexes; those of paths that `covers` is not true of may be left out."""


def merge(
    layers: Sequence[Table], wanted: Wanted, source: int = BASE, *, contents: bool = True, strict: bool = False
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
        self._place = placed(source, layer)
        self._parent = b""
        self._folder = tree.root
        self._touched = int(source != BASE)
        self._same: dict[int, int] = {}
        self._attributes: dict[Any, Attributes] = {}

    def apply(self, toc: Table) -> None:
        """Remove what the layer's whiteouts hide, whatever their place in the archive, then add its entries."""
        covers, counts = self._wanted.covers, self._counts
        if toc.whiteouts:
            for _, row in toc.rows(covers):
                if row[1] in _WHITEOUTS and covers(row[0]):
                    self._remove(row[0], below=row[1] == OPAQUE)
        for index, row in toc.rows(covers):
            counts.rows += 1
            path, kind = row[0], row[1]
            if covers(path) and kind not in _WHITEOUTS:
                counts.nodes += 1
                self._add(path, kind, row, index)
            if not counts.rows & 1023:
                counts.check()
        counts.check()

    def _remove(self, path: bytes, *, below: bool) -> None:
        node: Name | None = self._root
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

    def _add(self, path: bytes, kind: str, row: Row, index: int) -> None:
        if not path:
            if kind == DIRECTORY:
                self._folder_over(self._root, row, index)
            return
        parent, _, name = path.rpartition(b"/")
        children = self._folder.children if parent == self._parent and parent else self._children(parent)
        assert children is not None
        present = children.get(name)
        made: Name
        if kind == DIRECTORY:
            inode = self._folder_over(present, row, index)
            if inode is None:
                return
            made = Node(inode, touched=self._touched)
        elif kind == HARDLINK:
            linked = self._linked(row)
            if linked is None:
                return
            made = linked
        elif self._paths:
            made = self._made(PathInode, row, index)
            made.path = path
        else:
            made = self._made(Inode, row, index)
        children[name] = made
        if present is not None and present.children is not None:
            self._parent, self._folder = b"", self._root

    def _folder_over(self, present: Name | None, row: Row, index: int) -> FolderInode | None:
        """Return a folder's inode; None where a folder is there already, which takes it on and keeps what is in it."""
        made = self._made(FolderInode, row, index)
        made.below = None
        if not isinstance(present, Node) or present.children is None:
            return made
        if isinstance(present.inode, FolderInode):
            made.below = present.inode
        present.inode = made
        return None

    def _made(self, of: type[InodeT], row: Row, index: int) -> InodeT:
        """Return an inode that takes little memory: equal values are kept once."""
        _, kind, mode, uid, gid, size, mtime, target, device, xattrs = row
        values = (kind, mode, uid, gid, target, device, xattrs)
        attributes = self._attributes.get(values)
        if attributes is None:
            attributes = self._attributes[values] = Attributes(*values)
        return of(attributes, size, self._same.setdefault(mtime, mtime), self._place + index)

    def _linked(self, row: Row) -> Inode | None:
        """Return the inode that a hard link shares, with the owner and times that the link's own entry gives.

        None where the target is nowhere, which is left to be an error to whoever wants the file.
        """
        target: bytes = row[7]
        if not self._wanted.covers(target):
            if self._contents:
                self.uncovered.append(target)
                return None
            return Inode(Attributes(FILE, *row[2:5], *row[7:]), row[5], row[6])
        node: Name | None = self._root
        for part in target.split(b"/"):
            node = node.children.get(part) if node is not None and node.children is not None else None
        if node is None or node.children is not None:
            return None
        inode = node.inode
        inode.shared = True
        inode.attributes = inode.attributes._replace(mode=row[2], uid=row[3], gid=row[4])
        inode.mtime = row[6]
        return inode

    def _children(self, parent: bytes) -> dict[bytes, Name]:
        """Return what is in the folder at `parent`, made where there is none; it hides what else a lower layer has."""
        node = self._root
        for part in parent.split(b"/") if parent else ():
            assert node.children is not None
            child = node.children.get(part)
            if not isinstance(child, Node) or child.children is None:
                child = node.children[part] = Node(Inode(FOLDER))
                self._counts.folders += 1
                if not self._counts.folders % 1024:
                    self._counts.check()
            node = child
        self._parent, self._folder = parent, node
        assert node.children is not None
        return node.children
