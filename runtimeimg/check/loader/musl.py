"""How musl's loader finds libraries (musl, ldso/dynlink.c, load_library).

Breadth first, each name once; SONAMEs do not count. The libraries that are parts of libc are the loader itself. Then:
LD_LIBRARY_PATH; the search path of what asks, of what asked for that and so on, DT_RUNPATH in place of DT_RPATH; the
folders of /etc/ld-musl-ARCH.path, or /lib, /usr/local/lib and /usr/lib. The first file of the name is taken whatever it
is: one for another machine is an error.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Mapping

from runtimeimg.check.loader.objects import Loaded, Objects, fits
from runtimeimg.compose.view import File
from runtimeimg.elfdynamic import Dynamic

_OWN = re.compile(r"lib(?:c|pthread|rt|m|dl|util|xnet)\.")
_ORIGIN = re.compile(r"\$(?:ORIGIN|\{ORIGIN\})")
_NAME = re.compile(r"ld-musl-([A-Za-z0-9_.-]+)\.so\.1\Z")
_DEFAULT = "/lib:/usr/local/lib:/usr/lib"
_MAX_PATH = 1 << 16


class Musl:
    """The loader of an image: `interpreter` is its file, `named` the path that programs call it by."""

    by_soname = False
    own: frozenset[str] = frozenset()

    def __init__(
        self, objects: Objects, interpreter: File, named: str, *, env: Mapping[str, str], cwd: str = "/"
    ) -> None:
        self.objects = objects
        self._view = objects.view
        self._interpreter = interpreter
        self._named = named
        self._env = env
        self._cwd = cwd
        self.folders = tuple(filter(None, re.split(r"[:\n]", self._path_file())))

    def _path_file(self) -> str:
        """Return the folders that are looked into, from the file beside /etc of the prefix that the loader is in."""
        match = _NAME.search(self._named)
        if match is None:
            return _DEFAULT
        prefix = posixpath.dirname(posixpath.dirname(self._named)).rstrip("/")
        file = self._view.file(f"{prefix}/etc/ld-musl-{match[1]}.path")
        return _DEFAULT if file is None else os.fsdecode(self._view.read(file, _MAX_PATH))

    def preloaded(self) -> Iterator[str]:
        """Yield what LD_PRELOAD names."""
        yield from filter(None, re.split(r"[ :]", self._env.get("LD_PRELOAD", "")))

    def search(self, name: str, asking: Loaded, program: Loaded) -> Iterator[str]:
        """Yield the paths at which a library is looked for, the first ones first."""
        del program
        if "/" in name:
            yield self._absolute(name)
            return
        for folder in re.split(r"[:\n]", self._env.get("LD_LIBRARY_PATH", "")):
            if folder:
                yield f"{self._absolute(folder)}/{name}"
        at: Loaded | None = asking
        while at is not None:
            text = at.dynamic.rpath if at.dynamic.runpath is None else at.dynamic.runpath
            path = _ORIGIN.sub(lambda _, folder=at.folder: folder, text or "")  # type: ignore[misc]
            if "$" not in path:
                yield from (f"{self._absolute(folder)}/{name}" for folder in re.split(r"[:\n]", path) if folder)
            at = at.parent
        yield from (f"{folder}/{name}" for folder in self.folders)

    def find(self, name: str, asking: Loaded, program: Loaded) -> tuple[str, File, Dynamic] | str:
        """Return where a library is, and what it is; a text that says why it is not taken where it is not."""
        if _OWN.match(name) or name == self._named:
            own = self.objects.of(self._interpreter)
            return (self._named, self._interpreter, own) if own is not None else f"'{self._named}' is no ELF file"
        for path in self.search(name, asking, program):
            file = self._view.find(path)
            if file is None or not file.is_file:
                continue
            dynamic = self.objects.of(file)
            if dynamic is None or not fits(dynamic, program.dynamic):
                kind = "no ELF file" if dynamic is None else f"for {dynamic.architecture}, {dynamic.bits} bits"
                return f"'{path}' is {kind}"
            return path, file, dynamic
        return ""

    def _absolute(self, path: str) -> str:
        return path if path.startswith("/") else posixpath.join(self._cwd, path)
