"""The loader that a path leads to: musl's by its name, else glibc's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from runtimeimg.check.loader.glibc import Glibc
from runtimeimg.check.loader.musl import Musl
from runtimeimg.check.loader.objects import Objects
from runtimeimg.check.loader.walk import Loader
from runtimeimg.elfdynamic import Dynamic

_MUSL = re.compile(r"/ld-musl-[A-Za-z0-9_.-]+\.so\.1\Z")


def is_musl(path: str) -> bool:
    """Tell whether a path is that of musl's loader."""
    return _MUSL.search(path) is not None


def loader_at(
    objects: Objects, path: str, *, env: Mapping[str, str], cwd: str = "/", levels: Sequence[str] = ()
) -> Loader | None:
    """Return the loader at a path, None where there is none; the rest is as Glibc and Musl have it."""
    file = objects.view.file(path)
    if file is None:
        return None
    if is_musl(path):
        return Musl(objects, file, path, env=env, cwd=cwd)
    return Glibc(objects, file, env=env, cwd=cwd, levels=levels)


def is_for_other_libc(loader: Loader, dynamic: Dynamic) -> bool:
    """Tell whether a module is for musl and the loader is glibc's: packages bring a module for each libc."""
    return isinstance(loader, Glibc) and any(name.startswith("libc.musl-") for name in dynamic.needed)
