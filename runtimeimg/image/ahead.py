"""Work done ahead of its consumer in another thread: codecs and hashes release the interpreter's lock."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Iterable, Iterator
from queue import Empty, Queue
from typing import Any, TypeVar

T = TypeVar("T")

_END = object()


class Ahead(Iterator[T]):
    """`items`, made by another thread that begins at once and is at most `depth` items in front.

    What `items` raises is raised here. When it is closed early the thread ends with its next item and is waited for; a
    generator is closed in that thread, so that files it holds are closed too.
    """

    def __init__(self, items: Iterable[T], depth: int = 4) -> None:
        self._queue: Queue[tuple[Any, BaseException | None]] = Queue(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=_produce, args=(items, self._queue, self._stopped), daemon=True)
        self._thread.start()
        self._ended = False

    def __next__(self) -> T:
        if self._ended:
            raise StopIteration
        item, error = self._queue.get()
        if error is not None or item is _END:
            self._ended = True
        if error is not None:
            raise error
        if item is _END:
            raise StopIteration
        return item  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the thread."""
        self._ended = True
        self._stopped.set()
        while self._thread.is_alive():
            with contextlib.suppress(Empty):
                self._queue.get(timeout=0.02)


def ahead(items: Iterable[T], depth: int = 4) -> Generator[T, None, None]:
    """Yield `items`, made by another thread that begins with the first that is asked for; see Ahead."""
    with contextlib.closing(Ahead(items, depth)) as made:
        yield from made


def _produce(items: Iterable[Any], queue: Queue[tuple[Any, BaseException | None]], stopped: threading.Event) -> None:
    iterator = iter(items)
    try:
        for item in iterator:
            queue.put((item, None))
            if stopped.is_set():
                break
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
    except BaseException as error:  # noqa: BLE001 - it is raised again where the items are used
        queue.put((None, error))
    else:
        queue.put((_END, None))


class Counted(Iterator[bytes]):
    """The pieces of a blob, and what went wrong with them: a thread may find that when nobody listens any more."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._bytes = 0
        self._error: Exception | None = None

    def __next__(self) -> bytes:
        try:
            piece = next(self._pieces)
        except StopIteration:
            raise
        except Exception as error:
            self._error = error
            raise
        self._bytes += len(piece)
        return piece

    def count(self) -> int:
        """Return how many bytes were read."""
        return self._bytes

    def finish(self) -> None:
        """Read the rest, so that all of the blob is verified; raise what went wrong, now or before."""
        for _ in self:
            pass
        if self._error is not None:
            raise self._error
