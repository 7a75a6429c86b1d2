"""Which layer each new name goes to: the layers of the result follow those that the contents come from.

What copies take out of one layer of a builder image becomes a layer of its own, so a builder image whose top layer
changed gives a result whose top layer changed, and nothing else is packed or sent again. Layers that would be smaller
than LEAST are joined with the next one above; where there would be more layers than engines take, larger ones are too.

A folder is in each layer that holds something in it, because engines make folders anew that a layer leaves out. Which
owner, mode and time it has is settled by the highest layer that holds it, and that is the folder's own, or one above
it. The layers below show it as the builder's layers up to theirs had it: so they stay what they were when a higher
layer touches the folder, which it does with every file that it adds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from runtimeimg.compose.nodes import BASE, FolderInode, Inode, Name, origin

Mode = Literal["builder", "copy", "one"]
MODES: tuple[Mode, ...] = ("builder", "copy", "one")
"""Layers follow the builder's layers, or the copies, or there is one of all."""
MAX_LAYERS = 127
"""Layers that an image may have so that all engines take it (overlay mounts and the classic graph drivers)."""
LEAST = 1 << 20
"""Bytes of contents and headers below which a layer is joined with the next one."""
_HEADER = 512
_SOURCES = origin(BASE + 1, 0)


class Grouping:
    """The layers that the touched names of a tree are divided into, lowest first; `room` is how many there may be."""

    def __init__(self, root: Name, mode: Mode, room: int) -> None:
        self._root = root
        self._by_number = mode == "copy"
        self._least = 1 if self._by_number else _SOURCES
        self._folders = list(_touched_folders(root))
        sizes = self._sizes()
        self.groups = _joined(sorted(sizes.items()), mode, room)
        """The keys of each layer's contents: origins, see nodes, or numbers of copies."""
        self._number = {key: number for number, keys in enumerate(self.groups) for key in keys}
        self._masks = self._masked() if len(self.groups) > 1 else {}

    def names(self, folder: Name, number: int) -> list[bytes]:
        """Return the names in a folder that a layer holds."""
        alone, by_number, of = len(self.groups) == 1, self._by_number, self._number.get
        held = []
        for name, child in (folder.children or {}).items():
            if child.children is None:  # a file that no copy brought is of no layer here
                if of(child.touched if by_number else child.origin) == number:
                    held.append(name)
            elif child.touched and (alone or self._masks[id(child)] >> number & 1):
                held.append(name)
        return held

    def shown(self, node: Name, number: int) -> Inode:
        """Return what a name looks like in a layer that holds it."""
        inode = node.inode
        if self._by_number or not isinstance(inode, FolderInode) or number >= self._of(node):
            return inode
        return inode.as_of(self.groups[number][-1]) or inode

    def steps(self, number: int, brought: Sequence[set[int]]) -> tuple[int, ...]:
        """Return the instructions, from 0, that a layer is the result of; `brought` has the origins of each.

        One that left nothing of its own is told with the highest layer.
        """
        keys = set(self.groups[number])
        everywhere = set(self._number)
        told = []
        for step, origins in enumerate(brought):
            its = {step + 1} if self._by_number else origins
            if its & keys or (not its & everywhere and number == len(self.groups) - 1):
                told.append(step)
        return tuple(told)

    def _key(self, node: Name) -> int:
        """Return what a name's layer is known by; any layer will do where that is less than `_least`."""
        return node.touched if self._by_number else node.origin

    def _of(self, node: Name) -> int:
        """Return the number of a name's own layer: the highest for what comes out of none, such as made folders."""
        return self._number.get(node.touched if self._by_number else node.origin, len(self.groups) - 1)

    def _sizes(self) -> dict[int, int]:
        sizes: dict[int, int] = {}
        for folder in self._folders:
            for child in (folder.children or {}).values():
                key = child.touched if self._by_number else child.origin
                if key >= self._least and (child.children is None or child.touched):
                    sizes[key] = sizes.get(key, 0) + _HEADER + child.inode.size
        return sizes

    def _masked(self) -> dict[int, int]:
        """Return for each touched folder the layers that hold it, as bits: its own and those of what is in it."""
        masks: dict[int, int] = {}
        for folder in reversed(self._folders[1:]):  # the root is in none
            mask = 0
            for child in (folder.children or {}).values():
                if child.children is not None:
                    mask |= masks.get(id(child), 0)
                elif (number := self._number.get(child.touched if self._by_number else child.origin)) is not None:
                    mask |= 1 << number
            if not mask or self._key(folder) >= self._least:
                mask |= 1 << self._of(folder)
            masks[id(folder)] = mask
        return masks


def _touched_folders(root: Name) -> Iterator[Name]:
    """Yield the root and the touched folders below it, each before what is in it."""
    stack = [root]
    while stack:
        folder = stack.pop()
        yield folder
        stack += [child for child in (folder.children or {}).values() if child.children is not None and child.touched]


def _joined(sizes: list[tuple[int, int]], mode: Mode, room: int) -> tuple[tuple[int, ...], ...]:
    """Return the keys of each layer."""
    if mode == "one":
        return (tuple(key for key, _ in sizes),)
    least = LEAST if mode == "builder" else 0
    while True:
        groups: list[tuple[int, ...]] = []
        pending: tuple[int, ...] = ()
        held = 0
        for key, size in sizes:
            pending, held = (*pending, key), held + size
            if held >= least:
                groups.append(pending)
                pending, held = (), 0
        if pending or not groups:
            groups.append(pending)
        if len(groups) <= max(room, 1):
            return tuple(groups)
        least = max(2 * least, 1 << 20)
