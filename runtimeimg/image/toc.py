"""A layer's table of contents: its entries without their contents, kept small in memory and on disk.

Entries are packed and compressed some thousands at a time, so that the table of a layer of a million entries takes
tens of megabytes while it is made and a few when it is kept. Whiteouts are told from files here (layer.md,
"Whiteouts"), and a path that goes through a symlink of the same layer is replaced by the path it leads to, as
happens when an engine unpacks it; what the paths mean to lower layers is for the merged view to say.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from runtimeimg import budgets
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image.layertar import HARDLINK, SYMLINK, Entry
from runtimeimg.image.tarheader import shown
from runtimeimg.image.zstd import unpacked, zstd

WHITEOUT, OPAQUE = "w", "o"
"""Kinds beside those of layertar: removes `path` of lower layers; removes all that lower layers hold in `path`."""

_CHUNK = 1 << 18
_PREFIX = b".wh."
_META = b".wh..wh."
_OPAQUE_NAME = b".wh..wh..opq"
_MAX_KNOWN = 1 << 16  # folders that are remembered
_MAX_LINKS = 40  # as Linux has it (MAXSYMLINKS)
_MAX_BEGINNINGS = 256
_VALUES = len(Entry._fields)
_MAGIC = b"runtimeimg toc 2\n"
_LENGTH, _LENGTHS = struct.Struct(">I"), struct.Struct(">III")

Row = tuple[Any, ...]
"""The values of an Entry as a plain tuple: path, kind, mode, uid, gid, size, mtime, target, device, xattrs."""


class Chunk(NamedTuple):
    """Some thousand entries: how many, the beginnings of their paths (`_beginning`), and their values, packed.

    No beginnings are told where there are too many of them.
    """

    entries: int
    beginnings: tuple[bytes, ...]
    packed: bytes


class Toc:
    """The entries of one layer in the archive's order; the place of an entry in it is its index."""

    __slots__ = ("_chunks", "count", "whiteouts")
    has_paths = False

    def __init__(self, chunks: Sequence[Chunk], *, whiteouts: int) -> None:
        self._chunks = chunks
        self.count = sum(chunk.entries for chunk in chunks)
        self.whiteouts = whiteouts

    def rows(self, covers: Callable[[bytes], bool] = lambda _: True) -> Iterator[tuple[int, Row]]:
        """Yield the entries' indexes and values; of paths that `covers` does not tell true of, some are left out.

        `covers` must be true of all folders above a path that it is true of.
        """
        import msgpack

        module, first = zstd(), 0
        try:
            for chunk in self._chunks:
                if not chunk.beginnings or any(map(covers, chunk.beginnings)):
                    unpacker = msgpack.Unpacker(use_list=False, max_buffer_size=budgets.MAX_TABLE)
                    unpacker.feed(unpacked(chunk.packed, budgets.MAX_TABLE))
                    yield from enumerate(map(_whole, unpacker), first)
                first += chunk.entries
        except (module.ZstdError, msgpack.UnpackException, ValueError, TypeError, IndexError) as error:
            raise InvalidDocumentError(
                "a table of contents in the cache is not one of ours", hint="empty it: runtimeimg cache prune"
            ) from error

    def to_bytes(self) -> bytes:
        """Return the table for keeping."""
        parts = [_MAGIC, _LENGTH.pack(self.whiteouts)]
        for chunk in self._chunks:
            beginnings = b"\0".join(chunk.beginnings)
            parts += [_LENGTHS.pack(chunk.entries, len(beginnings), len(chunk.packed)), beginnings, chunk.packed]
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> Toc | None:
        """Return a table that was kept, None when it is of another version or cut off."""
        at = len(_MAGIC) + _LENGTH.size
        if not data.startswith(_MAGIC) or len(data) < at:
            return None
        (whiteouts,) = _LENGTH.unpack(data[len(_MAGIC) : at])
        chunks = []
        while at < len(data):
            if at + _LENGTHS.size > len(data):
                return None
            count, beginnings, packed = _LENGTHS.unpack(data[at : at + _LENGTHS.size])
            at += _LENGTHS.size
            middle, end = at + beginnings, at + beginnings + packed
            names = tuple(data[at:middle].split(b"\0")) if beginnings else ()
            chunks.append(Chunk(count, names, data[middle:end]))
            at = end
        return cls(chunks, whiteouts=whiteouts) if at == len(data) else None


def _whole(row: Row) -> Row:
    """Return values of an entry; ValueError or TypeError for what is none."""
    if len(row) != _VALUES:
        raise ValueError(row)
    return row


def _beginning(path: bytes) -> bytes:
    """Return the first two names of a path, or what there is."""
    first = path.find(b"/")
    second = path.find(b"/", first + 1) if first >= 0 else -1
    return path if second < 0 else path[:second]


class TocBuilder:
    """Collects a layer's entries; `name` is what messages call the layer.

    `paid` tells how many bytes of the blob were read, which the budget for following symlinks grows with.
    """

    def __init__(self, name: str, paid: Callable[[], int] | None = None) -> None:
        import msgpack

        self._name = name
        self._pack = msgpack.Packer(autoreset=False)
        self._compress = zstd().compress
        self._chunks: list[Chunk] = []
        self._beginnings: set[bytes] = set()
        self._flushed = 0
        self._packed = 0
        self._paths = _LinkedPaths(paid)
        self._large = 0  # bytes of extended attributes since the last flush
        self.count = 0
        self.whiteouts = 0

    def add(self, entry: Entry) -> bytes | None:
        """Add an entry and return the path it comes to lie at; None for one that means nothing and is left out."""
        path, kind = entry[0], entry[1]
        if path.find(_PREFIX) >= 0 and (path.startswith(_PREFIX) or b"/" + _PREFIX in path):
            found = self._whiteout(path)
            if found is None:
                return None
            kind, path = found
            entry = Entry(path, kind, 0, 0, 0, 0, 0)
            self.whiteouts += 1
        try:
            placed = self._paths.place(path, kind, entry[7])
            if kind == HARDLINK:
                target = self._paths.place(entry.target, HARDLINK, b"")
                entry = entry._replace(target=target) if target != entry.target else entry
        except _EndlessError:
            raise self._wrong(path, "goes through symbolic links without end") from None
        except _TooDearError:
            raise self._wrong(path, "goes through more symbolic links than the size of its blob is worth") from None
        if placed != path:
            if len(placed) > budgets.MAX_PATH or placed.count(b"/") >= budgets.MAX_DEPTH:
                raise self._wrong(path, "leads to a path that is longer than Linux allows")
            entry = entry._replace(path=placed)
        self._pack.pack(entry)
        self._beginnings.add(_beginning(placed))
        self.count += 1
        if entry[9]:
            self._large += sum(len(value) for _, value in entry[9])
        if self.count % 1024 == 0 or self._large > _CHUNK:
            self._flush(_CHUNK)
        return placed

    def finish(self) -> Toc:
        """Return the table of all that was added."""
        self._flush(1)
        return Toc(self._chunks, whiteouts=self.whiteouts)

    def _flush(self, least: int) -> None:
        self._large = 0
        packed = self._pack.getbuffer()
        if len(packed) >= least:
            self._packed += len(packed)
            if self._packed > budgets.MAX_TABLE:
                raise InvalidDocumentError(
                    f"{self._name}: its table of contents is larger than {budgets.MAX_TABLE >> 20} MiB"
                )
            names = tuple(sorted(self._beginnings)) if b"" not in self._beginnings else ()
            names = names if len(names) <= _MAX_BEGINNINGS else ()
            self._chunks.append(Chunk(self.count - self._flushed, names, self._compress(packed, 1)))
            self._flushed, self._beginnings = self.count, set()
            packed.release()
            self._pack.reset()

    def _whiteout(self, path: bytes) -> tuple[str, bytes] | None:
        """Return what a path with the whiteout prefix in some component says, None for the aufs driver's own files."""
        parent, _, name = path.rpartition(b"/")
        if name == _OPAQUE_NAME and not _hidden(parent):
            return OPAQUE, parent
        if any(part.startswith(_META) for part in path.split(b"/")):
            return None
        hidden = name.removeprefix(_PREFIX)
        if _hidden(parent) or hidden in (b"", b".", b".."):
            raise self._wrong(path, "is not a whiteout of anything")
        return WHITEOUT, parent + b"/" + hidden if parent else hidden

    def _wrong(self, path: bytes, what: str) -> InvalidDocumentError:
        return InvalidDocumentError(f"{self._name}: entry '{shown(path)}' {what}")


def _hidden(path: bytes) -> bool:
    return any(part.startswith(_PREFIX) for part in path.split(b"/"))


class _LinkedPaths:
    """Follows the symlinks that a layer itself holds in the paths of its later entries."""

    __slots__ = ("_known", "_links", "_paid", "_steps")

    def __init__(self, paid: Callable[[], int] | None) -> None:
        self._links: dict[bytes, bytes] = {}
        self._known: dict[bytes, bytes] = {b"": b""}  # folders, and where they are
        self._paid = paid
        self._steps = 0

    def place(self, path: bytes, kind: str, target: bytes) -> bytes:
        """Return where `path` comes to lie, and note the entry."""
        if self._links:
            parent, _, name = path.rpartition(b"/")
            at = self._known.get(parent)
            if at is None:
                at = self._folder(parent)
            if at != parent:
                path = at + b"/" + name if at else name
        if kind == SYMLINK:
            if self._links.get(path) != target:
                self._links[path] = target
                self._known = {b"": b""}
        elif path in self._links and kind not in (WHITEOUT, OPAQUE, HARDLINK):
            del self._links[path]
            self._known = {b"": b""}
        return path

    def _folder(self, path: bytes) -> bytes:
        """Return the folder that `path` leads to; `..` stops at the root."""
        known = path.rpartition(b"/")[0]
        at = self._known.get(known)
        if at is None:
            known, at = b"", b""
        pending = path[len(known) :].split(b"/")[::-1]
        followed = 0
        while pending:
            part = pending.pop()
            if part == b"..":
                at = at.rpartition(b"/")[0]
            elif part not in (b"", b"."):
                at, followed = self._step(at, part, pending, followed)
        if len(self._known) > _MAX_KNOWN:
            self._known = {b"": b""}
        self._known[path] = at
        return at

    def _step(self, folder: bytes, name: bytes, pending: list[bytes], followed: int) -> tuple[bytes, int]:
        """Go from a folder to what is in it; return that, or where a symlink starts from."""
        self._steps += 1
        free = budgets.FREE_STEPS
        if self._steps > free and self._paid and self._steps > free + budgets.STEPS_OF_BYTE * self._paid():
            raise _TooDearError
        at = folder + b"/" + name if folder else name
        target = self._links.get(at)
        if target is None:
            return at, followed
        if followed >= _MAX_LINKS:
            raise _EndlessError
        pending += target.split(b"/")[::-1]
        return (b"" if target.startswith(b"/") else folder), followed + 1


class _EndlessError(Exception):
    """A path goes through more symlinks than Linux follows."""


class _TooDearError(Exception):
    """More names had to be looked up than the budget allows."""
