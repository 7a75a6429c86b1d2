"""Files and the packages that they came with."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from functools import cached_property

from runtimeimg.check.packages import languages, system
from runtimeimg.check.packages.rpm import rpm
from runtimeimg.check.packages.values import Package
from runtimeimg.compose.view import View

_COMPILED = re.compile(r"(.*)/__pycache__/([^/]+?)\.[a-z]+-[0-9]+(?:\.opt-[12])?\.pyc\Z")
_MODULE = re.compile(r".*/node_modules/(?:@[^/]+/)?[^/]+(?=/|\Z)")


class Owners:
    """The packages of an image. A file belongs to the package of a language before that of the distribution.

    `note` is told of records that there are and that are not read.
    """

    def __init__(self, view: View, note: Callable[[str], None] = lambda _: None) -> None:
        self._view = view
        self._note = note
        self._modules: dict[str, Package | None] = {}

    def of(self, path: str) -> Package | None:
        """Return the package of a file at a path without symlinks, None where none has it on record."""
        module = self._module(path)
        if module is not None:
            return module
        found = self._files.get(path)
        if found is None and (compiled := _COMPILED.match(path)) is not None:
            found = self._files.get(f"{compiled[1]}/{compiled[2]}.py")
        return found

    @cached_property
    def packages(self) -> tuple[Package, ...]:
        """All packages that are on record, by name; those of Node are known by their files alone."""
        return tuple(sorted(self._records[1]))

    @property
    def _files(self) -> dict[str, Package]:
        return self._records[0]

    @cached_property
    def _records(self) -> tuple[dict[str, Package], frozenset[Package]]:
        """Files by their paths, and all packages: some have no files."""
        view = self._view
        found: dict[str, Package] = {}
        known: set[Package] = set()
        name = system.distribution(view)
        for package, files in (
            *system.dpkg(view, name or "debian"),
            *system.apk(view, name or "alpine"),
            *rpm(view, name, self._note),
        ):
            known.add(package)
            for path in files:
                found.setdefault(self._canonical(path), package)
        folders = [item for item in view.walk() if item.is_folder and item.path.endswith((".dist-info", ".egg-info"))]
        for package, files in languages.pypi(view, folders):
            known.add(package)
            for path in files:
                found[self._canonical(path)] = package
        return found, frozenset(known)

    @cached_property
    def _links(self) -> dict[str, str]:
        """Folders of the root that are symlinks, as distributions have merged them (/lib to /usr/lib)."""
        root = self._view.folder("/")
        links = (item for item in self._view.names(root) if item.is_link) if root is not None else ()
        led = {item.path: self._view.find(item.path) for item in links}
        return {path: there.path for path, there in led.items() if there is not None and there.is_folder}

    def _canonical(self, path: str) -> str:
        """Return a path as it is without the symlinks of the root, as records may be older than these."""
        path = posixpath.normpath(path)
        top = "/" + path.split("/", 2)[1] if path.count("/") > 1 else path
        return self._links[top] + path[len(top) :] if top in self._links else path

    def _module(self, path: str) -> Package | None:
        """Return the module of Node that a file is in: the innermost one that is a package."""
        match = _MODULE.match(path)
        while match is not None:
            folder = match[0]
            if folder not in self._modules:
                there = self._view.folder(folder)
                self._modules[folder] = languages.npm(self._view, there) if there is not None else None
            if self._modules[folder] is not None:
                return self._modules[folder]
            match = _MODULE.match(posixpath.dirname(folder))
        return None
