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
from runtimeimg.compose.nodes import FOLDER, Inode, Name, Node, Owner
from runtimeimg.compose.tree import EndlessLinksError, Tree
from runtimeimg.compose.wanted import NeedsMoreError
from runtimeimg.errors import BuildFailed, UsageError
from runtimeimg.image.layertar import SYMLINK


class Target:
    """A tree that is copied into. Names carry the number of the copy that put them there only when they are `numbered`.

    That takes a node for each file; without it the nodes of the sources serve here too.
    """

    def __init__(self, tree: Tree, *, numbered: bool = False) -> None:
        self._tree = tree
        self._numbered = numbered
        self._number = 1
        self._placed = 0
        self._brought: set[int] = set()

    @property
    def tree(self) -> Tree:
        """The tree as it is now."""
        return self._tree

    @property
    def root(self) -> Node:
        """The root folder."""
        return self._tree.root

    def copy(
        self, number: int, sources: Sequence[Found], destination: str, owner: Owner | None, *, use_up: bool = False
    ) -> set[int]:
        """Copy what a source named to `destination`; `owner` None keeps the owners.

        A folder's contents go into the destination. A file goes into it when it is a folder or ends in `/`, else to
        it. `number`, from 1, is that of the copy. With `use_up` folders of the source are emptied on the way, which
        spares memory where nobody looks into them again. Returns the origins of what was put into the tree. Raises
        UsageError when several sources are to become one file, BuildFailed when folders and files clash.
        """
        self._begin(number)
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
                self._copy_folder(found, path, there, owner, use_up=use_up)
            else:
                self._copy_file(found, path, there, owner)
        return self._brought

    def make_work_dir(self, number: int, path: str, owner: Owner | None) -> None:
        """Make a folder and those above it where they are missing; `number` follows those of the copies."""
        self._begin(number)
        self._make_folders(self._resolved(os.fsencode(path))[0], owner)

    def has_folder(self, path: str) -> bool:
        """Tell whether a folder is at `path`, symlinks followed; raise BuildFailed when that is something else."""
        at, node = self._resolved(os.fsencode(path))
        if node is not None and node.children is None:
            raise BuildFailed(f"'/{_text(at)}' is a file, no folder to work in")
        return node is not None

    def _copy_folder(self, found: Found, path: bytes, there: Name | None, owner: Owner | None, *, use_up: bool) -> None:
        if there is not None and there.children is None:
            raise BuildFailed(f"folder '/{_text(found.path)}' cannot be copied to '/{_text(path)}': that is no folder")
        if there is not None and not self._tree.wanted.covers_below(path):
            raise NeedsMoreError([path])
        folder = there or self._make_folders(path, owner)
        self._touch(path)
        copies = self._copies(owner)
        stack = [(found.node, folder, path)]
        while stack:
            source, target, at = stack.pop()
            assert source.children is not None
            assert target.children is not None
            self._placed += len(source.children)
            if self._placed > MAX_PLACED:
                raise BuildFailed(f"more than {MAX_PLACED} files are copied in all", hint="copy less")
            for name, child in source.children.items():
                placed = copies.place(target.children, name, child, at)
                if child.children is not None:
                    stack.append((child, placed, at + b"/" + name if at else name))
            if use_up:
                source.children.clear()

    def _copy_file(self, found: Found, path: bytes, there: Name | None, owner: Owner | None) -> None:
        parent, _, name = path.rpartition(b"/")
        if there is not None and there.children is not None:
            folder, parent, name = there, path, found.name
            path = parent + b"/" + name if parent else name
            if not self._tree.wanted.covers(path):
                raise NeedsMoreError([path])
        else:
            folder = self._make_folders(parent, owner)
        assert folder.children is not None
        self._copies(owner).place(folder.children, name, found.node, parent)
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
                above = node.attributes
                group = above.mode & stat.S_ISGID
                uid, gid = owner or (0, above.gid if group else 0)
                made = FOLDER._replace(mode=FOLDER.mode | group, uid=uid, gid=gid)
                child = node.children[name] = Node(Inode(made, mtime=None))
                self._touch(b"/".join(at))
            elif not isinstance(child, Node) or child.children is None:
                raise BuildFailed(f"'/{_text(b'/'.join(at))}' is not a folder, so '/{_text(path)}' cannot be made")
            node = child
        return node

    def _begin(self, number: int) -> None:
        self._number = number if self._numbered else 1
        self._brought = set()

    def _copies(self, owner: Owner | None) -> _Copies:
        return _Copies(owner, self._number, self._brought, share=not self._numbered)

    def _touch(self, path: bytes) -> None:
        """Mark a path and the folders above it."""
        node = self.root
        node.touched = self._number
        for name in path.split(b"/") if path else ():
            assert node.children is not None
            child = node.children[name]
            assert isinstance(child, Node)
            node = child
            node.touched = self._number

    def _resolved(self, path: bytes) -> tuple[bytes, Name | None]:
        try:
            return self._tree.resolve(path)
        except EndlessLinksError:
            raise BuildFailed(f"'{_text(path)}' goes through a symlink without end in the base image") from None
        except NotADirectoryError as error:
            raise BuildFailed(
                f"'/{_text(error.args[0])}' is not a folder in the base image, so '{_text(path)}' cannot be made"
            ) from None


class _Copies:
    """Puts copies of nodes into folders, hard links of one copy as hard links to each other."""

    def __init__(self, owner: Owner | None, number: int, brought: set[int], *, share: bool) -> None:
        self._owner = owner
        self._number = number
        self._brought = brought.add
        self._share = share and owner is None
        self._linked: dict[int, Inode] = {}

    def place(self, children: dict[bytes, Name], name: bytes, source: Name, folder: bytes) -> Name:
        """Put a copy of `source` under `name`; a folder that is there takes over owner and mode, keeps its contents."""
        there = children.get(name)
        inode = self._copied(source.inode)
        self._brought(inode.origin)
        if there is not None and (there.children is None) != (source.children is None):
            raise BuildFailed(_clash(source, there, folder + b"/" + name if folder else name))
        if isinstance(there, Node) and there.children is not None:
            there.inode, there.owner, there.touched = inode, self._owner, self._number
        elif self._share and source.children is None:
            children[name] = there = inode
        else:
            children[name] = there = Node(inode, owner=self._owner, touched=self._number)
        return there

    def _copied(self, inode: Inode) -> Inode:
        """Return the very inode, or another for hard links, so that they are not links to those of other copies."""
        if not inode.shared:
            return inode
        copy = self._linked.get(id(inode))
        if copy is None:
            copy = self._linked[id(inode)] = inode.linked()
        return copy


def _clash(source: Name, there: Name, path: bytes) -> str:
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
