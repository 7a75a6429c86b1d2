"""Bytes that come in pieces, cut into lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

MAX_LINE = 64 * 1024
"""Bytes; a longer line is cut."""


class Lines:
    """Takes bytes as they come and gives back whole lines, without their line breaks."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that `data` ends."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r")
        while len(self._rest) > MAX_LINE:
            yield self._rest[:MAX_LINE]
            self._rest = self._rest[MAX_LINE:]

    def end(self) -> Iterator[bytes]:
        """Yield the last line when no line break ended it."""
        if self._rest:
            yield self._rest
        self._rest = b""


class Tail:
    """The last lines of one or more streams."""

    def __init__(self, count: int = 20) -> None:
        self._streams: dict[int, Lines] = {}
        self._last: deque[bytes] = deque(maxlen=count)

    def feed(self, stream: int, data: bytes) -> None:
        """Take what came on a stream."""
        self._last.extend(self._streams.setdefault(stream, Lines()).feed(data))

    def lines(self) -> tuple[str, ...]:
        """Return the last lines, oldest first; what is not UTF-8 is replaced."""
        for stream in self._streams.values():
            self._last.extend(stream.end())
        return tuple(line.decode("utf-8", "replace") for line in self._last)
