"""Fields of tar headers: numbers, checksums, PAX records and sparse maps (POSIX pax, GNU tar's extensions).

Everything here takes bytes that came from a stranger and raises TarFormatError, without a position; the reader of the
archive adds the names of layer and entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from zlib import adler32

from runtimeimg.budgets import MAX_COMPONENT, MAX_DEPTH, MAX_PATH

BLOCK = 512
MAX_NUMBER = 1 << 62
"""Sizes and times beyond this are refused; nothing real comes near it."""
MAX_ID = (1 << 32) - 1

_EIGHT_SPACES = 8 * 32
_LOW_BYTES = bytes(range(128))
_DECIMAL_TIME = re.compile(rb"(-?)([0-9]{1,19})(?:\.([0-9]*))?\Z")

XATTR, SPARSE = b"SCHILY.xattr.", b"GNU.sparse."
"""What keys of extended headers begin with: extended attributes, sparse maps."""

Fragment = tuple[int, int]
"""Offset and length, in bytes, of a part of a sparse file that holds data."""


class TarFormatError(Exception):
    """A header is not what the format allows; the text says what."""


def byte_sum(block: bytes) -> int:
    """Return the sum of a block's 512 bytes.

    Adler-32's lower half is one more than the sum modulo 65521, so that of 256 bytes, or 512 of ASCII, is exact: this
    is ten times faster than adding them up here.
    """
    if block.isascii():
        return (adler32(block) & 0xFFFF) - 1
    return (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) - 2


def check_sum(block: bytes) -> None:
    """Compare the checksum in a header; a sum over signed bytes, as some old writers made, is taken too."""
    found, wanted = byte_sum(block), _together(block[148:156])
    if found != wanted:
        high = len((block[:148] + block[156:]).translate(None, _LOW_BYTES))
        if found - 256 * high != wanted:
            raise TarFormatError("a header's checksum is wrong")


@lru_cache(4096)
def _together(field: bytes) -> int:
    """Return what the bytes of a header with this checksum come to, the checksum's own among them."""
    return number(field) + sum(field) - _EIGHT_SPACES


@lru_cache(4096)
def permissions(fields: bytes) -> tuple[int, int, int]:
    """Return mode, user and group of the fields that hold them."""
    return number(fields[:8]) & 0o7777, number(fields[8:16]), number(fields[16:])


@lru_cache(4096)
def number(field: bytes) -> int:
    """Return a numeric field: octal text, or GNU's base 256 when the first bit is set."""
    if field and field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=True)
        value = value + (1 << (8 * len(field) - 1)) if field[0] == 0x80 else value
        if abs(value) > MAX_NUMBER:
            raise TarFormatError("a number in a header is too large")
        return value
    text = field.strip(b" \0")
    if not text:
        return 0
    if not text.isdigit():
        raise TarFormatError(f"{field!r} in a header is not an octal number")
    try:
        return int(text, 8)
    except ValueError:
        raise TarFormatError(f"{field!r} in a header is not an octal number") from None


def text(field: bytes) -> bytes:
    """Return a text field up to its first NUL."""
    return field.partition(b"\0")[0]


def decimal(value: bytes, what: str) -> int:
    """Return a decimal number of an extended header, which must not be negative."""
    if not value.isdigit() or len(value) > 19 or int(value) > MAX_NUMBER:
        raise TarFormatError(f"{what} {value[:40]!r} of an extended header is not a number")
    return int(value)


def time(value: bytes) -> tuple[int, int]:
    """Return a time of an extended header in whole seconds, rounded down, and the nanoseconds beyond them."""
    found = _DECIMAL_TIME.match(value)
    if found is None:
        raise TarFormatError(f"time {value[:40]!r} of an extended header is not a number")
    whole, fraction = int(found[2]), int((found[3] or b"")[:9].ljust(9, b"0"))
    if found[1]:
        below = bool((found[3] or b"").strip(b"0"))
        whole, fraction = -whole - below, 1_000_000_000 - max(fraction, 1) if below else 0
    if abs(whole) > MAX_NUMBER:
        raise TarFormatError("a time of an extended header is too large")
    return whole, fraction


def pax_records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of an extended header: lines of `length key=value`, the length counting the line."""
    at = 0
    while at < len(data) and data[at]:
        space = data.find(b" ", at, at + 20)
        length = data[at:space] if space > 0 else b""
        if not length.isdigit():
            raise TarFormatError("an extended header has a record without length")
        end = at + int(length)
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end > len(data) or end <= space + 1 or data[end - 1] != 0x0A or not equals or not key:
            raise TarFormatError("an extended header has a broken record")
        yield key, value
        at = end


def pax_map(pairs: list[bytes]) -> list[Fragment]:
    """Return the fragments spelt as alternating offsets and lengths."""
    if len(pairs) % 2:
        raise TarFormatError("a sparse map is not made of pairs")
    numbers = [decimal(item, "sparse map entry") for item in pairs]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def old_sparse_fragments(area: bytes) -> list[Fragment]:
    """Return the fragments of an old GNU header's or its continuation's table: pairs of twelve-byte numbers."""
    found = []
    for at in range(0, len(area) - 23, 24):
        offset, length = area[at : at + 12], area[at + 12 : at + 24]
        if not offset.strip(b"\0 "):
            break
        found.append((number(offset), number(length)))
    return found


def check_fragments(fragments: list[Fragment], stored: int, size: int) -> None:
    """See that fragments follow each other, lie within the file's `size` and add up to the `stored` bytes."""
    end = total = 0
    for offset, length in fragments:
        if offset < end or length < 0 or offset + length > size:
            raise TarFormatError("a sparse map's parts overlap or lie outside of the file")
        end, total = offset + length, total + length
    if total != stored:
        raise TarFormatError("a sparse map does not fit the data stored for it")


def records(data: bytes) -> dict[bytes, bytes]:
    """Return the records of an extended header; later ones win, but sparse pairs of format 0.0 are collected."""
    found: dict[bytes, bytes] = {}
    pairs: list[bytes] = []
    for key, value in pax_records(data):
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            pairs.append(value)
        elif value or key.startswith(XATTR):
            found[key] = value
        else:
            found.pop(key, None)
    if pairs:
        found[SPARSE + b"map"] = b",".join(pairs)
    return found


def clean(path: bytes) -> bytes:
    """Return a path of a layer without `.`, empty components and leading or trailing `/`; `..` is refused."""
    if path[-1:] == b"/":
        path = path[:-1]
    # `find` takes half the time of `in`, which tries first whether it was given a number.
    if not path or path[0] in b"./" or path.find(b"/.") >= 0 or path.find(b"//") >= 0:
        parts = [part for part in path.split(b"/") if part and part != b"."]
        if b".." in parts:
            raise TarFormatError(f"its path '{shown(path)}' leads out of the layer")
        path = b"/".join(parts)
    if len(path) > MAX_COMPONENT:
        _check_length(path)
    return path


def _check_length(path: bytes) -> None:
    if len(path) > MAX_PATH or max(map(_length, path.split(b"/"))) > MAX_COMPONENT:
        raise TarFormatError("its path is longer than Linux allows")
    if path.count(b"/") >= MAX_DEPTH:
        raise TarFormatError(f"its path is more than {MAX_DEPTH} folders deep")


def _length(name: bytes) -> int:
    """Return how long a name is on a disk: a whiteout is never there itself, only what it hides."""
    return len(name.removeprefix(b".wh."))


def shown(path: bytes) -> str:
    """Return a path for messages."""
    text = path.decode("utf-8", "backslashreplace")
    return text if len(text) <= 200 else text[:197] + "..."
