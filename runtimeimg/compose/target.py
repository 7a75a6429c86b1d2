"""What COPY and WORKDIR do to the base's file tree, as BuildKit does it (docs/decisions/0001-copy-semantics.md).

The tree is the base's, merged from its tables of contents; names that are added or changed are marked `touched` with
all folders above them. A layer made of the touched names then looks on top of the base as the tree does, in every
engine: the entries of folders that were there repeat the base's owners and modes, because an engine that unpacks a
layer without them makes them anew as 0755 root:root (Docker's overlay2 does), and no entry ever goes through a
symlink of the base or replaces one by a folder.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from runtimeimg.budgets import MAX_PLACED
from runtimeimg.compose.find import Found
from runtimeimg.compose.nodes import FOLDER, Attributes, Inode, Node
from runtimeimg.compose.tree import EndlessLinksError, Tree
from runtimeimg.compose.wanted import NeedsMoreError
from runtimeimg.errors import BuildFailed, UsageError
from runtimeimg.image.layertar import SYMLINK

Owner = tuple[int, int]


class Target:
    """A tree that is copied into; `mtime` is that of folders it makes, in seconds."""

    def __init__(self, tree: Tree, *, mtime: int) -> None:
        self._tree = tree
        self._mtime = mtime
        self._placed = 0

    @property
    def tree(self) -> Tree:
        """The tree as it is now."""
        return self._tree

    @property
    def root(self) -> Node:
        """The root folder."""
        return self._tree.root

    def copy(self, sources: Sequence[Found], destination: str, owner: Owner | None) -> None:
        """Copy what a source named to `destination`; `owner` None keeps the owners.

        A folder's contents go into the destination. A file goes into it when it is a folder or ends in `/`, else to
        it. Raises UsageError when several sources are to become one file, BuildFailed when folders and files clash.
        """
        is_folder = destination.endswith(("/", "/."))
        if len(sources) > 1 and not is_folder:
            raise UsageError(
                f"{len(sources)} files match, and the destination '{destination}' is not marked as a folder",
                hint=f"write '{destination}/'",
            )
        wanted = os.fsencode(destination)
        for found in sources:
            self._make_folders(self._resolved(wanted if is_folder else _parent(wanted))[0], owner)
            path, there = self._resolved(wanted)
            if found.node.children is not None:
                self._copy_folder(found, path, there, owner)
            else:
                self._copy_file(found, path, there, owner)

    def make_work_dir(self, path: str, owner: Owner | None) -> None:
        """Make a folder and those above it where they are missing."""
        self._make_folders(self._resolved(os.fsencode(path))[0], owner)

    def has_folder(self, path: str) -> bool:
        """Tell whether a folder is at `path`, symlinks followed; raise BuildFailed when that is something else."""
        at, node = self._resolved(os.fsencode(path))
        if node is not None and node.children is None:
            raise BuildFailed(f"'/{_text(at)}' is a file, no folder to work in")
        return node is not None

    def settle(self) -> None:
        """Forget what was touched: it has been written to a layer."""
        stack = [self.root]
        while stack:
            node = stack.pop()
            node.touched = False
            stack += [child for child in (node.children or {}).values() if child.touched]

    def _copy_folder(self, found: Found, path: bytes, there: Node | None, owner: Owner | None) -> None:
        if there is not None and there.children is None:
            raise BuildFailed(f"folder '/{_text(found.path)}' cannot be copied to '/{_text(path)}': that is no folder")
        if there is not None and not self._tree.wanted.covers_below(path):
            raise NeedsMoreError([path])
        folder = there or self._make_folders(path, owner)
        self._touch(path)
        copies = _Copies(owner)
        stack = [(found.node, folder, path)]
        while stack:
            source, target, at = stack.pop()
            assert source.children is not None
            assert target.children is not None
            self._placed += len(source.children)
            if self._placed > MAX_PLACED:
                raise BuildFailed(f"more than {MAX_PLACED} files are copied in all", hint="copy less")
            for name, child in source.children.items():
                placed = _place(target.children, name, child, copies, at)
                if child.children is not None:
                    stack.append((child, placed, at + b"/" + name if at else name))

    def _copy_file(self, found: Found, path: bytes, there: Node | None, owner: Owner | None) -> None:
        parent, _, name = path.rpartition(b"/")
        if there is not None and there.children is not None:
            folder, parent, name = there, path, found.name
            path = parent + b"/" + name if parent else name
            if not self._tree.wanted.covers(path):
                raise NeedsMoreError([path])
        else:
            folder = self._make_folders(parent, owner)
        assert folder.children is not None
        _place(folder.children, name, found.node, _Copies(owner), parent)
        self._touch(parent)

    def _make_folders(self, path: bytes, owner: Owner | None) -> Node:
        """Return the folder at a path without symlinks, made with those above it where they are missing.

        They are 0755, of `owner`, else of root; in a set-group-ID folder they are so too, and of its group if nothing
        else is asked for (mkdir(2)).
        """
        node = self.root
        at = []
        for name in path.split(b"/") if path else ():
            assert node.children is not None
            at.append(name)
            child = node.children.get(name)
            if child is None:
                above = node.inode.attributes
                group = above.mode & stat.S_ISGID
                uid, gid = owner or (0, above.gid if group else 0)
                made = FOLDER._replace(mode=FOLDER.mode | group, uid=uid, gid=gid)
                child = node.children[name] = Node(Inode(made, mtime=self._mtime))
                self._touch(b"/".join(at))
            elif child.children is None:
                raise BuildFailed(f"'/{_text(b'/'.join(at))}' is not a folder, so '/{_text(path)}' cannot be made")
            node = child
        return node

    def _touch(self, path: bytes) -> None:
        """Mark a path and the folders above it."""
        node = self.root
        node.touched = True
        for name in path.split(b"/") if path else ():
            assert node.children is not None
            node = node.children[name]
            node.touched = True

    def _resolved(self, path: bytes) -> tuple[bytes, Node | None]:
        try:
            return self._tree.resolve(path)
        except EndlessLinksError:
            raise BuildFailed(f"'{_text(path)}' goes through a symlink without end in the base image") from None
        except NotADirectoryError as error:
            raise BuildFailed(
                f"'/{_text(error.args[0])}' is not a folder in the base image, so '{_text(path)}' cannot be made"
            ) from None


class _Copies:
    """Inodes of one copy: with another owner if one is given, hard links still hard links to each other."""

    def __init__(self, owner: Owner | None) -> None:
        self._owner = owner
        self._owned: dict[Attributes, Attributes] = {}
        self._linked: dict[int, Inode] = {}

    def of(self, inode: Inode) -> Inode:
        """Return the copy of an inode; the very inode where that will do."""
        if self._owner is None and not inode.shared:
            return inode
        copy = self._linked.get(id(inode)) if inode.shared else None
        if copy is None:
            copy = inode.copied(self._attributes(inode.attributes))
            if inode.shared:
                copy.shared = True
                self._linked[id(inode)] = copy
        return copy

    def _attributes(self, attributes: Attributes) -> Attributes:
        if self._owner is None:
            return attributes
        owned = self._owned.get(attributes)
        if owned is None:
            uid, gid = self._owner
            owned = self._owned[attributes] = attributes._replace(uid=uid, gid=gid)
        return owned


def _place(children: dict[bytes, Node], name: bytes, source: Node, copies: _Copies, folder: bytes) -> Node:
    """Put a copy of `source` under `name`; a folder that is there takes over owner and mode and keeps its contents."""
    there = children.get(name)
    inode = copies.of(source.inode)
    if there is None:
        children[name] = there = Node(inode, touched=True)
    elif (there.children is None) != (source.children is None):
        raise BuildFailed(_clash(source, there, folder + b"/" + name if folder else name))
    elif there.children is None:
        children[name] = there = Node(inode, touched=True)
    else:
        there.inode, there.touched = inode, True
    return there


def _clash(source: Node, there: Node, path: bytes) -> str:
    if source.children is None:
        return f"'/{_text(path)}' is a folder already and cannot be replaced by a file"
    if there.inode.kind == SYMLINK:
        target = _text(there.inode.attributes.target)
        return f"'/{_text(path)}' is a symlink to '{target}' already and cannot be replaced by a folder"
    return f"'/{_text(path)}' is a file already and cannot be replaced by a folder"


def _parent(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]


def _text(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
