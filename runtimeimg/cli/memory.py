"""The C library's memory: few places to take it from."""

from __future__ import annotations


def few_arenas() -> None:
    """Have all threads take memory from one arena (mallopt(3), M_ARENA_MAX).

    A layer is read by three threads, and glibc gives each thread that begins an arena of its own, in which it keeps
    what was freed: forty megabytes of nothing in a build. Python's threads seldom wait for each other over this. C
    libraries without such arenas are left alone.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-8, 1)
