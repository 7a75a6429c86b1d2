"""File trees in memory, and walks in them.

A tree holds only what was asked for: the folders of `Wanted` with all that is in them, and what leads there. A walk
that leaves it raises NeedsMoreError; the caller adds that path and makes the tree anew, which takes milliseconds and
happens once or twice where symlinks lead elsewhere.
"""

from __future__ import annotations

from runtimeimg.compose.nodes import FOLDER, Inode, Name, Node
from runtimeimg.compose.wanted import MAX_LINKS, NeedsMoreError, Wanted
from runtimeimg.image.layertar import SYMLINK


class EndlessLinksError(Exception):
    """A path goes through more than MAX_LINKS symlinks."""


class LeadsOutError(Exception):
    """A symlink of a folder that may not be left leads out of it."""


class Tree:
    """A root folder, and what of it is covered. With `strict` no path and no symlink may lead out of it."""

    def __init__(self, wanted: Wanted, *, strict: bool = False) -> None:
        self._strict = strict
        self.root = Node(Inode(FOLDER))
        self.wanted = wanted

    def resolve(self, path: bytes, *, last: bool = True) -> tuple[bytes, Name | None]:
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
            walk.follow(node.inode.attributes.target)
        elif node is not None:
            walk.nodes.append(node)


class _Walk:
    """A path on its way: what is left of it, and the names and nodes passed; the root is the first node."""

    def __init__(self, root: Name, path: bytes, *, strict: bool) -> None:
        self.pending = path.split(b"/")[::-1]
        self.at: list[bytes] = []
        self.nodes: list[Name] = [root]
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
