"""Small files of a machine that may be there or not."""

from __future__ import annotations

import contextlib
from pathlib import Path

from runtimeimg.errors import RuntimeimgError
from runtimeimg.hostfile import read_file
from runtimeimg.text import plain

MAX_BYTES = 4 << 20
"""A longer file is cut: /proc/cpuinfo of a machine with a thousand processors has two megabytes."""
MAX_ENTRIES = 10_000
"""Entries of a folder that are looked at."""
MAX_TEXT = 4096


def text(path: Path) -> str:
    """Return the contents of a file, empty where it cannot be read."""
    with contextlib.suppress(RuntimeimgError, OSError):
        return read_file(path, MAX_BYTES).decode("utf-8", "replace")
    return ""


def word(path: Path) -> str:
    """Return the contents of a file of one line, fit to be a fact; empty where it cannot be read."""
    return fit(text(path))


def fit(value: str) -> str:
    """Return a value on one line, without control characters, of bounded length."""
    return " ".join(plain(value).split())[:MAX_TEXT]


def names(folder: Path) -> list[str]:
    """Return the sorted names in a folder, none where it cannot be read."""
    try:
        return sorted(entry.name for entry, _ in zip(folder.iterdir(), range(MAX_ENTRIES), strict=False))
    except OSError:
        return []


def pairs(content: str, separator: str) -> dict[str, str]:
    """Return the `key<separator>value` lines of a file, quotes of shells taken off; of a key given twice the first."""
    found: dict[str, str] = {}
    for line in content.splitlines():
        key, sign, value = line.partition(separator)
        if sign and not line.startswith("#"):
            found.setdefault(key.strip(), fit(value.strip().strip("\"'")))
    return found
