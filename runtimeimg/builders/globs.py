"""What buildah would take for another file: it reads a name that a pattern found as a pattern once more.

A file called `a[b]` is found by `a*` and then looked for as a pattern, which finds `ab`. Nothing can be written that
keeps it from that (buildah 1.28), so such sources are refused before it is asked.
"""

from __future__ import annotations

from collections.abc import Iterator

from runtimeimg.builders.base import BuildRequest
from runtimeimg.builders.sources import find_all_sources
from runtimeimg.cache import Cache
from runtimeimg.compose.lookup import matches
from runtimeimg.errors import NotFoundError, UsageError
from runtimeimg.plan import Copy
from runtimeimg.spec.patterns import literal_path
from runtimeimg.stores import open_one

_SPECIAL = frozenset("*?[\\")


def refuse_twice_read(request: BuildRequest) -> None:
    """Raise UsageError for a source that is, or whose pattern finds, a name with characters of patterns in it.

    The layers of images are looked into for patterns only.
    """
    for copy in request.plan.copies:
        path = literal_path(copy.source)
        for name in _found(copy, request) if path is None else (path,):
            if _SPECIAL & set(name):
                raise UsageError(
                    f"{request.place(copy.origin)}: '{name}' has a character of patterns in its name, "
                    "and buildah would take another file for it",
                    hint="pass --builder native, docker or buildkit, or copy the folder around it",
                )


def _found(copy: Copy, request: BuildRequest) -> Iterator[str]:
    """Yield what the pattern of a copy finds."""
    if copy.image is None or copy.image.transport == "dir":
        yield from (source.name for source in find_all_sources(request))
        return
    image = open_one(copy.image, request.platform, request.stores)
    cache = None if request.no_cache else Cache.open(request.cache_dir)
    try:
        yield from matches(image, copy.source, cache=cache, account=request.stores.account)
    except NotFoundError:
        return  # buildah says so too
