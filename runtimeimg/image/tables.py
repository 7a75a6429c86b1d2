"""Layers that carry a table of their own: what is in them, and where the contents of each file are in the blob.

eStargz (containerd's stargz-snapshotter, docs/estargz.md) and zstd:chunked (containers-storage) are layers as any
other, whose files are packed apart, with a table at the end. An annotation of the layer's descriptor has the table's
digest, so a table is as good as the manifest; it has the digest of each part of each file, so these are too. What the
table says and what the archive holds may differ only where whoever made the manifest wanted them to.
"""

from __future__ import annotations

import base64
import codecs
import contextlib
import hashlib
import json
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from runtimeimg import budgets
from runtimeimg.errors import IntegrityError, InvalidDocumentError
from runtimeimg.image.decompress import Unfolded
from runtimeimg.image.layertar import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    FILE,
    HARDLINK,
    SYMLINK,
    Entry,
    LayerTar,
    checked,
)
from runtimeimg.image.parts import DIGEST, NUMBERS, Parts
from runtimeimg.image.tarheader import MAX_NUMBER, TarFormatError
from runtimeimg.image.toc import Toc, TocBuilder
from runtimeimg.oci import Descriptor

ReadRange = Callable[[int, int], bytes]
"""Returns the bytes of a blob from one offset up to another."""
Pieces = Generator[bytes | memoryview, None, None]
"""What a table comes in."""

_KINDS = {
    "reg": FILE,
    "dir": DIRECTORY,
    "symlink": SYMLINK,
    "hardlink": HARDLINK,
    "char": CHARACTER,
    "block": BLOCK_DEVICE,
    "fifo": FIFO,
}
_ESTARGZ = "containerd.io/snapshot/stargz/toc.digest"
_CHUNKED = ("io.github.containers.zstd-chunked", "io.containers.zstd-chunked")
_FOOTER = 64  # bytes at the end of an eStargz blob that its footer is within
_FOOTER_FIELD = re.compile(rb"SG\x16\x00([0-9a-f]{16})STARGZ", re.DOTALL)
_OWN_NAME = b"stargz.index.json"
_POSITION = re.compile(r"([0-9]{1,18}):([0-9]{1,18}):([0-9]{1,18}):1\Z")
_HEAD = re.compile(r'\s*\{\s*"version"\s*:\s*1\s*,\s*"entries"\s*:\s*\[\s*')
_BETWEEN = re.compile(r"\s*(?:,\s*(?=\{)|(?=\]))")
_SHORT, _LONG = 1 << 12, 1 << 18  # characters that nearly all entries, and all entries, are shorter than
_PIECE = 1 << 18


def has_table(descriptor: Descriptor) -> bool:
    """Tell whether a layer says that it has a table of its own."""
    return _ESTARGZ in descriptor.annotations or _chunked(descriptor) is not None


def read_table(descriptor: Descriptor, read: ReadRange, name: str) -> tuple[Toc, Parts]:
    """Return a layer's table and where the contents are; `name` is what messages call the layer.

    Raises IntegrityError for a table that is not the one of the annotation, InvalidDocumentError for one that makes no
    sense.
    """
    try:
        pieces, end, own = (
            _estargz(descriptor, read, name) if _ESTARGZ in descriptor.annotations else _crfs(descriptor, read, name)
        )
        with contextlib.closing(pieces):  # what goes wrong may be kept, but not memory that others wait for
            return _Reader(name, end).table(pieces, own)
    except (TarFormatError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise InvalidDocumentError(f"{name}: its table makes no sense ({error})") from None


def _allowed(descriptor: Descriptor) -> int:
    """Return how many bytes the table of a layer may have."""
    return min(budgets.MAX_LAYER_TABLE, max(budgets.FREE_LAYER_TABLE, descriptor.size // 2))


def _chunked(descriptor: Descriptor) -> tuple[str, str] | None:
    for prefix in _CHUNKED:
        checksum = descriptor.annotations.get(f"{prefix}.manifest-checksum")
        position = descriptor.annotations.get(f"{prefix}.manifest-position")
        if checksum and position:
            return checksum, position
    return None


def _estargz(descriptor: Descriptor, read: ReadRange, name: str) -> tuple[Pieces, int, Entry]:
    """Return the table's JSON, where the files end in the blob, and the table's own entry in the archive."""
    size = descriptor.size
    footer = _FOOTER_FIELD.search(read(max(size - _FOOTER, 0), size))
    at = int(footer[1], 16) if footer is not None else size
    if at >= size:
        raise InvalidDocumentError(f"{name}: its table is not where eStargz has it")
    if size - at > _allowed(descriptor):
        raise InvalidDocumentError(f"{name}: its table is too large for the size of its blob")
    unfolded = Unfolded(_cut(read(at, size)), name, size=size - at)
    archive = LayerTar(unfolded, name, lambda: unfolded.raw_bytes)
    entry = next(iter(archive), None)
    if entry is None or entry.path != _OWN_NAME or entry.size > _allowed(descriptor):
        raise InvalidDocumentError(f"{name}: what is in the place of its table is none")
    return _checked(archive.content(), descriptor.annotations[_ESTARGZ], name), at, entry


def _crfs(descriptor: Descriptor, read: ReadRange, name: str) -> tuple[Pieces, int, None]:
    found = _chunked(descriptor)
    assert found is not None
    position = _POSITION.match(found[1])
    if position is None:
        raise ValueError(f"position {found[1][:80]!r}")
    start, length, size = (int(number) for number in position.groups())
    if start + length > descriptor.size or max(length, size) > _allowed(descriptor):
        raise ValueError(f"position {found[1][:80]!r}")
    packed = read(start, start + length)
    _check(hashlib.sha256(packed).hexdigest(), found[0], name)
    # Whatever window its frame wants, no more of that is used than the table has bytes.
    return _sized(Unfolded(_cut(packed), name, size=budgets.MAX_LAYER_TABLE), size), start, None


def _cut(data: bytes) -> Iterator[bytes]:
    return (data[at : at + _PIECE] for at in range(0, len(data), _PIECE))


def _check(found: str, digest: str, name: str) -> None:
    if f"sha256:{found}" != digest:
        raise IntegrityError(f"{name}: its table is not the one that the manifest names")


def _checked(pieces: Iterable[memoryview], digest: str, name: str) -> Pieces:
    """Yield the pieces of a table; IntegrityError at their end where they are not those of the digest."""
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
        yield piece
    _check(found.hexdigest(), digest, name)


def _sized(pieces: Iterable[bytes], size: int) -> Pieces:
    """Yield pieces of `size` bytes together, ValueError where they are not as many."""
    made = 0
    for piece in pieces:
        made += len(piece)
        if made > size:
            break
        yield piece
    if made != size:
        raise ValueError(f"{made} bytes in place of {size}")


class _Reader:
    """Makes our table of theirs, which is read piece by piece."""

    def __init__(self, name: str, end: int) -> None:
        self._builder = TocBuilder(name)
        self._end = end
        self._offsets = array("Q", [end])  # where something begins or ends in the blob
        self._files, self._ends = array("I"), array("I")
        self._numbers, self._digests = array("Q"), bytearray()
        self._size = self._at = 0  # of the file whose parts are told: its bytes, and those of the parts up to now

    def table(self, pieces: Pieces, own: Entry | None) -> tuple[Toc, Parts]:
        """Return the table, and the parts of the files."""
        for item in _entries(pieces):
            self._offsets.extend((_number(item, "offset"), _number(item, "endOffset")))
            if item["type"] != "chunk":
                self._end_file()
                entry = _entry(item)
                if self._builder.add(entry) is None or entry.kind != FILE or not entry.size:
                    continue
                self._files.append(self._builder.count - 1)
                self._size = entry.size
            if self._size:
                self._part(item)
        self._end_file()
        if own is not None:
            self._builder.add(own)  # its contents are left to be read as those of any layer
        self._find_ends()
        parts = Parts(files=self._files, ends=self._ends, numbers=self._numbers, digests=bytes(self._digests))
        return self._builder.finish(), parts

    def _part(self, item: dict[str, Any]) -> None:
        """Add a part; where it ends in the blob is found out later."""
        size = _number(item, "chunkSize") or self._size - self._at
        if _number(item, "chunkOffset") != self._at or size <= 0:
            raise ValueError(f"the parts of entry {self._files[-1]} do not follow on each other")
        self._at += size
        if item.get("chunkType") == "zeros":
            self._numbers.extend((0, 0, 0, size))
            self._digests += bytes(DIGEST)
            return
        text = item.get("chunkDigest") or item.get("digest") or ""
        digest = bytes.fromhex(text.removeprefix("sha256:"))
        if not text.startswith("sha256:") or len(digest) != DIGEST:
            raise ValueError(f"a part of entry {self._files[-1]} has no digest")
        start = _number(item, "offset")
        if not start:
            raise ValueError(f"a part of entry {self._files[-1]} is nowhere")
        self._numbers.extend((start, 0, _number(item, "innerOffset"), size))
        self._digests += digest

    def _end_file(self) -> None:
        """Have all parts of a file; those that do not make it up are an error."""
        if self._at != self._size:
            raise ValueError(f"the parts of entry {self._files[-1]} are {self._at} of its {self._size} bytes")
        if self._size:
            self._ends.append(len(self._digests) // DIGEST)
        self._size = self._at = 0

    def _find_ends(self) -> None:
        """Have each part end where the next thing begins: `endOffset` is that of its file, and eStargz has none."""
        offsets = array("Q", sorted(self._offsets))
        for at in range(0, len(self._numbers), NUMBERS):
            start = self._numbers[at]
            if start:
                following = bisect_right(offsets, start)
                if following == len(offsets) or offsets[following] > self._end:
                    raise ValueError(f"a part at {start}")
                self._numbers[at + 1] = offsets[following]


def _entries(pieces: Pieces) -> Iterator[dict[str, Any]]:
    """Yield the entries of a table one by one: none may take much memory, and all together take none."""
    decoded = codecs.getincrementaldecoder("utf-8")().decode
    texts = (decoded(piece[start : start + _PIECE]) for piece in pieces for start in range(0, len(piece), _PIECE))
    text = _some(texts)
    head = _HEAD.match(text)
    if head is None:
        raise ValueError("it does not begin as tables do")
    decode, at = json.JSONDecoder().raw_decode, head.end()
    while not text.startswith("]", at):
        if len(text) - at < 2 * _LONG and (more := _some(texts)):
            text, at = text[at:] + more, 0
        for length in (_SHORT, _LONG):
            try:
                item, used = decode(text[at : at + length])
                break
            except ValueError:
                if length == _LONG:
                    raise
        if not isinstance(item, dict):
            raise ValueError("an entry is no object")  # noqa: TRY004 - as all that is wrong with a table
        yield item
        between = _BETWEEN.match(text, at + used)
        if between is None:
            raise ValueError("an entry does not end as one")
        at = between.end()
    for _ in texts:
        pass


def _some(texts: Iterator[str]) -> str:
    """Return the next pieces of a text: `_LONG` characters or more, or all that is left."""
    found, count = [], 0
    for text in texts:
        found.append(text)
        count += len(text)
        if count >= _LONG:
            break
    return "".join(found)


def _entry(item: dict[str, Any]) -> Entry:
    """Return an entry of their table as the archive has it."""
    xattrs = item.get("xattrs") or {}
    kind = _KINDS[item["type"]]
    return checked(
        _text(item["name"]),
        kind,
        _number(item, "mode") & 0o7777,
        _number(item, "uid"),
        _number(item, "gid"),
        _number(item, "size"),
        _seconds(item.get("modtime") or ""),
        _text(item.get("linkName") or "") if kind in (SYMLINK, HARDLINK) else b"",
        (_number(item, "devMajor"), _number(item, "devMinor")),
        tuple(sorted((_text(key), base64.b64decode(value, validate=True)) for key, value in xattrs.items())),
    )


def _text(value: str) -> bytes:
    """Return a name; a table cannot hold one that is not UTF-8, and writes a character in place of what it cannot."""
    if "\0" in value or "\ufffd" in value:
        raise ValueError(f"name {value[:80]!r}")
    return value.encode()


def _number(item: Mapping[str, Any], key: str) -> int:
    value = item.get(key, 0)
    if type(value) is not int or not 0 <= value <= MAX_NUMBER:
        raise ValueError(f"{key} {str(value)[:40]!r}")
    return value


def _seconds(text: str) -> int:
    """Return a time of RFC 3339 in whole seconds."""
    if not text:
        return 0
    plain = re.sub(r"\.[0-9]+", "", text.replace("Z", "+00:00"))
    moment = datetime.fromisoformat(plain)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
