"""Layer tar archives as streams of entries (OCI image-spec, layer.md; POSIX pax; GNU tar's extensions).

What is read: ustar and old headers, PAX records (path, linkpath, size, uid, gid, mtime, SCHILY.xattr.*, GNU.sparse.*
of all three versions), GNU long names and links, GNU's old sparse files, numbers in base 256. Names are bytes: a
layer may hold any. User and group names are passed over, as every engine does; the times of entries are whole seconds.

Where the formats leave it open this follows what engines do: a leading `/` means nothing, global PAX headers are
passed over, links and devices have no contents whatever their size says, what follows the end of the archive is
ignored. Refused, with layer and entry named: wrong checksums, `..` in a name or in a hard link's target, names that no
Linux file system can hold, sizes that are negative or beyond bounds, an archive that ends within an entry, what costs
more than runtimeimg/budgets.py allows. (A symlink may point anywhere: it is only followed within the image's root.)

This is not the standard library's tarfile because that takes about ten times as long an entry.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from runtimeimg import budgets
from runtimeimg.budgets import MAX_COMPONENT, MAX_EXTENSION, MAX_PATH
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image import tarheader
from runtimeimg.image.holes import zeros
from runtimeimg.image.tarheader import BLOCK, SPARSE, XATTR, Fragment, TarFormatError, clean, shown

FILE, DIRECTORY, SYMLINK, HARDLINK, CHARACTER, BLOCK_DEVICE, FIFO = "f", "d", "l", "h", "c", "b", "p"
_KINDS = {
    b"0": FILE,
    b"\0": FILE,
    b"7": FILE,
    b"S": FILE,
    b"1": HARDLINK,
    b"2": SYMLINK,
    b"3": CHARACTER,
    b"4": BLOCK_DEVICE,
    b"5": DIRECTORY,
    b"6": FIFO,
}
_HEADER = struct.Struct("100s24s12s12s8xx100s8s64x8s8s155s12x")
_NOTHING = bytes(BLOCK)


class Entry(NamedTuple):
    """One entry. `path` has no leading or trailing `/` and is empty for the root.

    `kind` is one of the constants above. `size` is that of the contents, of a sparse file when written out. `target`
    is a symlink's text or a hard link's path. `xattrs` are sorted by name.
    """

    path: bytes
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


_new = tuple.__new__  # half the time of calling Entry, which counts at this rate


def checked(
    path: bytes,
    kind: str,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    target: bytes = b"",
    device: tuple[int, int] = (0, 0),
    xattrs: tuple[tuple[bytes, bytes], ...] = (),
) -> Entry:
    """Return an entry with names made plain; TarFormatError for values that no Linux file system can hold."""
    path = clean(path)
    if kind != FILE:
        size = 0
        if kind == HARDLINK:
            target = clean(target)
        elif kind == SYMLINK and (not target or len(target) > MAX_PATH):
            raise TarFormatError("its symlink has an impossible target")
    if not 0 <= size <= tarheader.MAX_NUMBER:
        raise TarFormatError(f"its size {size} is not possible")
    if not 0 <= uid <= tarheader.MAX_ID or not 0 <= gid <= tarheader.MAX_ID:
        raise TarFormatError(f"its owner {uid}:{gid} is not possible")
    if xattrs and any(not 0 < len(name) <= MAX_COMPONENT or len(data) > budgets.MAX_XATTR for name, data in xattrs):
        raise TarFormatError("an extended attribute is longer than Linux allows")
    return _new(Entry, (path, kind, mode, uid, gid, size, mtime, target, device, xattrs))


class LayerTar:
    """The entries of an archive that comes in pieces; iterate once, reading `content` of an entry before the next.

    `paid` tells how many bytes of the blob were read, which budgets grow with; those of the archive itself if None.
    `start` is the offset in the archive at which the current entry begins, its extended headers included, and at the
    end of all that of what follows the last one. `block` is its header block, empty where extended headers precede it.
    `fraction` are nanoseconds beyond the seconds of the entry's time.
    """

    def __init__(self, pieces: Iterable[bytes], name: str, paid: Callable[[], int] | None = None) -> None:
        self._pieces = iter(pieces)
        self._name = name
        self._buffer = b""
        self._at = 0
        self._left = 0  # bytes of the current entry that were not read yet
        self._padding = 0
        self._sparse: list[Fragment] | None = None
        self._size = 0
        self._path = b""
        self._read = 0
        self._paid = paid or (lambda: self._read)
        self._extensions = 0  # bytes of extended headers: of the layer, of the entry
        self._extension = 0
        self._contents = 0
        self.start = self.fraction = 0
        self.block = b""

    def __iter__(self) -> Iterator[Entry]:
        try:
            yield from self._entries()
            for _ in self._pieces:  # to the end, so that the blob's digest is checked
                pass
        except TarFormatError as error:
            raise self._located(error) from None

    def content(self) -> Iterator[memoryview]:
        """Yield the contents of the current entry; the views are of memory that is not used again."""
        try:
            if self._sparse is None:
                yield from self._data(self._left)
            else:
                self._charge(self._size - sum(length for _, length in self._sparse))  # holes, before any is written
                yield from self._spread(self._sparse)
        except TarFormatError as error:
            raise self._located(error) from None

    def front(self, count: int) -> bytes:
        """Return the first bytes of the current entry's contents, `count` at the most; the others are passed over."""
        if self._sparse is not None:
            return b"".join(view[: max(count - at, 0)] for at, view in _places(self.content()))
        taken = min(count, self._left)
        self._left -= taken
        try:
            return self._take(taken)
        except TarFormatError as error:
            raise self._located(error) from None

    def _charge(self, size: int) -> None:
        """Count bytes of files."""
        self._contents += size
        if self._contents > budgets.FREE_CONTENTS:
            self._afford(self._contents, budgets.allowance(budgets.FREE_CONTENTS, self._paid()), "bytes of files")

    def _afford(self, wanted: int, allowed: int, what: str) -> None:
        """Refuse what a blob of this size may not cost."""
        if wanted > allowed:
            raise TarFormatError(f"it holds more than {allowed} {what}, which is too much for the size of its blob")

    def _located(self, error: TarFormatError) -> InvalidDocumentError:
        where = f"{self._name}: entry '{shown(self._path)}'" if self._path else self._name
        return InvalidDocumentError(f"{where}: {error}")

    def _spread(self, fragments: list[Fragment]) -> Iterator[memoryview]:
        """Yield the contents of a sparse file, its holes written out."""
        at = 0
        for offset, length in fragments:
            yield from zeros(offset - at)
            yield from self._data(length)
            at = offset + length
        yield from zeros(self._size - at)

    def _entries(self) -> Iterator[Entry]:
        count = 0
        while True:
            self._skip(self._left + self._padding)
            self._left = self._padding = 0
            self.start = self._read - len(self._buffer) + self._at
            entry = self._next_entry()
            if entry is None:
                return
            count += 1
            if count > budgets.MAX_ENTRIES:
                raise TarFormatError(f"it has more than {budgets.MAX_ENTRIES} entries")
            if count > budgets.FREE_ENTRIES and not count % 1024:
                self._afford(count, budgets.FREE_ENTRIES + self._paid() // budgets.BYTES_OF_ENTRY, "entries")
            yield entry

    def _next_entry(self) -> Entry | None:
        """Read headers up to the next entry proper; None at the end of the archive."""
        records: dict[bytes, bytes] = {}
        extended = False
        self._extension = 0
        while True:
            block = self._header()
            if block is None:
                if extended:
                    raise TarFormatError("the archive ends after an extended header")
                return None
            flag = block[156:157]
            if flag in _KINDS:
                self.block = b"" if extended else block
                return self._entry(block, flag, records)
            size = tarheader.number(block[124:136])
            if flag not in b"xgLK" or not flag:
                raise TarFormatError(f"entries of type {flag!r} are not supported")
            if size < 0:
                raise TarFormatError(f"an extended header of {size} bytes is not possible")
            self._extend(size + BLOCK)
            data = self._take(size)
            self._skip(-size % BLOCK)
            extended = flag != b"g" or extended
            if flag == b"x":
                records |= tarheader.records(data)
            elif flag != b"g":
                records[b"path" if flag == b"L" else b"linkpath"] = tarheader.text(data)

    def _extend(self, size: int) -> None:
        """Count bytes of extended headers and sparse maps."""
        self._extension += size
        self._extensions += size
        if self._extension > MAX_EXTENSION:
            raise TarFormatError(f"the extended headers of one entry are too large: more than {MAX_EXTENSION} bytes")
        if self._extensions > budgets.FREE_EXTENSIONS:
            allowed = budgets.FREE_EXTENSIONS + budgets.EXTENSIONS_OF_BYTE * self._paid()
            self._afford(self._extensions, allowed, "bytes of extended headers")

    def _header(self) -> bytes | None:
        """Return the next header block, checked; None at the end (two blocks of zeros, one, or no more bytes)."""
        if not self._available():
            return None
        block = self._take(BLOCK)
        if block == _NOTHING:
            if self._available() and self._take(BLOCK) != _NOTHING:
                raise TarFormatError("a block of zeros stands between entries")
            return None
        tarheader.check_sum(block)
        return block

    def _entry(self, block: bytes, flag: bytes, records: dict[bytes, bytes]) -> Entry:
        name, permissions, length, time, link, magic, major, minor, prefix = _HEADER.unpack(block)
        path = tarheader.text(name)
        if prefix[0] and magic == b"ustar\x0000":
            path = tarheader.text(prefix) + b"/" + path
        kind = _KINDS[flag]
        if flag == b"\0" and path[-1:] == b"/":
            kind = DIRECTORY
        self._path = path
        mode, uid, gid = tarheader.permissions(permissions)
        size, mtime = tarheader.number(length), tarheader.number(time)
        self.fraction = 0
        if kind in "fd" and not records and flag != b"S":
            return self._opened(checked(path, kind, mode, uid, gid, size, mtime))
        device = (tarheader.number(major), tarheader.number(minor)) if kind in "cb" else (0, 0)
        entry = Entry(path, kind, mode, uid, gid, size, mtime, tarheader.text(link), device)
        fragments = None
        if records:
            entry, fragments = self._extended(entry, records)
            self._path = entry.path
        elif flag == b"S":
            entry, fragments = self._old_sparse(entry, block)
        return self._opened(checked(*entry), fragments)

    def _opened(self, entry: Entry, fragments: list[Fragment] | None = None) -> Entry:
        """Set up the reading of the entry's contents, and return it."""
        stored = 0
        if entry[1] == FILE:
            stored = entry[5] if fragments is None else self._left
            if stored < 0:
                raise TarFormatError(f"its size {entry[5]} is not possible")
        self._left, self._padding, self._sparse, self._size = stored, -stored % BLOCK, fragments, entry[5]
        return entry

    def _extended(self, plain: Entry, records: dict[bytes, bytes]) -> tuple[Entry, list[Fragment] | None]:
        """Return the entry with its PAX records applied, and the map of a sparse file."""
        path, kind, mode, uid, gid, size, mtime, target, device, _ = plain
        path, target = records.get(b"path", path), records.get(b"linkpath", target)
        if (value := records.get(b"size")) is not None:
            size = tarheader.decimal(value, "size")
        if (value := records.get(b"uid")) is not None:
            uid = tarheader.decimal(value, "uid")
        if (value := records.get(b"gid")) is not None:
            gid = tarheader.decimal(value, "gid")
        if (value := records.get(b"mtime")) is not None:
            mtime, self.fraction = tarheader.time(value)
        xattrs = tuple(sorted((key[len(XATTR) :], data) for key, data in records.items() if key.startswith(XATTR)))
        if b"\0" in path or b"\0" in target:
            raise TarFormatError("a name in an extended header holds a NUL")
        fragments = None
        if kind == FILE and any(key.startswith(SPARSE) for key in records):
            path, size, fragments = self._pax_sparse(path, size, records)
        return Entry(path, kind, mode, uid, gid, size, mtime, target, device, xattrs), fragments

    def _pax_sparse(
        self, path: bytes, size: int, records: dict[bytes, bytes]
    ) -> tuple[bytes, int, list[Fragment] | None]:
        """Return name, size and map of a sparse file in GNU tar's PAX formats 0.0, 0.1 and 1.0."""
        path = records.get(SPARSE + b"name", path)
        real = records.get(SPARSE + b"realsize", records.get(SPARSE + b"size"))
        if real is None:
            raise TarFormatError("a sparse file has no size")
        stored = size
        if records.get(SPARSE + b"major") == b"1":
            fragments, used = self._sparse_table(size)
            stored -= used
        else:
            spelt = records.get(SPARSE + b"map", b"")
            fragments = tarheader.pax_map(spelt.split(b",") if spelt else [])
        size = tarheader.decimal(real, "size")
        tarheader.check_fragments(fragments, stored, size)
        self._left = stored
        return path, size, fragments

    def _sparse_table(self, size: int) -> tuple[list[Fragment], int]:
        """Read the map that precedes the data in format 1.0: a count and pairs, one number a line, padded."""
        data, breaks, wanted = bytearray(), 0, 0
        while not wanted or breaks < wanted:
            if len(data) + BLOCK > min(size, MAX_EXTENSION):
                raise TarFormatError("a sparse map is too long or cut off")
            self._extend(BLOCK)
            block = self._take(BLOCK)
            data += block
            breaks += block.count(b"\n")
            if breaks and not wanted:
                wanted = 1 + 2 * tarheader.decimal(bytes(data.partition(b"\n")[0]), "sparse map length")
        return tarheader.pax_map(bytes(data).split(b"\n", wanted)[1:wanted]), len(data)

    def _old_sparse(self, plain: Entry, block: bytes) -> tuple[Entry, list[Fragment]]:
        """Read the map of GNU's old format: four parts in the header, the rest in blocks that follow it."""
        fragments = tarheader.old_sparse_fragments(block[386:482])
        more = block[482]
        while more:
            self._extend(BLOCK)
            extra = self._take(BLOCK)
            fragments += tarheader.old_sparse_fragments(extra[:504])
            more = extra[504]
        size = tarheader.number(block[483:495])
        tarheader.check_fragments(fragments, plain.size, size)
        self._left = plain.size
        return plain._replace(size=size), fragments

    # The stream

    def _available(self) -> bool:
        return self._at < len(self._buffer) or self._more()

    def _more(self) -> bool:
        """Take the next piece behind what is left of the buffer; False at the end."""
        piece = next(self._pieces, b"")
        while not piece:
            try:
                piece = next(self._pieces)
            except StopIteration:
                return False
        self._read += len(piece)
        self._buffer = self._buffer[self._at :] + piece if self._at < len(self._buffer) else piece
        self._at = 0
        return True

    def _take(self, count: int) -> bytes:
        while len(self._buffer) - self._at < count:
            if not self._more():
                raise TarFormatError("the archive is cut off")
        start = self._at
        self._at = start + count
        return self._buffer[start : self._at]

    def _skip(self, count: int) -> None:
        while count > len(self._buffer) - self._at:
            count -= len(self._buffer) - self._at
            self._at = len(self._buffer)
            if not self._more():
                raise TarFormatError("the archive is cut off")
        self._at += count

    def _data(self, count: int) -> Iterator[memoryview]:
        """Yield the next `count` bytes of the current entry."""
        self._left -= count
        while count:
            if not self._available():
                raise TarFormatError("the archive is cut off")
            end = min(self._at + count, len(self._buffer))
            view = memoryview(self._buffer)[self._at : end]
            count -= end - self._at
            self._charge(end - self._at)  # as they come: a large file's header is read when little of its blob was
            self._at = end
            yield view


def _places(views: Iterable[memoryview]) -> Iterator[tuple[int, memoryview]]:
    """Yield pieces of contents with their offsets."""
    at = 0
    for view in views:
        yield at, view
        at += len(view)
