"""Questions about an image's files that need its tables of contents only."""

from __future__ import annotations

import os

from runtimeimg.account import Account
from runtimeimg.cache import Cache
from runtimeimg.compose.find import components, literal_prefix
from runtimeimg.compose.layers import LayerRef
from runtimeimg.compose.merge import merge
from runtimeimg.compose.reading import Reader
from runtimeimg.compose.sources import ImageSource, covering
from runtimeimg.compose.tree import EndlessLinksError
from runtimeimg.compose.wanted import Wanted
from runtimeimg.image import Image
from runtimeimg.image.layertar import FILE


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
