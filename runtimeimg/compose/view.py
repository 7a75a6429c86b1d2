"""An image's files as they are when its layers are applied: looked up by path, contents read when somebody asks.

Paths are text with `/` in front, bytes that are not UTF-8 as surrogates. Symlinks are followed as within a chroot.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from runtimeimg.compose.find import find
from runtimeimg.compose.layers import LayerRef
from runtimeimg.compose.merge import merge
from runtimeimg.compose.nodes import Inode
from runtimeimg.compose.reading import Reader
from runtimeimg.compose.tree import EndlessLinksError
from runtimeimg.compose.wanted import NeedsMoreError, Wanted
from runtimeimg.errors import InvalidDocumentError, NotFoundError
from runtimeimg.image import Image
from runtimeimg.image.layertar import DIRECTORY, FILE, SYMLINK

if TYPE_CHECKING:
    from runtimeimg.compose.nodes import Name
    from runtimeimg.elfdynamic import Read


_SMALL = 256 << 10
"""Bytes of files that are kept whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """Something at a path, which is one without symlinks in it but for the last part where that was asked for."""

    path: str
    node: Name

    @property
    def inode(self) -> Inode:
        """What the name leads to."""
        return self.node.inode

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.inode.kind == FILE

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.inode.kind == DIRECTORY

    @property
    def is_link(self) -> bool:
        """Whether it is a symlink."""
        return self.inode.kind == SYMLINK

    @property
    def target(self) -> str:
        """Where a symlink leads."""
        return os.fsdecode(self.inode.attributes.target)

    @property
    def mode(self) -> int:
        """The permission bits, with setuid, setgid and sticky."""
        return self.inode.attributes.mode & 0o7777

    @property
    def owner(self) -> tuple[int, int]:
        """User and group id."""
        return self.inode.attributes.uid, self.inode.attributes.gid

    @property
    def size(self) -> int:
        """Bytes of the contents."""
        return self.inode.size

    @property
    def layer(self) -> int:
        """Number of the layer that it comes from, counted from 0; -1 for a folder that no layer describes."""
        place = self.inode.place
        return -1 if place is None else place.layer

    def may(self, bit: int, user: int, groups: frozenset[int]) -> bool:
        """Tell whether a user may read (4), write (2) or execute or enter (1) it; root may, but for running files."""
        uid, gid = self.owner
        if user == 0:
            return bit != 1 or self.is_folder or bool(self.mode & 0o111)
        shift = 6 if user == uid else 3 if gid in groups else 0
        return bool(self.mode >> shift & bit)


class View:
    """The files of an image, or only those at `paths` and below. Close the reader to give up contents."""

    def __init__(self, image: Image, reader: Reader, paths: Iterable[str] = ("/",)) -> None:
        self._reader = reader
        self._layers = tuple(LayerRef.of(layer, image.name) for layer in image.layers)
        reader.load(self._layers, {})
        wanted = Wanted(os.fsencode(path.strip("/")) for path in paths)
        self._tree = merge([reader.tocs[ref.key] for ref in self._layers], wanted)
        self.image = image

    def find(self, path: str, *, follow: bool = True) -> File | None:
        """Return what is at a path; None where nothing is, where a part of it is no folder, or links never end.

        With `follow` off a symlink at the very end is returned itself.
        """
        try:
            at, node = self._tree.resolve(os.fsencode(path), last=follow)
        except (NotADirectoryError, EndlessLinksError, NeedsMoreError):
            return None
        return None if node is None else File(path="/" + os.fsdecode(at), node=node)

    def file(self, path: str) -> File | None:
        """Return the regular file at a path, symlinks followed."""
        found = self.find(path)
        return found if found is not None and found.is_file else None

    def folder(self, path: str) -> File | None:
        """Return the folder at a path, symlinks followed."""
        found = self.find(path)
        return found if found is not None and found.is_folder else None

    def matching(self, pattern: str) -> list[File]:
        """Return what the source of a copy names, see find.py; nothing where there is nothing."""
        return [file for _, file in self.matching_names(pattern)]

    def matching_names(self, pattern: str) -> list[tuple[str, File]]:
        """Return what `matching` does, each with the name that a copy gives it."""
        try:
            found = find(self._tree, pattern)
        except (NotFoundError, InvalidDocumentError):
            return []
        return [(os.fsdecode(item.name), File(path="/" + os.fsdecode(item.path), node=item.node)) for item in found]

    def names(self, folder: File) -> Iterator[File]:
        """Yield what is right in a folder, by name."""
        base = "" if folder.path == "/" else folder.path
        for name, node in sorted((folder.node.children or {}).items()):
            yield File(path=f"{base}/{os.fsdecode(name)}", node=node)

    def walk(self, path: str = "/") -> Iterator[File]:
        """Yield all that is below a folder, a folder before what is in it; symlinks are not followed."""
        start = self.folder(path)
        stack = [start] if start is not None else []
        while stack:
            inside = list(self.names(stack.pop()))
            yield from inside
            stack += [item for item in reversed(inside) if item.is_folder]

    def fetch(self, files: Iterable[File]) -> None:
        """Bring the contents of several files, those of a layer at once."""
        wanted: dict[str, array[int]] = {}
        layers: dict[str, LayerRef] = {}
        for file in files:
            place = file.inode.place
            if place is None or not file.is_file or not file.size:
                continue
            ref = layers.setdefault(self._layers[place.layer].key, self._layers[place.layer])
            wanted.setdefault(ref.key, array("I")).append(place.entry)
        self._reader.fetch(wanted, layers)

    def part(self, file: File) -> Read:
        """Return what reads parts of a file that was fetched, or fetches it now."""
        place = file.inode.place
        if place is None or not file.size:
            return lambda _offset, _size: b""
        self.fetch([file])
        return partial(self._reader.part, self._layers[place.layer].key, place.entry)

    def read(self, file: File, limit: int) -> bytes:
        """Return the first bytes of a file, at most `limit`; small files are kept for the next time."""
        if not file.size or file.size > _SMALL:
            return self.part(file)(0, min(limit, file.size))
        return self.kept("file", file, lambda: self.part(file)(0, file.size))[:limit]

    def kept(self, kind: str, file: File, make: Callable[[], bytes], form: str = "") -> bytes:
        """Return what `make` makes of a file's contents, from the cache where it was made before in the same form."""
        cache, key = self._reader.cache, self._key(file, form)
        data = cache.get(kind, key) if cache is not None and key is not None else None
        if data is None:
            data = make()
            if cache is not None and key is not None:
                cache.put(kind, key, data)
        return data

    def is_kept(self, kind: str, file: File, form: str = "") -> bool:
        """Tell whether something is in the cache that was made of a file."""
        cache, key = self._reader.cache, self._key(file, form)
        return cache is not None and key is not None and cache.has(kind, key)

    def content_key(self, file: File) -> str | None:
        """Return what names a file's contents: those of two files with the same key are the same, see `_key`."""
        return self._key(file, "")

    def _key(self, file: File, form: str) -> str | None:
        """Return what a file's contents are kept under: its layer and its place there; None for what has none."""
        place = file.inode.place
        if place is None:
            return None
        return hashlib.sha256(
            f"{self._layers[place.layer].key} {place.entry}{form and f' {form}'}".encode()
        ).hexdigest()

    def below(self, layers: int) -> View:
        """Return the files that the image's lowest layers have by themselves."""
        return View(replace(self.image, layers=self.image.layers[:layers]), self._reader)
