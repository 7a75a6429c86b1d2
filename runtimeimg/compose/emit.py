"""The touched part of a tree as layers: the same tree always gives the same bytes.

Entries are in the order of a walk with names in byte order: folders before what is in them, and of hard links the
first name with the contents, the others as links to it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Self

from runtimeimg.compose.grouping import Grouping
from runtimeimg.compose.nodes import Inode, Name, owned
from runtimeimg.compose.takeover import Cut, Item, LayerOf, Plan, of_none
from runtimeimg.image.compress import BlobWriter, Block, Compression
from runtimeimg.image.filelayer import FileLayer
from runtimeimg.image.layertar import FILE, HARDLINK, SYMLINK, Entry
from runtimeimg.image.reserving import reserving
from runtimeimg.image.tarwrite import END, padding
from runtimeimg.oci import Descriptor
from runtimeimg.stores.growing import Making


def items(
    root: Name, grouping: Grouping, number: int, *, latest: int | None, made: Callable[[], int]
) -> Iterator[Item]:
    """Yield a layer's entries in their order; the root itself is not told.

    No time is later than `latest` seconds. Folders that were made have that time, else what `made` returns, which is
    asked for each of them: the latest time of the rest of the layer (`latest_time`).
    """
    new = tuple.__new__  # half the time of calling them
    for path, node, link in _walk(root, grouping, number):
        inode = node.inode if node.children is None else grouping.shown(node, number)
        mtime = inode.mtime
        if mtime is None:
            mtime = made() if latest is None else latest
        elif latest is not None and mtime > latest:
            mtime = latest
        attributes = inode.attributes if node.owner is None else owned(inode.attributes, node.owner)
        kind, mode, uid, gid, target, device, xattrs = attributes
        if link is not None:
            # Engines set owner and mode again for each link, and setting an owner drops file capabilities.
            yield Item(Entry(path, HARDLINK, mode, uid, gid, 0, mtime, link, xattrs=xattrs), inode)
        else:
            target = target if kind == SYMLINK else b""
            values = (path, kind, mode, uid, gid, inode.size, mtime, target, device, xattrs)
            yield new(Item, (new(Entry, values), inode))


def latest_time(root: Name, grouping: Grouping, number: int, otherwise: int) -> int:
    """Return the latest time of a layer's entries but for folders that were made; `otherwise` where there are none."""
    times = (grouping.shown(node, number).mtime for _, node, _ in _walk(root, grouping, number))
    return max((time for time in times if time is not None), default=otherwise)


def write(
    entries: Iterable[Item],
    path: Path,
    compression: Compression,
    contents: Callable[[Inode], Iterator[bytes | memoryview]],
    begin: Callable[[Path], Making] | None = None,
    layer_of: LayerOf = of_none,
) -> FileLayer:
    """Write a layer of `entries` to the file `path`; what `begin` returns is told of the blob as it grows.

    Parts of the layers that `layer_of` tells are taken over as they are. Raises UnlikeError, and leaves the file, where
    that cannot be done with a layer that seemed to allow it.
    """
    with reserving(path) as file, contextlib.ExitStack() as stack:
        out = stack.enter_context(_Told(file, begin(path))) if begin is not None else file
        writer = stack.enter_context(BlobWriter(out, compression))
        plan = Plan(layer_of)
        archive = Cut(writer, plan.regions)
        for (entry, inode), written in plan.headers(entries):
            archive.write(written)
            if entry.kind == FILE and entry.size:
                for piece in contents(inode):
                    archive.write(piece)
                archive.write(padding(entry.size))
        archive.write(END)
        packed = writer.finish()
        if isinstance(out, _Told):
            out.finished(packed.descriptor)
    return FileLayer(descriptor=packed.descriptor, diff_id=packed.diff_id, path=path)


class _Told:
    """A file that is written, and somebody who is told its size; a context that tells when nothing comes of it."""

    def __init__(self, file: IO[bytes], making: Making) -> None:
        self._file = file
        self._making = making
        self._size = 0
        self._finished = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._finished:
            self._making.dropped()

    def write(self, data: Block, /) -> int:
        """Write `data` to where others read it."""
        self._size += self._file.write(data)
        self._file.flush()
        self._making.grown(self._size)
        return len(data)

    def finished(self, descriptor: Descriptor) -> None:
        """Tell what the blob came to."""
        self._finished = True
        self._making.finished(descriptor)


def _walk(root: Name, grouping: Grouping, number: int) -> Iterator[tuple[bytes, Name, bytes | None]]:
    """Yield paths and nodes, and of further hard links to a file the path of the first."""
    first: dict[int, bytes] = {}
    stack = [(b"", root)]
    while stack:
        path, node = stack.pop()
        if path:
            link = first.setdefault(id(node.inode), path) if node.inode.shared else path
            yield path, node, None if link == path else link
        if node.children:
            prefix = path + b"/" if path else b""
            children = node.children
            stack += [(prefix + name, children[name]) for name in sorted(grouping.names(node, number), reverse=True)]
