"""Layers that carry a table of their own: what is in them, and where the contents of each file are in the blob.

eStargz (containerd's stargz-snapshotter, docs/estargz.md) and zstd:chunked (containers-storage) are layers as any
other, whose files are packed apart, with a table at the end. An annotation of the layer's descriptor has the table's
digest, so a table is as good as the manifest; it has the digest of each part of each file, so these are too. What the
table says and what the archive holds may differ only where whoever made the manifest wanted them to.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple, Self

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
from runtimeimg.image.tarheader import MAX_NUMBER, TarFormatError
from runtimeimg.image.toc import Toc, TocBuilder
from runtimeimg.image.zstd import zstd
from runtimeimg.oci import Descriptor

ReadRange = Callable[[int, int], bytes]
"""Returns the bytes of a blob from one offset up to another."""

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
_OFFSETS = re.compile(rb'"(?:offset|endOffset)"\s*:\s*([0-9]{1,18})\b')
_SHORT, _LONG = 1 << 12, 1 << 18  # characters that nearly all entries, and all entries, are shorter than
_FORMAT = 1


class Part(NamedTuple):
    """A part of a file: what of the blob unfolds to it (none for zeros), what of that it is, and its sha256 digest."""

    start: int
    end: int
    skip: int
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the files of a layer, by the indexes of the entries of its table."""

    of: Mapping[int, tuple[Part, ...]]

    def to_bytes(self) -> bytes:
        """Return them for keeping."""
        import msgpack

        packed: bytes = zstd().compress(msgpack.packb((_FORMAT, [(key, parts) for key, parts in self.of.items()])), 1)
        return packed

    @classmethod
    def from_bytes(cls, data: bytes) -> Self | None:
        """Return what was kept, None when it is of another version."""
        import msgpack

        try:
            form, items = msgpack.unpackb(zstd().decompress(data), use_list=False, max_array_len=budgets.MAX_ENTRIES)
            if form != _FORMAT:
                return None
            return cls({index: tuple(Part(*part) for part in parts) for index, parts in items})
        except (ValueError, TypeError, msgpack.UnpackException, zstd().ZstdError):
            return None


def has_table(descriptor: Descriptor) -> bool:
    """Tell whether a layer says that it has a table of its own."""
    return _ESTARGZ in descriptor.annotations or _chunked(descriptor) is not None


def read_table(descriptor: Descriptor, read: ReadRange, name: str) -> tuple[Toc, Parts]:
    """Return a layer's table and where the contents are; `name` is what messages call the layer.

    Raises IntegrityError for a table that is not the one of the annotation, InvalidDocumentError for one that makes no
    sense.
    """
    try:
        raw, end, own = (
            _estargz(descriptor, read, name) if _ESTARGZ in descriptor.annotations else _crfs(descriptor, read)
        )
        return _Reader(name, end).table(raw, own)
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


def _estargz(descriptor: Descriptor, read: ReadRange, name: str) -> tuple[bytes, int, Entry]:
    """Return the table's JSON, where the files end in the blob, and the table's own entry in the archive."""
    size = descriptor.size
    footer = _FOOTER_FIELD.search(read(max(size - _FOOTER, 0), size))
    at = int(footer[1], 16) if footer is not None else size
    if at >= size:
        raise InvalidDocumentError(f"{name}: its table is not where eStargz has it")
    if size - at > _allowed(descriptor):
        raise InvalidDocumentError(f"{name}: its table is too large for the size of its blob")
    archive = LayerTar(Unfolded(iter([read(at, size)]), name, size=size - at), name)
    for entry in archive:
        if entry.path == _OWN_NAME and entry.size <= _allowed(descriptor):
            raw = b"".join(archive.content())
            _check(raw, descriptor.annotations[_ESTARGZ], name)
            return raw, at, entry
        break
    raise InvalidDocumentError(f"{name}: what is in the place of its table is none")


def _crfs(descriptor: Descriptor, read: ReadRange) -> tuple[bytes, int, None]:
    found = _chunked(descriptor)
    assert found is not None
    position = _POSITION.match(found[1])
    if position is None:
        raise ValueError(f"position {found[1][:80]!r}")
    start, length, size = (int(number) for number in position.groups())
    if start + length > descriptor.size or max(length, size) > _allowed(descriptor):
        raise ValueError(f"position {found[1][:80]!r}")
    packed = read(start, start + length)
    _check(packed, found[0], "table")
    module = zstd()
    try:
        raw: bytes = module.ZstdDecompressor().decompress(packed, size + 1)
    except module.ZstdError as error:
        raise ValueError(str(error)) from None
    if len(raw) != size:
        raise ValueError(f"{len(raw)} bytes in place of {size}")
    return raw, start, None


def _check(data: bytes, digest: str, name: str) -> None:
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
        raise IntegrityError(f"{name}: its table is not the one that the manifest names")


class _Reader:
    """Makes our table of theirs."""

    def __init__(self, name: str, end: int) -> None:
        self._builder = TocBuilder(name)
        self._end = end
        self._parts: dict[int, list[Any]] = {}
        self._sizes: dict[int, int] = {}

    def table(self, raw: bytes, own: Entry | None) -> tuple[Toc, Parts]:
        """Return the table, and the parts of the files."""
        # `endOffset` is that of the file, not of the part, and eStargz has none. What a name adds here only makes a
        # part end too early, which its digest tells.
        following = dict(pairwise(sorted({int(found[1]) for found in _OFFSETS.finditer(raw)} | {self._end})))
        current: int | None = None
        for item in _entries(raw.decode()):
            if item["type"] != "chunk":
                entry = _entry(item)
                current = None
                if self._builder.add(entry) is None or entry.kind != FILE or not entry.size:
                    continue
                current = self._builder.count - 1
                self._sizes[current] = entry.size
            if current is not None:
                self._parts.setdefault(current, []).append(self._part(item, current, following))
        if own is not None:
            self._builder.add(own)  # its contents are left to be read as those of any layer
        return self._builder.finish(), Parts(dict(self._whole()))

    def _part(self, item: dict[str, Any], index: int, following: Mapping[int, int]) -> tuple[int, Part]:
        at, size = _number(item, "chunkOffset"), _number(item, "chunkSize")
        size = size or self._sizes[index] - at
        if item.get("chunkType") == "zeros":
            return at, Part(0, 0, 0, size, b"")
        start = _number(item, "offset")
        end = following.get(start, 0)
        digest = item.get("chunkDigest") or item.get("digest") or ""
        if not digest.startswith("sha256:") or not 0 < start < end <= self._end:
            raise ValueError(f"a part of {str(item.get('name', ''))[:80]!r}")
        return at, Part(start, end, _number(item, "innerOffset"), size, bytes.fromhex(digest[len("sha256:") :]))

    def _whole(self) -> Iterator[tuple[int, tuple[Part, ...]]]:
        """Yield the parts of each file; those of one that they do not make up are an error."""
        for index, found in self._parts.items():
            at = 0
            for offset, part in found:
                if offset != at or part.size <= 0:
                    raise ValueError(f"the parts of entry {index} do not follow on each other")
                at += part.size
            if at != self._sizes[index]:
                raise ValueError(f"the parts of entry {index} are {at} of its {self._sizes[index]} bytes")
            yield index, tuple(part for _, part in found)


def _entries(text: str) -> Iterator[dict[str, Any]]:
    """Yield the entries of a table one by one: none may take much memory, and all together take none."""
    head = _HEAD.match(text)
    if head is None:
        raise ValueError("it does not begin as tables do")
    decode, at = json.JSONDecoder().raw_decode, head.end()
    while not text.startswith("]", at):
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
