"""A few transfers at a time; the first failure ends them all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

_Item = TypeVar("_Item")

WORKERS = 4
"""Transfers at a time: enough to fill a line, few enough that memory stays flat."""


class Stopped(Exception):  # noqa: N818 - it is no error of its own
    """Raised in a worker whose siblings have failed, to end it early; never seen outside."""


def for_each(items: Iterable[_Item], work: Callable[[_Item, threading.Event], None], workers: int = WORKERS) -> None:
    """Call `work(item, stop)` for every item, at most `workers` at a time; raise the first failure.

    `stop` is set once anything has failed or the caller was interrupted; long work looks at it and raises Stopped.
    """
    items = list(items)
    stop = threading.Event()
    if len(items) == 1:
        work(items[0], stop)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="transfer") as pool:
        futures = [pool.submit(work, item, stop) for item in items]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            if not all(future.done() for future in futures):
                stop.set()
                for future in futures:
                    future.cancel()
    failures = [error for future in futures if not future.cancelled() and (error := future.exception())]
    for error in failures:
        if not isinstance(error, Stopped):
            raise error
