"""The touched part of a tree as a layer: the same tree always gives the same bytes.

Entries are in the order of a walk with names in byte order: folders before what is in them, and of hard links the
first name with the contents, the others as links to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from runtimeimg.compose.nodes import Inode, Node
from runtimeimg.image.compress import BlobWriter, Compression
from runtimeimg.image.filelayer import FileLayer
from runtimeimg.image.layertar import FILE, HARDLINK, SYMLINK, Entry
from runtimeimg.image.reserving import reserving
from runtimeimg.image.tarwrite import END, header, padding


class Item(NamedTuple):
    """An entry of the layer to come; `link` is the path of the first hard link where this is a further one."""

    path: bytes
    inode: Inode
    link: bytes | None


def items(root: Node) -> Iterator[Item]:
    """Yield what is touched in a tree, in the order of the layer; the root itself is not told."""
    first: dict[int, bytes] = {}
    stack = [(b"", root)]
    while stack:
        path, node = stack.pop()
        if path:
            inode = node.inode
            link = first.setdefault(id(inode), path) if inode.shared else path
            yield Item(path, inode, None if link == path else link)
        if node.children:
            prefix = path + b"/" if path else b""
            touched = sorted((name for name, child in node.children.items() if child.touched), reverse=True)
            stack += [(prefix + name, node.children[name]) for name in touched]


def write(
    entries: Iterable[Item],
    path: Path,
    compression: Compression,
    contents: Callable[[Inode], Iterator[bytes | memoryview]],
    *,
    latest: int | None,
) -> FileLayer:
    """Write a layer of `entries` to the file `path`; no time in it is later than `latest` seconds."""
    with reserving(path) as out, BlobWriter(out, compression) as writer:
        for item in entries:
            entry = _entry(item, latest)
            writer.write(header(entry))
            if entry.kind == FILE and entry.size:
                for piece in contents(item.inode):
                    writer.write(piece)
                writer.write(padding(entry.size))
        writer.write(END)
        packed = writer.finish()
    return FileLayer(descriptor=packed.descriptor, diff_id=packed.diff_id, path=path)


def _entry(item: Item, latest: int | None) -> Entry:
    kind, mode, uid, gid, target, device, xattrs = item.inode.attributes
    size, mtime = item.inode.size, item.inode.mtime
    if latest is not None and mtime > latest:
        mtime = latest
    if item.link is not None:
        # Engines set owner and mode again for each link, and setting an owner drops file capabilities.
        return Entry(item.path, HARDLINK, mode, uid, gid, 0, mtime, item.link, xattrs=xattrs)
    target = target if kind == SYMLINK else b""
    return Entry(item.path, kind, mode, uid, gid, size, mtime, target, device, xattrs)
