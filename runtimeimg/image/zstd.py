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
