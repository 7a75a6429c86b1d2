"""Tables and indexes of spans of a whole image as one file, which somebody else may have written.

What is read here is no more believed than a layer is: every value is checked, what unfolds is bounded. That it is true
of the blobs cannot be told from it; compose/shared.py says who has to be believed for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runtimeimg import budgets
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image.layertar import BLOCK_DEVICE, CHARACTER, DIRECTORY, FIFO, FILE, HARDLINK, SYMLINK, Entry, checked
from runtimeimg.image.spans import Spans
from runtimeimg.image.tarheader import MAX_NUMBER, TarFormatError
from runtimeimg.image.toc import OPAQUE, WHITEOUT, Row, Toc, TocBuilder
from runtimeimg.oci import Digest

_FORMAT = 1
_MAX_LAYERS = 1024
_KINDS = frozenset({FILE, DIRECTORY, SYMLINK, HARDLINK, CHARACTER, BLOCK_DEVICE, FIFO, WHITEOUT, OPAQUE})
_LATEST = 1 << 62


def encode(layers: Mapping[Digest, tuple[Toc, Spans]]) -> bytes:
    """Return tables and indexes by the digests of their blobs as one file."""
    import msgpack

    packed: bytes = msgpack.packb(
        (_FORMAT, {str(digest): (toc.to_bytes(), spans.to_bytes()) for digest, (toc, spans) in layers.items()})
    )
    return packed


def decode(data: bytes, name: str) -> dict[Digest, tuple[Toc, Spans]]:
    """Return what a file holds, each made anew of its checked values; `name` is what messages call the file.

    Raises InvalidDocumentError for one that is not what `encode` writes, or that unfolds to too much.
    """
    import msgpack

    try:
        return _layers(*msgpack.unpackb(data, use_list=False, max_map_len=_MAX_LAYERS))
    except InvalidDocumentError:
        raise
    except (ValueError, TypeError, AttributeError, RecursionError, msgpack.UnpackException) as error:
        raise InvalidDocumentError(f"{name} is not what was written: {str(error)[:200]}") from None


def _layers(form: Any, layers: Mapping[str, Any]) -> dict[Digest, tuple[Toc, Spans]]:
    if form != _FORMAT:
        raise ValueError(f"it is of version {str(form)[:20]}, and {_FORMAT} is known")
    return {Digest.parse(key): _layer(key, *both) for key, both in layers.items()}


def _layer(key: str, table: bytes, index: bytes) -> tuple[Toc, Spans]:
    found, spans = Toc.from_bytes(table), Spans.from_bytes(index)
    if found is None or spans is None:
        raise ValueError(f"what it has of {key[:80]} does not hold together")
    toc = _made_anew(found, f"the shared table of layer {key}", spans.size)
    if len(spans.starts) != toc.count + 1:
        raise ValueError(f"its table of {key[:80]} has {toc.count} entries, its index {len(spans.starts) - 1}")
    return toc, spans


def _made_anew(toc: Toc, name: str, size: int) -> Toc:
    """Return a table that is the same, put together by the rules that one of a layer is."""
    if toc.count > budgets.FREE_ENTRIES + size // budgets.BYTES_OF_ENTRY or toc.count > budgets.MAX_ENTRIES:
        raise ValueError(f"{name} has {toc.count} entries")
    builder = TocBuilder(name, lambda: size)
    for number, (_, row) in enumerate(toc.rows()):
        if builder.add(_entry(row)) is None or builder.count != number + 1 or builder.count > toc.count:
            raise ValueError(f"entry {number} of {name} means nothing")
    return builder.finish()


def _entry(row: Row) -> Entry:
    """Return the entry of an archive that a row of a table was made of."""
    path, kind, mode, uid, gid, size, mtime, target, device, xattrs = row
    _check(path, kind, target, (mode, uid, gid, size, *device), xattrs)
    if type(mtime) is not int or not -_LATEST < mtime < _LATEST or len(device) != 2:
        raise ValueError(f"entry {path[:80]!r} has an impossible time or device")
    if kind in (WHITEOUT, OPAQUE):
        folder, _, last = path.rpartition(b"/") if kind == WHITEOUT else (path, b"", b".wh..opq")
        hidden = b".wh." + last
        path, kind = (folder + b"/" + hidden if folder else hidden), FILE
    try:
        return checked(path, kind, mode & 0o7777, uid, gid, size, mtime, target, device, xattrs)
    except TarFormatError as error:
        raise ValueError(f"entry {path[:80]!r}: {error}") from None


def _check(path: Any, kind: Any, target: Any, numbers: tuple[Any, ...], xattrs: Any) -> None:
    """Raise ValueError for values of wrong types."""
    texts = (path, target, *_halves(xattrs))
    if kind not in _KINDS or not all(isinstance(text, bytes) and b"\0" not in text for text in (path, target)):
        raise ValueError(f"entry {str(path)[:80]} is of no known kind")
    if not all(isinstance(text, bytes) for text in texts):
        raise ValueError(f"entry {path[:80]!r} has attributes that are none")
    if not all(type(number) is int and 0 <= number <= MAX_NUMBER for number in numbers):
        raise ValueError(f"entry {path[:80]!r} has impossible numbers")


def _halves(xattrs: Any) -> Iterator[Any]:
    for pair in xattrs:
        name, value = pair
        yield name
        yield value
