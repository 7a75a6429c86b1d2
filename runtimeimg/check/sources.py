"""Where the files of an image's new layers lie in the image that they were copied from, by the copies of its plan."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from functools import cached_property

from runtimeimg.check.facts import Facts
from runtimeimg.check.packages import Package
from runtimeimg.compose.view import File
from runtimeimg.plan import Copy

Place = tuple[int, Copy, str | None]
"""The number of a copy, the copy, and the path of the builder image that it has put somewhere; None for others'."""


class Sources:
    """The sources of an image's files. What each copy puts where is found out once, for all files."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def of(self, path: str) -> tuple[Copy | None, str | None]:
        """Return the last copy that has put something at a path, and where in its image that is; of others None."""
        builder = self._facts.builder
        if not self._facts.copies:
            same = builder is not None and builder.find(path, follow=False) is not None
            return None, path if same else None
        found = [(place, top) for top in _upwards(path) for place in self._places.get(top, ())]
        for (_, copy, source), top in sorted(found, key=lambda item: -item[0][0]):
            if source is None:
                return copy, None
            rest = path[len(top) :].lstrip("/")
            at = posixpath.join(source, rest) if rest else source
            if builder is not None and builder.find(at, follow=False) is not None:
                return copy, at
        return None, None

    def attributed(self, file: File) -> tuple[Package | None, Copy | None, str | None]:
        """Return the package that a file came with, and what `of` does.

        What was copied is attributed by the records of the image that the copies are looked up in, what was not by
        the image's own.
        """
        facts = self._facts
        copy, source = self.of(file.path) if facts.is_new(file) else (None, None)
        theirs = facts.builders_owners if source is not None else None
        if source is not None and theirs is not None:
            return theirs.of(source), copy, source
        return facts.owners.of(file.path) if copy is None else None, copy, source

    @cached_property
    def _places(self) -> dict[str, list[Place]]:
        found: dict[str, list[Place]] = {}
        for number, copy in enumerate(self._facts.copies):
            for destination, source in self._placed(copy):
                found.setdefault(destination, []).append((number, copy, source))
        return found

    def _placed(self, copy: Copy) -> Iterator[tuple[str, str | None]]:
        """Yield the paths that a copy has put something at, and what."""
        view, builder = self._facts.view, self._facts.builder
        if builder is None or str(copy.image) != self._facts.copied_from:
            there = view.find(copy.destination)
            if there is not None:
                yield there.path, None
            return
        for name, top in builder.matching_names(copy.source):
            into = copy.destination
            if not top.is_folder and (into.endswith("/") or view.folder(into) is not None):
                into = posixpath.join(into, name)
            yield self._resolved(into, top), top.path

    def _resolved(self, path: str, source: File) -> str:
        """Return a destination without symlinks on its way; of a folder the last part is followed as well."""
        view = self._facts.view
        there = view.find(path) if source.is_folder else None
        if there is not None:
            return there.path
        folder, name = posixpath.split(path.rstrip("/"))
        parent = view.find(folder or "/")
        return posixpath.join(parent.path if parent is not None else folder, name)


def _upwards(path: str) -> Iterator[str]:
    """Yield a path and all folders that it is in."""
    yield path
    while path not in {"/", ""}:
        path = posixpath.dirname(path)
        yield path
