"""How glibc's ld.so finds libraries (ld.so(8); glibc, elf/dl-load.c and elf/dl-deps.c).

Breadth first from the program, every name once: what is loaded already under that name or SONAME is not looked for
again. Otherwise: DT_RPATH of what asks for it, of what asked for that and so on, unless what asks has a DT_RUNPATH
(beside which no DT_RPATH of the same file counts); LD_LIBRARY_PATH; DT_RUNPATH of what asks; the table of ldconfig; the
folders that the loader was built with. A file for another machine is passed over. In each folder the subfolders of
glibc-hwcaps come first.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence

from runtimeimg.check.loader import cachefile
from runtimeimg.check.loader.objects import Loaded, Objects, fits
from runtimeimg.compose.view import File
from runtimeimg.elfdynamic import Dynamic

_PRELOAD = "/etc/ld.so.preload"
_FOLDERS = re.compile(rb"(?:/(?:usr/)?lib[0-9A-Za-z_./-]{0,64}/\0){2,}")
_TOKEN = re.compile(r"\$(?:\{(ORIGIN|LIB|PLATFORM)\}|(ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_]))")
_MAX_LOADER, _MAX_PRELOAD, _MAX_FOLDERS = 4 << 20, 1 << 16, 512
_PLATFORMS = {"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "arm": "v7l", "ppc64le": "power8"}


class Glibc:
    """The loader of an image: `interpreter` is its file, `env` the process's environment, `cwd` its folder.

    `levels` are the names of glibc-hwcaps that the processor has, the best first.
    """

    by_soname = True

    def __init__(
        self,
        objects: Objects,
        interpreter: File,
        *,
        env: Mapping[str, str],
        cwd: str = "/",
        levels: Sequence[str] = (),
    ) -> None:
        self.objects = objects
        self._view = objects.view
        self._interpreter = interpreter
        self._env = env
        self._cwd = cwd
        self._levels = tuple(levels)
        self.folders = self._built_in()
        itself = objects.of(interpreter)
        self.own = frozenset({itself.soname} if itself is not None and itself.soname is not None else ())
        table = self._view.file(cachefile.PATH)
        raw = self._view.read(table, cachefile.MAX_BYTES) if table is not None else b""
        self.table = cachefile.parse(raw)

    def _built_in(self) -> tuple[str, ...]:
        """Return the folders that the loader was built with, as they stand in it one behind the other."""
        found = _FOLDERS.search(self._view.read(self._interpreter, _MAX_LOADER))
        if found is None:
            return ("/lib64", "/usr/lib64", "/lib", "/usr/lib")
        return tuple(os.fsdecode(item).rstrip("/") for item in found[0].split(b"\0") if item)

    def expanded(self, path: str, origin: str, architecture: str) -> str:
        """Return a path with its tokens replaced (ld.so(8), "Dynamic string tokens")."""
        values = {
            "ORIGIN": origin,
            "LIB": self.folders[0].strip("/"),
            "PLATFORM": _PLATFORMS.get(architecture, architecture),
        }
        return _TOKEN.sub(lambda match: values[match[1] or match[2]], path)

    def preloaded(self) -> Iterator[str]:
        """Yield what is loaded before all else: LD_PRELOAD, then /etc/ld.so.preload."""
        yield from filter(None, re.split(r"[ :]", self._env.get("LD_PRELOAD", "")))
        file = self._view.file(_PRELOAD)
        if file is not None:
            text = os.fsdecode(self._view.read(file, _MAX_PRELOAD))
            yield from filter(None, re.split(r"[\s:]", re.sub(r"#.*", "", text)))

    def search(self, name: str, asking: Loaded, program: Loaded) -> Iterator[str]:
        """Yield the paths at which a library is looked for, the first ones first."""
        arch = asking.dynamic.architecture
        if "/" in name:
            yield self._absolute(self.expanded(name, asking.folder, arch))
            return
        for folder in self._folders(asking, program):
            yield from (f"{folder}/glibc-hwcaps/{level}/{name}" for level in self._levels)
            yield f"{folder}/{name}"
        no_default = asking.dynamic.no_default
        for path in self.table.paths(name, self._levels):
            if not no_default or posixpath.dirname(path) not in self.folders:
                yield path
        for folder in () if no_default else self.folders:
            yield from (f"{folder}/glibc-hwcaps/{level}/{name}" for level in self._levels)
            yield f"{folder}/{name}"

    def _folders(self, asking: Loaded, program: Loaded) -> Iterator[str]:
        if asking.dynamic.runpath is None:
            chain: list[Loaded] = []
            at: Loaded | None = asking
            while at is not None:
                chain.append(at)
                at = at.parent
            if program not in chain:
                chain.append(program)
            for item in chain:
                if item.dynamic.runpath is None:
                    yield from self._path(item.dynamic.rpath, item)
        yield from self._path(self._env.get("LD_LIBRARY_PATH") or None, program, r"[:;]")
        yield from self._path(asking.dynamic.runpath, asking)

    def _path(self, text: str | None, of: Loaded, separator: str = ":") -> Iterator[str]:
        for item in re.split(separator, text)[:_MAX_FOLDERS] if text is not None else ():
            yield self._absolute(self.expanded(item, of.folder, of.dynamic.architecture)).rstrip("/")

    def _absolute(self, path: str) -> str:
        return path if path.startswith("/") else posixpath.join(self._cwd, path)

    def find(self, name: str, asking: Loaded, program: Loaded) -> tuple[str, File, Dynamic] | str:
        """Return where a library is, and what it is; a text that says why it is not taken where it is not."""
        reason = ""
        for path in self.search(name, asking, program):
            file = self._view.find(path)
            if file is None or not file.is_file:
                continue
            dynamic = self.objects.of(file)
            if dynamic is not None and fits(dynamic, program.dynamic):
                return path, file, dynamic
            if dynamic is None:
                return f"'{path}' is no ELF file"
            reason = reason or f"'{path}' is for {dynamic.architecture}, {dynamic.bits} bits"
        return reason
