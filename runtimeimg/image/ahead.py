"""Work done ahead of its consumer in another thread: codecs and hashes release the interpreter's lock."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Iterable
from queue import Empty, Queue
from typing import Any, TypeVar

T = TypeVar("T")

_END = object()


def ahead(items: Iterable[T], depth: int = 4) -> Generator[T, None, None]:
    """Yield `items`, made by another thread that is at most `depth` items in front.

    What `items` raises is raised here. When the consumer stops early, the thread ends with its next item and is
    waited for; a generator is closed in that thread, so that files it holds are closed too.
    """
    queue: Queue[tuple[Any, BaseException | None]] = Queue(depth)
    stopped = threading.Event()
    thread = threading.Thread(target=_produce, args=(items, queue, stopped), daemon=True)
    thread.start()
    try:
        while True:
            item, error = queue.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stopped.set()
        while thread.is_alive():
            with contextlib.suppress(Empty):
                queue.get(timeout=0.02)


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
