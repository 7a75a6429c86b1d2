"""Where copies come from: the merged layers of an image, or a folder of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from runtimeimg.budgets import MAX_ROUNDS
from runtimeimg.compose.find import Found, components, find, literal_prefix
from runtimeimg.compose.layers import LayerRef
from runtimeimg.compose.merge import merge
from runtimeimg.compose.nodes import Inode
from runtimeimg.compose.reading import Reader
from runtimeimg.compose.tree import LeadsOutError, Tree
from runtimeimg.compose.wanted import NeedsMoreError, Wanted
from runtimeimg.errors import UsageError
from runtimeimg.image import Image
from runtimeimg.image.toc import Row
from runtimeimg.stores.directory import ODD_KINDS, Directory

T = TypeVar("T")


class Source(Protocol):
    """A file tree that sources of COPY are looked up in."""

    wanted: Wanted

    @property
    def layers(self) -> Sequence[LayerRef]:
        """The layers it is merged from, base first; none for a folder."""

    def find(self, pattern: str) -> list[Found]:
        """Return what a source names; NotFoundError when there is nothing."""

    def forget(self) -> None:
        """Let go of the tree that was looked into; it is made anew when something is looked up again."""

    def pieces(self, inode: Inode) -> Iterator[bytes | memoryview]:
        """Yield the contents of a file, which for layers were fetched before."""


def covering(wanted: Wanted, work: Callable[[], T]) -> T:
    """Return what `work` returns, done again with more covered as long as that is what it asks for."""
    for _ in range(MAX_ROUNDS):
        try:
            return work()
        except NeedsMoreError as more:
            for path in more.paths:
                wanted.add(path)
    wanted.add(b"")
    return work()


class ImageSource:
    """An image; its tables of contents must be known to the reader before anything is found."""

    def __init__(self, image: Image, number: int, reader: Reader) -> None:
        self.wanted = Wanted()
        self._layers = tuple(LayerRef.of(layer, image.name) for layer in image.layers)
        self._number = number
        self._reader = reader
        self._tree: Tree | None = None

    @property
    def layers(self) -> tuple[LayerRef, ...]:
        """The image's layers."""
        return self._layers

    def find(self, pattern: str) -> list[Found]:
        """Return what a source names in the merged layers."""
        return covering(self.wanted, lambda: self._find(pattern))

    def forget(self) -> None:
        """Let go of the merged tree."""
        self._tree = None

    def pieces(self, inode: Inode) -> Iterator[bytes | memoryview]:
        """Yield contents out of what the reader fetched."""
        place = inode.place
        assert place is not None
        return self._reader.pieces(self._layers[place.layer].key, place.entry, inode.size)

    def _find(self, pattern: str) -> list[Found]:
        # A tree that was made for less is made anew; nodes found in it before stay good.
        if self._tree is None or self._tree.wanted.roots != self.wanted.roots:
            tables = [self._reader.tocs[ref.key] for ref in self._layers]
            self._tree = merge(tables, self.wanted.copy(), self._number)
        found = find(self._tree, pattern)
        uncovered = [item.path for item in found if not self.wanted.covers_below(item.path)]
        if uncovered:
            raise NeedsMoreError(uncovered)
        return found


class FolderSource:
    """A folder: the workspace (with `strict`, nothing may lead out of it), or `dir:`, where `/` is the folder."""

    def __init__(self, root: Path, number: int, *, strict: bool) -> None:
        self.wanted = Wanted()
        self._directory = Directory(root)
        self._number = number
        self._strict = strict

    @property
    def layers(self) -> tuple[LayerRef, ...]:
        """None."""
        return ()

    def find(self, pattern: str) -> list[Found]:
        """Return what a source names in the folder; UsageError when that leads out of it."""
        self.wanted.add(literal_prefix(components(pattern)))
        try:
            return covering(self.wanted, lambda: self._find(pattern))
        except LeadsOutError:
            raise UsageError(f"source '{pattern}' leads out of folder '{self._directory.root}'") from None

    def forget(self) -> None:
        """Do nothing: no tree is kept."""

    def pieces(self, inode: Inode) -> Iterator[bytes | memoryview]:
        """Yield a file's contents from the disk."""
        return self._directory.pieces(inode.path, inode.size)

    def _find(self, pattern: str) -> list[Found]:
        table = _FolderTable(self._directory, self.wanted.roots)
        found = find(merge([table], self.wanted, self._number, strict=self._strict), pattern)
        uncovered = [item.path for item in found if not self.wanted.covers_below(item.path)]
        if uncovered:
            raise NeedsMoreError(uncovered)
        for item in found:
            self._refuse_odd(item)
        return found

    def _refuse_odd(self, found: Found) -> None:
        """Refuse devices, pipes and sockets in what is to be copied."""
        stack = [(found.path, found.node)]
        while stack:
            path, node = stack.pop()
            if node.inode.kind in ODD_KINDS:
                what = ODD_KINDS[node.inode.kind]
                raise UsageError(f"'{self._directory.shown(path)}' is {what}, which no image takes out of a folder")
            stack += [(path + b"/" + name if path else name, child) for name, child in (node.children or {}).items()]


class _FolderTable:
    """The entries of a folder below some paths, read from the disk when they are asked for."""

    whiteouts = 0
    has_paths = True

    def __init__(self, directory: Directory, paths: Iterable[bytes]) -> None:
        self._directory = directory
        self._paths = paths

    def rows(self, _covers: Callable[[bytes], bool] | None = None) -> Iterator[tuple[int, Row]]:
        return enumerate(self._directory.entries(self._paths))
