"""Headers of rpm packages, as the database keeps them (rpm, docs/manual/hregions.md; "RPM V4 Package format", Header).

A header is two counts, entries of 16 bytes and their data, all in network order. It may be anything: what does not
fit is an error, and what is made of it is no larger than it is itself, times two.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

_NAME, _VERSION, _RELEASE, _EPOCH, _LICENSE, _ARCH = 1000, 1001, 1002, 1003, 1014, 1022
_STATES, _OLD_FILES, _SOURCE, _INDEXES, _BASES, _FOLDERS = 1029, 1027, 1044, 1116, 1117, 1118
_WANTED = frozenset(
    {_NAME, _VERSION, _RELEASE, _EPOCH, _LICENSE, _ARCH, _STATES, _OLD_FILES, _SOURCE, _INDEXES, _BASES, _FOLDERS}
)
_CHAR, _INT32, _STRING, _ARRAY, _I18N = 1, 4, 6, 8, 9
_COUNTS, _ENTRY = struct.Struct(">II"), struct.Struct(">IIiI")
_MAX_ENTRIES = 65_536
_MAX_PATH = 4096
_ON_DISK = frozenset({0, 3})
"""States of files that are there: normal, and on a shared disk; not those that were replaced or left out."""

Values = Mapping[int, tuple[bytes, ...] | tuple[int, ...]]


def values(header: bytes) -> Values:
    """Return what a header says under the tags that are wanted here; ValueError for one that is malformed."""
    if len(header) < _COUNTS.size:
        raise ValueError("a header is cut short")
    count, size = _COUNTS.unpack_from(header)
    start = _COUNTS.size + count * _ENTRY.size
    if count > _MAX_ENTRIES or start + size > len(header):
        raise ValueError("a header is shorter than it says")
    found: dict[int, tuple[bytes, ...] | tuple[int, ...]] = {}
    for number in range(count):
        tag, kind, offset, many = _ENTRY.unpack_from(header, _COUNTS.size + number * _ENTRY.size)
        if tag in _WANTED and tag not in found:
            if not 0 <= offset <= size or many > size:
                raise ValueError("an entry of a header lies outside of it")
            found[tag] = _value(header, kind, start + offset, many, start + size)
    return found


def _value(header: bytes, kind: int, at: int, count: int, end: int) -> tuple[bytes, ...] | tuple[int, ...]:
    if kind in {_CHAR, _INT32}:
        size = 1 if kind == _CHAR else 4
        if at + count * size > end:
            raise ValueError("numbers of a header lie outside of it")
        return struct.unpack_from(f">{count}{'B' if kind == _CHAR else 'I'}", header, at)
    if kind in {_STRING, _ARRAY, _I18N}:
        return tuple(_strings(header, at, 1 if kind == _STRING else count, end))
    raise ValueError(f"a value of a header is of kind {kind}")


def _strings(header: bytes, at: int, count: int, end: int) -> Iterator[bytes]:
    for _ in range(count):
        stop = header.find(b"\0", at, end)
        if stop < 0:
            raise ValueError("a text of a header has no end")
        yield header[at:stop]
        at = stop + 1


def text(found: Values, tag: int) -> str:
    """Return a text, empty where there is none."""
    value = next(iter(found.get(tag, ())), b"")
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else ""


def fields(found: Values) -> dict[str, str]:
    """Return name, version (with the release), epoch, architecture, licence and source package."""
    epoch = next(iter(found.get(_EPOCH, ())), 0)
    version, release = text(found, _VERSION), text(found, _RELEASE)
    parts = text(found, _SOURCE).removesuffix(".src.rpm").removesuffix(".nosrc.rpm").rsplit("-", 2)
    return {
        "name": text(found, _NAME),
        "version": f"{version}-{release}" if release else version,
        "epoch": str(epoch) if isinstance(epoch, int) and epoch else "",
        "architecture": text(found, _ARCH),
        "license": text(found, _LICENSE),
        "origin": parts[0] if len(parts) == 3 else "",
    }


def files(found: Values) -> Iterator[str]:
    """Yield the paths of a package's files, but for those that were not installed or that another package replaced."""
    states = found.get(_STATES, ())
    for number, path in enumerate(_paths(found)):
        if path is not None and (number >= len(states) or states[number] in _ON_DISK):
            yield path.decode("utf-8", "surrogateescape")


def _paths(found: Values) -> Iterator[bytes | None]:
    """Yield each path, None in the place of one that is malformed."""
    bases, folders = found.get(_BASES, ()), found.get(_FOLDERS, ())
    if not bases:
        yield from (path if isinstance(path, bytes) and len(path) <= _MAX_PATH else None
                    for path in found.get(_OLD_FILES, ()))  # fmt: skip
        return
    for base, index in zip(bases, found.get(_INDEXES, ()), strict=False):
        folder = folders[index] if isinstance(index, int) and index < len(folders) else None
        fits = isinstance(base, bytes) and isinstance(folder, bytes) and len(base) + len(folder) <= _MAX_PATH
        yield folder + base if fits and isinstance(base, bytes) and isinstance(folder, bytes) else None
