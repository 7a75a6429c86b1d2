"""Contents of layers that were set aside, by the layers' keys; those that are on their way are waited for."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator

from runtimeimg.compose.spool import Spool, Taken
from runtimeimg.errors import InvalidDocumentError, RuntimeimgError

PRUNE = "empty the cache with 'runtimeimg cache prune' and try again"
_CHUNK = 1 << 20


class SetAside:
    """What was set aside; `close` gives it up."""

    def __init__(self) -> None:
        self._several: dict[str, list[Taken]] = {}
        self._coming: set[str] = set()
        self._changed = threading.Condition()
        self._stopped = False
        self._failure: BaseException | None = None
        self._window = b""
        self._window_of = -1
        self._window_at = 0

    def close(self) -> None:
        """Close the files."""
        for several in self._several.values():
            for taken in several:
                os.close(taken.file)
        self._several.clear()

    def missing(self, key: str, indexes: Iterable[int], count: int) -> bytearray:
        """Return for each of a layer's `count` entries whether it is among `indexes` and not here yet."""
        several = self._several.get(key, ())
        flags = bytearray(count)
        for index in indexes:
            flags[index] = not any(index in taken for taken in several)
        return flags

    def add(self, key: str, spool: Spool) -> None:
        """Have all that was taken."""
        self._add(key, spool.keep())

    @contextlib.contextmanager
    def growing(self, key: str, spool: Spool) -> Iterator[None]:
        """Have what is taken in the context as it comes; all of it must be verified by then, each entry for itself."""
        self._add(key, spool.growing(self._tell))
        yield
        spool.keep()
        self._tell()

    def expect(self, keys: Iterable[str]) -> None:
        """Let contents of these layers be waited for."""
        with self._changed:
            self._coming.update(keys)

    def over(self, keys: Iterable[str], failure: BaseException | None) -> None:
        """Let nobody wait any longer; what is missing then is missing because of `failure`."""
        with self._changed:
            self._coming.difference_update(keys)
            self._failure = self._failure or failure
            self._changed.notify_all()

    def stop(self) -> None:
        """End what sets contents aside as they come: nobody is going to read them."""
        self._stopped = True

    def go_on(self) -> None:
        """Raise NotWantedError where `stop` was called."""
        if self._stopped:
            raise NotWantedError

    def pieces(self, key: str, index: int, size: int) -> Iterator[bytes | memoryview]:
        """Yield the contents, `size` bytes, of an entry; to be called from one thread only.

        Files are wanted in about the order that they were taken in, so many come out of one read of the disk.
        """
        taken, offset, there = self._place(key, index)
        if there != size:
            raise InvalidDocumentError(f"layer {key}: it is not what its table of contents says", hint=PRUNE)
        while size:
            start = offset - self._window_at
            if taken.file != self._window_of or not 0 <= start < len(self._window):
                self._window_of, self._window_at, start = taken.file, offset, 0
                self._window = os.pread(taken.file, min(_CHUNK, taken.end - offset), offset)
                if not self._window:
                    raise RuntimeimgError("the temporary file of the build was cut short")
            data = memoryview(self._window)[start : start + size]
            offset, size = offset + len(data), size - len(data)
            yield data

    def part(self, key: str, index: int, offset: int, size: int) -> bytes:
        """Return bytes of an entry, as many as there are from an offset; from any thread."""
        taken, start, there = self._place(key, index)
        if offset < 0 or offset >= there:
            return b""
        return os.pread(taken.file, min(size, there - offset), start + offset)

    def _place(self, key: str, index: int) -> tuple[Taken, int, int]:
        """Return what has the contents of an entry, where in it, and how many bytes they are."""
        with self._changed:
            while True:
                for taken in self._several.get(key, ()):
                    place = taken.place(index)
                    if place is not None:
                        return taken, *place
                if key not in self._coming:
                    break
                self._changed.wait()
        if self._failure is not None:
            raise self._failure
        raise KeyError(f"entry {index} of {key} was not fetched")

    def _add(self, key: str, taken: Taken) -> None:
        with self._changed:
            self._several.setdefault(key, []).append(taken)
            self._changed.notify_all()

    def _tell(self) -> None:
        self.go_on()
        with self._changed:
            self._changed.notify_all()


class NotWantedError(Exception):
    """Nobody waits any more for what is set aside."""
