"""What an ELF file asks of the loader: needed libraries, search paths, symbol versions, its interpreter, dlopen notes.

Read as the loader reads it, by the program headers and the dynamic segment: a file without section headers is one as
any other. Every number of the file is bounded, so that no file costs more than some milliseconds and megabytes; the
tests hold this module against pyelftools, which reads by section headers and trusts what stands in them.

Sources: System V ABI, "Dynamic Linking"; LSB, "Symbol Versioning"; UAPI group, "ELF dlopen() metadata".
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from runtimeimg import elf

Read = Callable[[int, int], bytes]
"""Returns the bytes of a file from an offset, as many as asked for or as there are."""

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP, _PT_NOTE = 1, 2, 3, 4
_NEEDED, _STRTAB, _STRSZ, _SONAME, _RPATH, _RUNPATH, _FLAGS_1 = 1, 5, 10, 14, 15, 29, 0x6FFFFFFB
_VERDEF, _VERDEFNUM, _VERNEED, _VERNEEDNUM = 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF
_NODEFLIB = 0x800
_WEAK, _BASE = 0x2, 0x1
_DLOPEN = 0x407C0C0A
_MAX_HEADERS, _MAX_DYNAMIC, _MAX_TEXT, _MAX_NEEDED, _MAX_VERSIONS = 128, 4096, 4096, 2048, 8192
_MAX_NOTES, _MAX_NOTE_BYTES = 64, 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Dlopen:
    """Libraries of which one is loaded while the program runs: `priority` is required, recommended or suggested."""

    sonames: tuple[str, ...]
    priority: str
    feature: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dynamic:
    """An ELF file as the loader sees it; texts that are not UTF-8 hold surrogates, as file names do.

    `requires` are symbol versions by the library that has to define them, those marked weak left out; `defines` are
    those that the file defines itself. `rpath` and `runpath` are the search paths as they stand, None where there are
    none. `loads` tells that there is a dynamic segment: without one nothing is loaded.
    """

    architecture: str
    kind: str
    bits: int
    isa_needed: int = 0
    loads: bool = False
    interpreter: str | None = None
    needed: tuple[str, ...] = ()
    soname: str | None = None
    rpath: str | None = None
    runpath: str | None = None
    no_default: bool = False
    requires: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    defines: tuple[str, ...] = ()
    dlopen: tuple[Dlopen, ...] = ()


def read(part: Read) -> Dynamic | None:
    """Return what a file asks of the loader; None for what is no well-formed ELF file.

    What is broken within a well-formed frame is taken as not there.
    """
    head = part(0, elf.HEAD)
    front = elf.read(head)
    if front is None:
        return None
    try:
        return _File(part, head).facts(front)
    except (struct.error, IndexError, OverflowError, ValueError):
        return None


class _Segment(NamedTuple):
    kind: int
    offset: int
    address: int
    size: int


class _File:
    def __init__(self, part: Read, head: bytes) -> None:
        self._part = part
        self._order = "<" if head[5] == 1 else ">"
        self._wide = head[4] == 2
        self.segments = tuple(self._headers(head))
        self.dynamic: dict[int, list[int]] = {}
        self._strings = (0, 0)
        self._left = _MAX_VERSIONS

    def facts(self, front: elf.Elf) -> Dynamic:
        for segment in self.segments:
            if segment.kind == _PT_DYNAMIC:
                self._read_dynamic(segment)
                break
        texts = {
            tag: self._text(values[-1]) for tag in (_SONAME, _RPATH, _RUNPATH) if (values := self.dynamic.get(tag))
        }
        return Dynamic(
            architecture=front.architecture,
            kind=front.kind,
            bits=64 if self._wide else 32,
            isa_needed=front.isa_needed,
            loads=bool(self.dynamic),
            interpreter=self._interpreter(),
            needed=tuple(filter(None, map(self._text, self.dynamic.get(_NEEDED, ())[:_MAX_NEEDED]))),
            soname=texts.get(_SONAME) or None,
            rpath=texts.get(_RPATH),
            runpath=texts.get(_RUNPATH),
            no_default=bool(self._last(_FLAGS_1) & _NODEFLIB),
            requires=self._requires(),
            defines=tuple(self._defines()),
            dlopen=tuple(self._dlopen()),
        )

    def _headers(self, head: bytes) -> Iterator[_Segment]:
        offset = struct.unpack_from(self._order + ("Q" if self._wide else "I"), head, 32 if self._wide else 28)[0]
        entry, count = struct.unpack_from(self._order + "HH", head, 54 if self._wide else 42)
        layout = struct.Struct(self._order + ("I4xQQ8xQ" if self._wide else "III4xI"))
        if entry < layout.size:
            return
        count = min(count, _MAX_HEADERS)
        table = self._part(offset, entry * count)
        for at in range(0, len(table) - layout.size + 1, entry):
            yield _Segment(*layout.unpack_from(table, at))

    def _read_dynamic(self, segment: _Segment) -> None:
        layout = struct.Struct(self._order + ("qQ" if self._wide else "iI"))
        table = self._part(segment.offset, min(segment.size, _MAX_DYNAMIC * layout.size))
        for tag, value in layout.iter_unpack(table[: len(table) // layout.size * layout.size]):
            if not tag:
                break
            self.dynamic.setdefault(tag & 0xFFFFFFFF, []).append(value)
        self._strings = (self._offset(self._last(_STRTAB)), self._last(_STRSZ))

    def _last(self, tag: int) -> int:
        values = self.dynamic.get(tag)
        return values[-1] if values else 0

    def _offset(self, address: int) -> int:
        """Return where in the file an address of the memory is."""
        for segment in self.segments:
            if segment.kind == _PT_LOAD and segment.address <= address < segment.address + segment.size:
                return address - segment.address + segment.offset
        return -1

    def _text(self, at: int) -> str:
        """Return a text of the string table; an empty one for what lies outside of it or has no end."""
        start, size = self._strings
        if start < 0 or not 0 <= at < size:
            return ""
        text, end, _ = self._part(start + at, min(size - at, _MAX_TEXT)).partition(b"\0")
        return text.decode("utf-8", "surrogateescape") if end else ""

    def _interpreter(self) -> str | None:
        for segment in self.segments:
            if segment.kind == _PT_INTERP:
                text = self._part(segment.offset, min(segment.size, _MAX_TEXT)).partition(b"\0")[0]
                return text.decode("utf-8", "surrogateescape") or None
        return None

    def _requires(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for at, record in self._chain(_VERNEED, _VERNEEDNUM, "HHIII", 4):
            _, count, name, first, _ = record
            versions = []
            for _, (_, flags, _, text, _) in self._linked(at + first, "IHHII", 4, count):
                if not flags & _WEAK:
                    versions.append(self._text(text))
            found[self._text(name)] = tuple(versions)
        return found

    def _defines(self) -> Iterator[str]:
        for at, (_, flags, _, _, _, first, _) in self._chain(_VERDEF, _VERDEFNUM, "HHHHIII", 6):
            if flags & _BASE:
                continue
            for _, (name, _) in self._linked(at + first, "II", 1, 1):
                yield self._text(name)

    def _chain(self, tag: int, number: int, layout: str, following: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        start = self._offset(self._last(tag)) if tag in self.dynamic else -1
        if start >= 0:
            yield from self._linked(start, layout, following, self._last(number))

    def _linked(self, at: int, layout: str, following: int, count: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Yield records that each say how far behind them the next one is, with their offsets."""
        record = struct.Struct(self._order + layout)
        for _ in range(min(count, _MAX_VERSIONS)):
            self._left -= 1
            data = self._part(at, record.size)
            if len(data) < record.size or self._left < 0:
                return
            values = record.unpack(data)
            yield at, values
            if not values[following]:
                return
            at += values[following]

    def _dlopen(self) -> Iterator[Dlopen]:
        notes = [segment for segment in self.segments if segment.kind == _PT_NOTE]
        for segment in notes[:_MAX_NOTES]:
            data = self._part(segment.offset, min(segment.size, _MAX_NOTE_BYTES))
            for raw in self._notes(data):
                yield from _described(raw)

    def _notes(self, data: bytes) -> Iterator[bytes]:
        at = 0
        for _ in range(_MAX_NOTES):
            if at + 12 > len(data):
                return
            name_size, size, kind = struct.unpack_from(self._order + "III", data, at)
            start = at + 12 + (name_size + 3) // 4 * 4
            if kind == _DLOPEN and data[at + 12 : at + 12 + name_size] == b"FDO\0":
                yield data[start : start + size]
            at = start + (size + 3) // 4 * 4


def _described(raw: bytes) -> Iterator[Dlopen]:
    """Yield what a dlopen note says, as far as it is what the specification says of such."""
    try:
        items = json.loads(raw.rstrip(b"\0"))
    except (ValueError, RecursionError):
        return
    for item in items if isinstance(items, list) else ():
        if not isinstance(item, dict) or not isinstance(names := item.get("soname"), list):
            continue
        if not names or not all(isinstance(name, str) for name in names):
            continue
        priority, feature = item.get("priority"), item.get("feature")
        yield Dlopen(
            sonames=tuple(names[:64]),
            priority=priority if priority in {"required", "suggested"} else "recommended",
            feature=feature if isinstance(feature, str) else "",
        )


FORMAT = "1"
"""Changes whenever fields do: what was kept before is then found no more."""


def to_bytes(found: Dynamic | None) -> bytes:
    """Return what was read for keeping."""
    import dataclasses

    import msgpack

    data: bytes = msgpack.packb(dataclasses.asdict(found) if found is not None else None, **_SURROGATES)
    return data


def from_bytes(data: bytes) -> Dynamic | None:
    """Return what was kept."""
    import msgpack

    fields = msgpack.unpackb(data, use_list=False, **_SURROGATES)
    if fields is None:
        return None
    notes = tuple(Dlopen(**item) for item in fields.pop("dlopen"))
    return Dynamic(**fields, dlopen=notes)


_SURROGATES: Any = {"unicode_errors": "surrogateescape"}
