"""Folders that an application's own scripts name, and that were left behind in the builder image.

What a script opens while it runs cannot be told from its text, as names are put together. A text that is just the name
of a folder beside it is as good as sure where that folder holds pages, templates or pictures and no source.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator

from runtimeimg.check import rules
from runtimeimg.check.facts import Facts, Findings, copied
from runtimeimg.check.sources import Sources
from runtimeimg.compose.view import View

_NAME = re.compile(
    rb"""(["'`])(?:\./)?([A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}){0,4})/?\1"""
)
_ASSETS = (
    *(".html", ".htm", ".css", ".svg", ".png", ".jpg", ".jpeg", ".gif", ".ico", ".webp", ".woff", ".woff2", ".ejs"),
    *(".hbs", ".handlebars", ".pug", ".mustache", ".njk", ".liquid", ".j2", ".jinja", ".jinja2", ".tmpl", ".eta"),
)
_SOURCE = (".ts", ".tsx", ".mts", ".cts", ".py", ".rb", ".java", ".go", ".rs", ".test.js", ".spec.js")
_MAX_SCRIPT, _MAX_NAMES, _MAX_FILES = 1 << 20, 5000, 2000


def named_folders(facts: Facts, scripts: Iterable[str]) -> Findings:
    """Yield folders that scripts name, that lie beside them in the builder image and nowhere in the image."""
    named = list(_named(facts, scripts))
    builder = facts.builder_at([there for _, _, _, there in named]) if named else None
    said = set[str]()
    for path, name, into, there in named if builder is not None else ():
        if there not in said and builder is not None and _is_served(builder, there):
            said.add(there)
            how = copied(there) if there == into else f"copy it, too: '{there}:{into}'"
            message = f"'{path}' names '{name}', which is a folder in the builder image and is not in the image"
            yield facts.found(rules.NAMED_FOLDER, into, message, how)


def _named(facts: Facts, scripts: Iterable[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield names that lead nowhere in the image: script, name, and where it leads there and in the builder image."""
    if facts.open_builder is None:
        return
    sources = Sources(facts)
    for path in scripts:
        file = facts.view.file(path)
        source = sources.of(file.path)[1] if file is not None and facts.is_new(file) else None
        if file is None or source is None:
            continue
        for name in _names(facts.view.read(file, _MAX_SCRIPT)):
            for into, there in _places(facts, file.path, source, name):
                if facts.view.find(into) is None and not _is_copied(facts, there):
                    yield path, name, into, there


def _names(text: bytes) -> Iterator[str]:
    """Yield texts that may be names of folders, each once."""
    found: set[bytes] = set()
    for match in _NAME.finditer(text):
        if match[2] not in found and len(found) < _MAX_NAMES:
            found.add(match[2])
            yield match[2].decode()


def _places(facts: Facts, script: str, source: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield where a name leads from the script and from the working directory, in the image and the builder image."""
    image, builder = posixpath.dirname(script), posixpath.dirname(source)
    yield posixpath.join(image, name), posixpath.join(builder, name)
    while posixpath.basename(image) == posixpath.basename(builder) and image not in {"/", facts.cwd}:
        image, builder = posixpath.dirname(image), posixpath.dirname(builder)
    if image == facts.cwd and posixpath.dirname(script) != image:
        yield posixpath.join(image, name), posixpath.join(builder, name)


def _is_copied(facts: Facts, there: str) -> bool:
    """Tell whether a copy names a folder of the builder image, what it is in or what is in it."""
    copies = [copy.source.rstrip("/") for copy in facts.copies if str(copy.image) == facts.copied_from]
    return any(there == copy or there.startswith(f"{copy}/") or copy.startswith(f"{there}/") for copy in copies)


def _is_served(builder: View, there: str) -> bool:
    """Tell whether a folder of the builder image holds what an application serves."""
    names = []
    for file in builder.walk(there):
        names += [file.path.lower()] if file.is_file else []
        if len(names) > _MAX_FILES:
            break
    return any(item.endswith(_ASSETS) for item in names) and not any(item.endswith(_SOURCE) for item in names)
