"""Lines of a file in the order of the ids that they begin with, found by bisection."""

from __future__ import annotations

import contextlib
import json
import os
import re
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from operator import ge
from typing import IO

from runtimeimg.budgets import MAX_GRAPH_LINE
from runtimeimg.errors import InvalidDocumentError

_ID = re.compile(rb'\{"id":("(?:[^"\\\n]|\\[^\n]){1,50000}")')
_PLAIN_ID = re.compile(rb'^\{"id":"([^"\\\n]+)"', re.MULTILINE)
_BLOCK = 1 << 13
"""Bytes that are read around a place of a bisection; most lines are shorter."""
_CHUNK = 1 << 20
"""Bytes that are read at a time of many lines."""
_AHEAD = 1 << 16
"""Bytes that are read behind a line that was found."""
_KEPT = 1 << 16


@dataclass(frozen=True, slots=True)
class Line:
    """A line, and the byte of its file that it begins with."""

    text: bytes
    at: int


class Lines:
    """The lines of `file`, which may be closed, between its first `head` bytes and the `tail` that it ends with."""

    def __init__(self, file: IO[bytes], *, head: int, tail: bytes, name: str) -> None:
        self._fd = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._fd)
        self._start, self._end = head, os.fstat(self._fd).st_size - len(tail)
        self._name = name
        self._known: dict[int, tuple[int, int, str]] = {}
        self._after, self._ahead, self._ahead_at = self._start, b"", self._start
        if self._end < self._start or self._read(self._end - 1, self._end + len(tail)) != b"\n" + tail:
            raise self._damaged(max(self._end, 0))

    def where(self, at: int) -> str:
        """Return the place of a byte for messages: the file and its line."""
        breaks = sum(self._read(first, min(first + _CHUNK, at)).count(b"\n") for first in range(0, at, _CHUNK))
        return f"{self._name}:{breaks + 1}"

    def find(self, wanted: str) -> Line | None:
        """Return the line of an id, None where there is none; those in their order are found without a search."""
        line = self._next(wanted)
        if line is None:
            low, high = self._place(wanted)
            if low == high:
                return None
            line = Line(self._read(low, high), low)
        self._after = line.at + len(line.text)
        return line

    def _next(self, wanted: str) -> Line | None:
        """Return the line behind the last that was found, if it is that of an id and not a long one."""
        at = self._after
        if at >= self._end:
            return None
        end = self._ahead.find(b"\n", at - self._ahead_at) if at >= self._ahead_at else -1
        if end < 0:
            self._ahead, self._ahead_at = self._read(at, min(at + _AHEAD, self._end)), at
            end = self._ahead.find(b"\n")
        text = self._ahead[at - self._ahead_at : end + 1]
        return Line(text, at) if text and self._id(text, at) == wanted else None

    def ids(self, prefix: str) -> Iterator[str]:
        """Yield the ids that begin with `prefix`, in order; InvalidDocumentError where they are in none."""
        at, _ = self._place(prefix)
        rest, last = b"", ""
        while at < self._end:
            data = rest + self._read(at, min(at + _CHUNK, self._end))
            at = min(at + _CHUNK, self._end)
            whole, newline, rest = data.rpartition(b"\n")
            if len(rest) > MAX_GRAPH_LINE:
                raise self._damaged(at)
            found = self._ids(whole, at) if newline else []
            if any(map(ge, [last, *found], found)):
                raise self._damaged(at)
            yield from takewhile(lambda text: text.startswith(prefix), found)
            if found and not found[-1].startswith(prefix):
                return
            last = found[-1] if found else last

    def _ids(self, raw: bytes, at: int) -> list[str]:
        """Return the ids of whole lines, the last of which has no line break."""
        quoted = _PLAIN_ID.findall(raw)
        if len(quoted) == raw.count(b"\n") + 1:
            with contextlib.suppress(ValueError):
                return b"\n".join(quoted).decode().split("\n")
        return [self._id(line, at) for line in raw.split(b"\n")]

    def _place(self, wanted: str) -> tuple[int, int]:
        """Return where the line of an id begins and ends, or twice where it would stand."""
        low, high = self._start, self._end
        below, above = "", None
        while low < high:
            start, end, there = self._line((low + high) // 2)
            if start < low or end > high or there <= below or (above is not None and there >= above):
                raise self._damaged(start)
            if there == wanted:
                return start, end
            if there < wanted:
                low, below = end, there
            else:
                high, above = start, there
        return low, low

    def _line(self, at: int) -> tuple[int, int, str]:
        """Return where the line that byte `at` is of begins and ends, and its id."""
        found = self._known.get(at)
        if found is None:
            start, end, head = self._around(at)
            found = start, end, self._id(head, start)
            if len(self._known) < _KEPT:
                self._known[at] = found
        return found

    def _around(self, at: int) -> tuple[int, int, bytes]:
        """Return where the line that byte `at` is of begins and ends, and its first bytes at least."""
        size = _BLOCK
        while size <= 2 * MAX_GRAPH_LINE:
            first, last = max(self._start, at - size), min(self._end, at + size)
            data = self._read(first, last)
            before = data.rfind(b"\n", 0, at - first)
            after = data.find(b"\n", at - first)
            if after >= 0 and (before >= 0 or first == self._start):
                return first + before + 1, first + after + 1, data[before + 1 : after]
            size *= 8
        raise self._damaged(at)

    def _id(self, raw: bytes, at: int) -> str:
        found = _ID.match(raw)
        if found is None:
            raise self._damaged(at)
        quoted = found[1]
        if b"\\" in quoted:
            try:
                return str(json.loads(quoted))
            except ValueError:
                raise self._damaged(at) from None
        try:
            return quoted[1:-1].decode()
        except ValueError:
            raise self._damaged(at) from None

    def _read(self, start: int, end: int) -> bytes:
        parts = []
        while start < end:
            data = os.pread(self._fd, min(end - start, 16 * _CHUNK), start)
            if not data:
                raise InvalidDocumentError(f"{self._name}: the graph became shorter while it was read")
            parts.append(data)
            start += len(data)
        return b"".join(parts)

    def _damaged(self, at: int) -> InvalidDocumentError:
        return InvalidDocumentError(
            f"{self.where(at)}: the graph is damaged, or its lines were changed by hand",
            hint="build the graph anew with 'runtimeimg graph build'",
        )
