"""What there is of this process now."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from runtimeimg.remains.places import remove_place


class Held:
    """What there is of this process now, so that who ends it early can remove it or say what is left."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal's handler may ask in the very thread that holds it
        self._items: dict[object, tuple[str, Callable[[], bool] | None]] = {}

    def add(self, key: object, shown: str, remove: Callable[[], bool] | None = None) -> None:
        """Note something, before it is made; `remove` removes it and tells whether it is gone."""
        with self._lock:
            self._items[key] = (shown, remove)

    def drop(self, key: object) -> None:
        """Note that something is gone, or in its place."""
        with self._lock:
            self._items.pop(key, None)

    @contextlib.contextmanager
    def during(self, shown: str) -> Iterator[None]:
        """Note something that is there in part as long as the context is open.

        After an error it is no more than any error leaves; who ends the process early, though, is still told of it.
        """
        key = object()
        self.add(key, shown)
        try:
            yield
        except Exception:
            self.drop(key)
            raise
        self.drop(key)

    def clear_away(self) -> list[str]:
        """Remove what can be removed and return, for people, what is left."""
        with self._lock:
            items = list(self._items.items())
        for key, (_, remove) in items:
            with contextlib.suppress(OSError):
                if remove is not None and remove():
                    self.drop(key)
        remove_place(None)
        with self._lock:
            return list(dict.fromkeys(shown for shown, _ in self._items.values()))


held = Held()
