"""The standard library's zstd module, or its backport where Python has none yet."""

from __future__ import annotations

import sys
from typing import Any


def zstd() -> Any:
    """Return the module; imported when first needed, as few layers are zstd."""
    if sys.version_info >= (3, 14):
        from compression import zstd as module
    else:
        from backports import zstd as module
    return module


def unpacked(data: bytes, most: int) -> bytes:
    """Return what one frame unfolds to; ValueError where that is more than `most` bytes, or the frame is cut off.

    Raises ZstdError for what is no frame.
    """
    unpacker = zstd().ZstdDecompressor()
    found: bytes = unpacker.decompress(data, max_length=most + 1)
    if len(found) > most or not unpacker.eof:
        raise ValueError(f"a frame unfolds to more than {most} bytes, or is cut off")
    return found
