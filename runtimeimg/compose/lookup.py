"""Questions about an image's files that need its tables of contents only."""

from __future__ import annotations

import contextlib
import os
import posixpath

from runtimeimg.account import Account
from runtimeimg.cache import Cache
from runtimeimg.compose.find import Found, components, literal_prefix
from runtimeimg.compose.layers import LayerRef
from runtimeimg.compose.merge import merge
from runtimeimg.compose.reading import Reader
from runtimeimg.compose.sources import ImageSource, Source, covering
from runtimeimg.compose.tree import EndlessLinksError
from runtimeimg.compose.wanted import MAX_LINKS, Wanted
from runtimeimg.errors import NotFoundError
from runtimeimg.image import Image
from runtimeimg.image.layertar import FILE, SYMLINK


def has_file(image: Image, path: str, *, cache: Cache | None = None, account: Account | None = None) -> bool:
    """Tell whether `path` is a file of `image`, symlinks followed within it; its layers are read for that."""
    refs = [LayerRef.of(layer, image.name) for layer in image.layers]
    wanted = Wanted()
    with Reader(cache=cache, account=account or Account()) as reader:
        reader.load(refs, {})
        tables = [reader.tocs[ref.key] for ref in refs]
        try:
            _, node = covering(wanted, lambda: merge(tables, wanted, contents=False).resolve(path.encode()))
        except (NotADirectoryError, EndlessLinksError):
            return False
    return node is not None and node.inode.kind == FILE


def matches(image: Image, source: str, *, cache: Cache | None = None, account: Account | None = None) -> list[str]:
    """Return the names and paths that the source of a copy finds in `image`; NotFoundError when there is nothing."""
    with Reader(cache=cache, account=account or Account()) as reader:
        found = ImageSource(image, 1, reader)
        found.wanted.add(literal_prefix(components(source)))
        reader.load(found.layers, {})
        return [os.fsdecode(text) for item in found.find(source) for text in (item.name, item.path)]


def kept_link(source: Source, path: str) -> Found | None:
    """Return the file at `path` where it stays the same when its folder is taken elsewhere, None where it does not.

    That is a file, or symlinks within the folder that lead to one.
    """
    with contextlib.suppress(NotFoundError):
        (folder,) = source.find(posixpath.dirname(path))
        name, children = os.fsencode(posixpath.basename(path)), folder.node.children or {}
        for _ in range(MAX_LINKS):
            node = children.get(name)
            if node is None or node.inode.kind == FILE:
                return None if node is None else Found(name, folder.path + b"/" + name, node)
            name = node.inode.attributes.target if node.inode.kind == SYMLINK else b""
    return None
