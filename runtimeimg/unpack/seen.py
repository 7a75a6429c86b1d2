"""Paths that were seen, sixteen to thirty-two bytes each whatever their length: a layer may have millions.

What is kept is Python's 64-bit hash of each, which is keyed anew in every process, so that nobody can choose paths that
fall together.
"""

from __future__ import annotations

from array import array

_ALL = (1 << 64) - 1
_FIRST = 1 << 10


class Seen:
    """A set of paths."""

    __slots__ = ("_count", "_mask", "_table")

    def __init__(self) -> None:
        self._count = 0
        self._mask = _FIRST - 1
        self._table = array("Q", bytes(8 * _FIRST))

    def add(self, path: bytes) -> bool:
        """Note a path and tell whether it is a new one."""
        key = hash(path) & _ALL or 1
        at = self._place(key)
        if self._table[at]:
            return False
        self._table[at] = key
        self._count += 1
        if 2 * self._count > self._mask:
            self._grow()
        return True

    def __contains__(self, path: object) -> bool:
        return self._table[self._place(hash(path) & _ALL or 1)] != 0

    def _place(self, key: int) -> int:
        """Return where `key` is in the table, or would be."""
        table, mask = self._table, self._mask
        at = key & mask
        while (there := table[at]) and there != key:
            at = at + 1 & mask
        return at

    def _grow(self) -> None:
        old, self._mask = self._table, 2 * self._mask + 1
        self._table = array("Q", bytes(8 * (self._mask + 1)))
        for key in old:
            if key:
                self._table[self._place(key)] = key
