"""The C library's memory: few places to take it from, and nothing held that is not used."""

from __future__ import annotations


def few_arenas() -> None:
    """Have all threads take memory from one arena (mallopt(3), M_ARENA_MAX).

    A layer is read by three threads, and glibc gives each thread that begins an arena of its own, in which it keeps
    what was freed: forty megabytes of nothing in a build. Python's threads seldom wait for each other over this. C
    libraries without such arenas are left alone.
    """
    _call("mallopt", -8, 1)


def give_back() -> None:
    """Give what was freed back to the system (malloc_trim(3)), before something that needs memory of its own begins."""
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    import ctypes

    function = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function(*arguments)
