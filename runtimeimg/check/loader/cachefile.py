"""The table of libraries that ldconfig makes: /etc/ld.so.cache (glibc, sysdeps/generic/dl-cache.h, format 1.1)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

PATH = "/etc/ld.so.cache"
MAX_BYTES = 64 << 20
_OLD, _NEW = b"ld.so-1.7.0", b"glibc-ld.so.cache1.1"
_HEADER, _ENTRY = struct.Struct("<20sII4xI12x"), struct.Struct("<iIIIQ")
_EXTENSION, _SECTION, _HWCAPS = 0xEAA42174, struct.Struct("<IIII"), 1
_NAMED = 1 << 62
_MAX_ENTRIES, _MAX_TEXT, _MAX_HWCAPS = 1_000_000, 4096, 256


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFile:
    """Paths of libraries by soname, in the file's order, each with the level that it is for, empty for any."""

    entries: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)

    def paths(self, name: str, levels: Sequence[str]) -> Iterator[str]:
        """Yield where a library is said to be: those for the best of `levels` first, then those for any."""
        found = self.entries.get(name, ())
        for level in (*levels, ""):
            yield from (path for path, wants in found if wants == level)


def parse(raw: bytes) -> CacheFile:
    """Return what the file says; nothing where it is not of that format, as the loader then goes without it."""
    if raw.startswith(_OLD):
        raw = _behind_old(raw)
    if not raw.startswith(_NEW) or len(raw) < _HEADER.size:
        return CacheFile()
    _, count, _, extension = _HEADER.unpack_from(raw)
    hwcaps = _hwcaps(raw, extension)
    found: dict[str, list[tuple[str, str]]] = {}
    end = min(len(raw), _HEADER.size + _ENTRY.size * min(count, _MAX_ENTRIES))
    for at in range(_HEADER.size, end - _ENTRY.size + 1, _ENTRY.size):
        _, key, value, _, hwcap = _ENTRY.unpack_from(raw, at)
        level = ""
        if hwcap & _NAMED:
            number = hwcap & 0xFFFFFFFF
            level = hwcaps[number] if number < len(hwcaps) else "?"
        elif hwcap:
            continue  # a bit of the old kind, which no loader of today looks at
        found.setdefault(_text(raw, key), []).append((_text(raw, value), level))
    return CacheFile(entries=found)


def _behind_old(raw: bytes) -> bytes:
    """Return the part of the new format behind a table of the old one."""
    if len(raw) < 16:
        return b""
    count = struct.unpack_from("<I", raw, 12)[0]
    at = (16 + 12 * count + 7) // 8 * 8
    return raw[at:]


def _hwcaps(raw: bytes, at: int) -> list[str]:
    """Return the names of levels that the extension lists."""
    if not 0 < at <= len(raw) - 8 or struct.unpack_from("<I", raw, at)[0] != _EXTENSION:
        return []
    for number in range(min(struct.unpack_from("<I", raw, at + 4)[0], _MAX_HWCAPS)):
        place = at + 8 + number * _SECTION.size
        if place + _SECTION.size > len(raw):
            break
        tag, _, offset, size = _SECTION.unpack_from(raw, place)
        if tag == _HWCAPS:
            count = max(0, min(size // 4, _MAX_HWCAPS, (len(raw) - offset) // 4))
            return [_text(raw, text) for text in struct.unpack_from(f"<{count}I", raw, offset)]
    return []


def _text(raw: bytes, at: int) -> str:
    end = raw.find(b"\0", at, at + _MAX_TEXT)
    return raw[at:end].decode("utf-8", "surrogateescape") if end >= 0 else ""
