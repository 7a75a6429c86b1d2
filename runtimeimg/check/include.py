"""`include:` of a spec: what the copies need besides, found in the builder image and not in the base.

`auto` is the closure of what is copied: the libraries that the builder image's own loader finds for its programs and
native modules, those that files say they load by themselves, and the own files of interpreters that are copied. What
the base has at the same place, or its loader finds, stays the base's; libc and the loader come along only where the
base has none.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from runtimeimg.check.javascript import externalized
from runtimeimg.check.libraries import LIBC_FAMILY
from runtimeimg.check.loader.making import is_for_other_libc, loader_at
from runtimeimg.check.loader.objects import Loaded, Objects
from runtimeimg.check.loader.walk import Loader, closure
from runtimeimg.compose.view import File, View
from runtimeimg.errors import NotFoundError
from runtimeimg.plan import BuildPlan, Copy

ORIGIN = "spec.runtime.include"
_PYTHON = re.compile(r"python3\.([0-9]+)\Z")
_PRESETS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "ca-certificates": (
        ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"),
        "ca-certificates",
    ),
    "tzdata": (("/usr/share/zoneinfo",), "tzdata"),
    "locales": (("/usr/lib/locale",), "locales"),
}
"""Of each the places of which the first that is there is taken, and the package that brings it."""
_NSS = ("/etc/nsswitch.conf", "/etc/services", "/etc/protocols")


def resolved(plan: BuildPlan, builder: View, base: View | None) -> BuildPlan:
    """Return a plan with copies for what it includes; NotFoundError where the builder image does not have it."""
    paths: dict[str, None] = {}
    for name in plan.include:
        if name == "auto":
            found: Iterable[str] = _Closure(plan, builder, base).paths()
        elif name == "nss":
            found = _nss(builder)
        else:
            found = [_preset(name, builder)]
        paths |= dict.fromkeys(path for path in found if not _has(base, path))
    copies = [
        Copy(source=_escaped(path), destination=path, image=plan.builder, chown=None, origin=ORIGIN) for path in paths
    ]
    return replace(plan, copies=(*plan.copies, *copies), include=())


def _escaped(path: str) -> str:
    """Return a path as the source of a copy, in which some characters mean patterns."""
    return re.sub(r"([*?\[\\])", r"\\\1", path)


def _has(base: View | None, path: str) -> bool:
    return base is not None and base.find(path) is not None


def _preset(name: str, builder: View) -> str:
    places, package = _PRESETS[name]
    for path in places:
        if builder.find(path) is not None:
            return path
    raise NotFoundError(
        f"{ORIGIN}: '{name}' is not in the builder image '{builder.image.name}': it has no '{places[0]}'",
        hint=f"install the package {package} in the builder image",
    )


def _nss(builder: View) -> Iterator[str]:
    """Yield what looks up hosts, users and services beside libc itself."""
    yield from (path for path in _NSS if builder.file(path) is not None)
    for folder in ("/lib", "/usr/lib", "/lib64", "/usr/lib64", *_multiarch(builder)):
        there = builder.folder(folder)
        for file in builder.names(there) if there is not None else ():
            if re.match(r"libnss_(?:files|dns)\.so\.2\Z", posixpath.basename(file.path)):
                yield f"{folder}/{posixpath.basename(file.path)}"


def _multiarch(view: View) -> Iterator[str]:
    for top in ("/lib", "/usr/lib"):
        folder = view.folder(top)
        for item in view.names(folder) if folder is not None else ():
            if item.is_folder and item.path.endswith("-linux-gnu"):
                yield f"{top}/{posixpath.basename(item.path)}"


class _Closure:
    """What the copies of a plan need."""

    def __init__(self, plan: BuildPlan, builder: View, base: View | None) -> None:
        self._builder = builder
        self._base = base
        self._objects = Objects(builder)
        self._base_objects = Objects(base) if base is not None else None
        self._loaders: dict[str, Loader | None] = {}
        self._of_base: dict[str, Loader | None] = {}
        copied = [copy for copy in plan.copies if copy.image == plan.builder and plan.builder is not None]
        self._tops = [item for copy in copied for item in builder.matching(copy.source)]
        self._covered = tuple(item.path for item in self._tops)

    def paths(self) -> list[str]:
        """Return the paths of the builder image that are missing, each once."""
        found: dict[str, None] = {}
        waiting = list(self._tops)
        while waiting:
            files = [file for top in waiting for file in self._files(top)]
            waiting = []
            for path in (*self._libraries(files, found), *(path for file in files for path in self._own_files(file))):
                there = self._builder.find(path)
                if path not in found and there is not None:
                    found[path] = None
                    if there.is_folder and not _has(self._base, path):
                        self._covered += (there.path,)
                        waiting.append(there)
        return list(found)

    def _libraries(self, files: Sequence[File], found: Collection[str]) -> Iterator[str]:
        """Yield loaders and libraries that programs and native modules need, and what is read by those themselves."""
        self._objects.fetch(files)
        programs = [(file, dynamic) for file in files if (dynamic := self._objects.of(file)) is not None]
        usual = next((dynamic.interpreter for _, dynamic in programs if dynamic.interpreter), None) or self._usual()
        for file, dynamic in programs:
            interpreter = dynamic.interpreter or usual
            loader = self._loader(interpreter) if dynamic.loads and interpreter is not None else None
            if loader is None or interpreter is None or is_for_other_libc(loader, dynamic):
                continue
            foreign = not _has(self._base, interpreter)
            if foreign and dynamic.interpreter is not None:
                yield interpreter
            loaded = closure(loader, file)
            for item in (*loaded.libraries, *self._later(loader, loaded.objects)):
                if item.at not in found and self._is_wanted(item, interpreter, foreign=foreign):
                    yield item.at
                    yield from (path for path in externalized(self._builder, item.file) if not self._is_copied(path))

    def _files(self, top: File) -> Iterator[File]:
        """Yield files that may be programs or libraries."""
        for file in (top, *(self._builder.walk(top.path) if top.is_folder else ())):
            name = posixpath.basename(file.path)
            if file.is_file and file.size and (file.mode & 0o111 or ".so" in name or name.endswith(".node")):
                yield file

    def _usual(self) -> str | None:
        """Return the loader of the builder image, as its shell names it."""
        for path in ("/bin/sh", "/usr/bin/env", "/bin/busybox"):
            file = self._builder.file(path)
            dynamic = self._objects.of(file) if file is not None else None
            if dynamic is not None and dynamic.interpreter is not None:
                return dynamic.interpreter
        return None

    def _loader(self, path: str) -> Loader | None:
        if path not in self._loaders:
            self._loaders[path] = loader_at(self._objects, path, env=self._builder.image.config.env)
        return self._loaders[path]

    def _later(self, loader: Loader, objects: Sequence[Loaded]) -> Iterator[Loaded]:
        """Yield what files say that they load by themselves, and what that needs, but for what is merely suggested."""
        for item in objects:
            for note in item.dynamic.dlopen:
                if note.priority == "suggested":
                    continue
                for name in note.sonames:
                    found = loader.find(name, item, objects[0])
                    if not isinstance(found, str):
                        at, file, dynamic = found
                        yield Loaded(name=name, at=at, file=file, dynamic=dynamic, parent=item)
                        yield from closure(loader, file).libraries
                        break

    def _is_wanted(self, item: Loaded, interpreter: str, *, foreign: bool) -> bool:
        if self._is_copied(item.file.path) or self._is_copied(item.at) or _has(self._base, item.at):
            return False
        if LIBC_FAMILY.match(posixpath.basename(item.at)):
            return foreign
        if self._base is None or self._base_objects is None or foreign:
            return True
        if interpreter not in self._of_base:
            self._of_base[interpreter] = loader_at(self._base_objects, interpreter, env=self._base.image.config.env)
        loader = self._of_base[interpreter]
        plain = replace(item, dynamic=replace(item.dynamic, rpath=None, runpath=None))
        return loader is None or isinstance(loader.find(item.name, plain, plain), str)

    def _is_copied(self, path: str) -> bool:
        return any(path == top or path.startswith(f"{top}/") for top in self._covered)

    def _own_files(self, file: File) -> Iterator[str]:
        """Yield the own files of an interpreter that is copied alone."""
        name = posixpath.basename(file.path)
        prefix = posixpath.dirname(posixpath.dirname(file.path))
        if (match := _PYTHON.match(name)) is not None:
            folder = f"{prefix}/lib/python3.{match[1]}"
            if self._builder.folder(folder) is not None and not self._is_copied(folder):
                yield folder
        elif name == "java" and self._builder.folder(f"{prefix}/lib/server") is not None:
            if not self._is_copied(prefix):
                yield prefix
            led = (self._builder.find(inner.path) for inner in self._builder.walk(prefix) if inner.is_link)
            for there in filter(None, led):
                if not there.path.startswith(f"{prefix}/") and not self._is_copied(there.path):
                    yield there.path
