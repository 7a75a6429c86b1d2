"""A process being loaded, which all loaders do alike: breadth first, each library once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from runtimeimg.check.loader.objects import MAX_OBJECTS, Closure, Loaded, Missing, Objects
from runtimeimg.compose.view import File
from runtimeimg.elfdynamic import Dynamic


class Loader(Protocol):
    """The rules of a loader. With `by_soname` a library is known by its SONAME as well as by what it was asked for.

    `own` are names of the loader itself, which is in every process and looked for by none.
    """

    objects: Objects
    by_soname: bool
    own: frozenset[str]

    def preloaded(self) -> Iterator[str]:
        """Yield what is loaded before all else."""

    def search(self, name: str, asking: Loaded, program: Loaded) -> Iterator[str]:
        """Yield the paths at which a library is looked for, the first ones first."""

    def find(self, name: str, asking: Loaded, program: Loaded) -> tuple[str, File, Dynamic] | str:
        """Return where a library is, and what it is; else why one that is there is not taken, or an empty text."""


def closure(loader: Loader, program: File, more: Sequence[Loaded] = ()) -> Closure:
    """Return what is loaded for a program; `more` is loaded before its libraries, as in a process that is there."""
    dynamic = loader.objects.of(program)
    assert dynamic is not None
    return _Loading(loader, Loaded(name=program.path, at=program.path, file=program, dynamic=dynamic), more).run()


class _Loading:
    """One process being loaded."""

    def __init__(self, loader: Loader, program: Loaded, more: Sequence[Loaded]) -> None:
        self._loader = loader
        self._program = program
        self._objects: list[Loaded] = [program, *more]
        self._names: dict[str, Loaded] = {}
        self._inodes: dict[int, Loaded] = {}
        for item in self._objects:
            self._note(item, item.name)
        self._missing: dict[str, Missing] = {}

    def run(self) -> Closure:
        for name in self._loader.preloaded():
            self._load(name, self._program)
        self._missing.clear()  # loaders go on without what cannot be preloaded
        done = 0
        while done < len(self._objects) < MAX_OBJECTS:
            level = self._objects[done:]
            self._fetch(level)
            for item in level:
                for name in item.dynamic.needed:
                    self._load(name, item)
            done += len(level)
        return Closure(objects=tuple(self._objects), missing=tuple(self._missing.values()))

    def _fetch(self, level: Iterable[Loaded]) -> None:
        """Bring what a level asks for at once: a layer is then read once for all of it."""
        wanted = []
        for item in level:
            for name in item.dynamic.needed:
                if name not in self._names:
                    view = self._loader.objects.view
                    file = next(filter(None, map(view.file, self._loader.search(name, item, self._program))), None)
                    wanted += [file] if file is not None else []
        self._loader.objects.fetch(wanted)

    def _load(self, name: str, asking: Loaded) -> None:
        if name in self._names or name in self._loader.own or len(self._objects) >= MAX_OBJECTS:
            return
        found = self._loader.find(name, asking, self._program)
        if isinstance(found, str):
            self._missing.setdefault(name, Missing(name=name, parent=asking, reason=found))
            return
        at, file, dynamic = found
        known = self._inodes.get(id(file.inode))
        if known is not None:
            self._names[name] = known
            return
        parent = asking if asking is not self._program or name in asking.dynamic.needed else None
        item = Loaded(name=name, at=at, file=file, dynamic=dynamic, parent=parent)
        self._objects.append(item)
        self._note(item, name)

    def _note(self, item: Loaded, name: str) -> None:
        self._names.setdefault(name, item)
        self._inodes[id(item.file.inode)] = item
        if self._loader.by_soname and item.dynamic.soname is not None:
            self._names.setdefault(item.dynamic.soname, item)
