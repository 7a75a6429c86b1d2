"""Names of owners as they stand at a copy: the base's /etc/passwd and /etc/group, or what earlier copies put there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from runtimeimg.compose.layers import LayerRef
from runtimeimg.compose.merge import merge
from runtimeimg.compose.nodes import BASE, Inode, Place
from runtimeimg.compose.owners import GROUP, MAX_FILE, PASSWD, Names
from runtimeimg.compose.reading import Reader
from runtimeimg.compose.sources import Source, covering
from runtimeimg.compose.tree import EndlessLinksError, Tree
from runtimeimg.compose.wanted import Wanted
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image.layertar import FILE


class Principals:
    """Looks owners up; each file is read once. `name` is what messages call the base."""

    def __init__(self, base: Sequence[LayerRef], sources: Sequence[Source], reader: Reader, name: str) -> None:
        self._base = base
        self._sources = sources
        self._reader = reader
        self._name = name
        self._known: dict[object, bytes] = {}
        self._parsed: tuple[bytes | None, bytes | None, Names] = (None, None, Names())

    def owner(self, text: str, tree: Tree, *, link: bool) -> tuple[int, int]:
        """Return the numbers of `user[:group]` in a tree of the base after some copies.

        With `link` the tree has nothing of the base, whose files are then read apart from it. Raises NotFoundError,
        and NeedsMoreError where the tree does not cover the files.
        """
        passwd, group = self._file(PASSWD, tree, link=link), self._file(GROUP, tree, link=link)
        if passwd is not self._parsed[0] or group is not self._parsed[1]:
            self._parsed = (passwd, group, Names.parse(passwd, group))
        return self._parsed[2].owner(text, self._name)

    def _file(self, path: bytes, tree: Tree, *, link: bool) -> bytes:
        """Return the contents of a small file, empty where there is none."""
        inode = _found(tree, path)
        if inode is None and not link:
            return b""
        if inode is None or inode.place is None or inode.place.source == BASE:
            return self._once(path, lambda: self._of_base(path))
        place = inode.place
        return self._once(place, lambda: self._copied(path, inode, place))

    def _once(self, key: object, read: Callable[[], bytes]) -> bytes:
        if key not in self._known:
            self._known[key] = read()
        return self._known[key]

    def _copied(self, path: bytes, inode: Inode, place: Place) -> bytes:
        """Return contents that a copy brought."""
        source = self._sources[place.source - 1]
        if not _bounded(path, inode):
            return b""
        if source.layers:
            ref = source.layers[place.layer]
            self._reader.fetch({ref.key: [place.entry]}, {ref.key: ref})
        return b"".join(source.pieces(inode))

    def _of_base(self, path: bytes) -> bytes:
        """Return contents that the base has; they are kept, so that its layer is not read for them again."""
        tables = [self._reader.tocs[ref.key] for ref in self._base]
        wanted = Wanted([path])
        inode = covering(wanted, lambda: _found(merge(tables, wanted, BASE), path))
        place = inode.place if inode is not None else None
        if inode is None or place is None or not _bounded(path, inode):
            return b""
        ref, cache = self._base[place.layer], self._reader.cache
        key = hashlib.sha256(f"{ref.key} {place.entry}".encode()).hexdigest()
        kept = cache.get("file", key) if cache else None
        if kept is not None:
            return kept
        self._reader.fetch({ref.key: [place.entry]}, {ref.key: ref})
        data = b"".join(self._reader.pieces(ref.key, place.entry, inode.size))
        if cache:
            cache.put("file", key, data)
        return data


def _found(tree: Tree, path: bytes) -> Inode | None:
    """Return the file at a path of a tree, symlinks followed; None where there is none."""
    try:
        _, node = tree.resolve(path)
    except (NotADirectoryError, EndlessLinksError):
        return None
    return node.inode if node is not None and node.inode.kind == FILE else None


def _bounded(path: bytes, inode: Inode) -> bool:
    """Tell whether a file holds something; one that is too large is refused."""
    if inode.size > MAX_FILE:
        raise InvalidDocumentError(f"'/{path.decode()}' of the image is larger than {MAX_FILE >> 20} MiB")
    return bool(inode.size)
