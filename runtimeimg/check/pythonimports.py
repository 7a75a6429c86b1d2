"""What Python is told to run, and what that imports: scripts, modules, applications of WSGI and ASGI servers.

Source: Python reference, "The import system"; of files only the imports at their left margin are looked at.
"""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runtimeimg.check import rules
from runtimeimg.check.commands import Command, copied_from
from runtimeimg.check.facts import Facts, Findings, copied
from runtimeimg.check.named import named_folders
from runtimeimg.compose.view import File
from runtimeimg.findings import Finding

_IMPORT = re.compile(rb"^from (\.*[A-Za-z0-9_.]*) import |^import ([A-Za-z0-9_., ]+)", re.MULTILINE)
_APPLICATION = re.compile(r"([A-Za-z_][\w.]*):[A-Za-z_][\w.]*(?:\(.*\))?\Z")
_SERVERS = frozenset({"gunicorn", "uvicorn", "hypercorn", "daphne", "waitress-serve", "granian"})
_FOLDERS = ("--chdir", "--app-dir", "--pythonpath")
_WITH_VALUE = frozenset({"-W", "-X", "--check-hash-based-pycs"})
_MAX_FILES, _MAX_FILE = 200, 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Python:
    """An interpreter: its minor version, where it is installed, where a virtual environment is, and where it looks."""

    minor: int
    prefix: str
    venv: str | None
    path: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of its folder of libraries."""
        return f"python3.{self.minor}"


def started(facts: Facts, python: Python, library: str, command: Command) -> Findings:
    """Yield that a script or module that Python is to run, or what it imports, is not there."""
    found = _Imports(facts, python, library)
    words = list(command.words[1:])
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word.startswith("-c") or word == "-":
            return
        if word.startswith("-m"):
            module = word[2:] or (words.pop(0) if words else "")
            yield from found.module(module, command, [facts.cwd])
            yield from _application(facts, found, module, command, words)
            return
        if word in _WITH_VALUE and words:
            words.pop(0)
    if not words:
        return
    path = facts.absolute(words[0])
    script = facts.view.find(path)
    if script is None:
        yield facts.found(
            rules.SCRIPT_MISSING,
            path,
            f"{command.role}: '{' '.join(command.words[:4])}' runs '{path}', which is not there",
            copied_from(facts, [path]),
        )
    elif script.is_file:
        yield from found.of(script, [posixpath.dirname(script.path)])
        yield from _application(facts, found, posixpath.basename(path), command, words[1:])


def _application(facts: Facts, found: _Imports, server: str, command: Command, words: Sequence[str]) -> Findings:
    """Yield that the application which a server is given as MODULE:NAME is not there."""
    if server not in _SERVERS:
        return
    folders = [facts.cwd]
    for number, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in _FOLDERS:
            folders += [
                facts.absolute(item)
                for item in (value if equals else "".join(words[number + 1 : number + 2])).split(",")
            ]
    for word in words:
        if (match := _APPLICATION.match(word)) is not None:
            yield from found.module(match[1], command, folders)
            return


@dataclass(slots=True)
class _Imports:
    """Imports followed through the application's own files: those that are not among installed packages."""

    facts: Facts
    python: Python
    library: str

    def module(self, name: str, command: Command, folders: Sequence[str]) -> Findings:
        """Yield that a module which is to be run, or what it imports, is not there."""
        if not name or name.partition(".")[0] in sys.stdlib_module_names:
            return
        if not self._there(name, folders):
            yield self._missing(name, name, f"{command.role}: Python is to run the module '{name}'")
            return
        for folder in folders:
            for path in _files(f"{folder}/{name.replace('.', '/')}"):
                file = self.facts.view.file(path)
                if file is not None:
                    yield from self.of(file, folders)
                    return

    def of(self, start: File, folders: Sequence[str]) -> Findings:
        """Yield what a file, and what it imports of those beside it, imports and is not there."""
        waiting, seen, said = [start], {start.path}, set[str]()
        while waiting and len(seen) <= _MAX_FILES:
            file = waiting.pop(0)
            for name in _imported(self.facts.view.read(file, _MAX_FILE)):
                if name.startswith("."):
                    continue
                top = name.partition(".")[0]
                if top in sys.stdlib_module_names or top in said:
                    continue
                if not self._there(top, folders):
                    said.add(top)
                    yield self._missing(top, file.path, f"'{file.path}' imports '{name}'")
                for folder in folders:
                    for path in _files(f"{folder}/{name.replace('.', '/')}"):
                        own = self.facts.view.file(path)
                        if own is not None and own.path not in seen:
                            seen.add(own.path)
                            waiting.append(own)
        yield from named_folders(self.facts, sorted(seen))

    def _missing(self, module: str, inside: str, what: str) -> Finding:
        top = module.partition(".")[0]
        fix = "install it in the builder image, and copy the folder that it is in"
        if self.facts.builder is not None:
            for folder in (self.facts.cwd, *self.python.path):
                if any(self.facts.builder.find(f"{folder}/{top}{ending}") is not None for ending in ("", ".py")):
                    fix = copied(f"{folder}/{top}" if folder == self.facts.cwd else folder)
                    break
        return self.facts.found(rules.SCRIPT_MISSING, inside, f"{what}, which is in none of Python's folders", fix)

    def _there(self, module: str, more: Sequence[str]) -> bool:
        """Tell whether a module is in one of the folders; where a path file or an archive adds others, it may be."""
        name, view = module.partition(".")[0], self.facts.view
        for folder in (*more, *self.python.path, self.library, f"{self.library}/lib-dynload"):
            there = view.folder(folder)
            if there is None:
                if view.file(folder) is not None:
                    return True
                continue
            if view.find(f"{folder}/{name}") is not None:
                return True
            files = [posixpath.basename(item.path) for item in view.names(there)]
            if any(file.startswith((f"{name}.", "__editable__")) or file.endswith(".egg-link") for file in files):
                return True
        return False


def _files(path: str) -> tuple[str, str, str]:
    return f"{path}.py", f"{path}/__init__.py", f"{path}/__main__.py"


def _imported(text: bytes) -> Iterator[str]:
    """Yield the modules that a file imports at its left margin."""
    for match in _IMPORT.finditer(text):
        names = (
            [match[1]] if match[1] is not None else [item.split()[0] for item in match[2].split(b",") if item.strip()]
        )
        yield from (name.decode() for name in names if name)
