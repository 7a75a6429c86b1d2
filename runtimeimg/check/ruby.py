"""Ruby: the script that is started, its own files where the script asks for any, and gems for another version.

Sources: RubyGems guides, "Command reference", environment; `Gem.path`. Gems lie in folders that are called by the
version of Ruby's interface, such as 3.1.0; native parts of gems in such ones below `extensions`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from runtimeimg.check import rules
from runtimeimg.check.commands import Command, copied_from, first_argument
from runtimeimg.check.facts import Facts, Findings, copied
from runtimeimg.check.libraries import Loaders
from runtimeimg.compose.view import File

NAME = re.compile(r"ruby(?:[0-9]+(?:\.[0-9]+)?)?\Z")
_WITH_VALUE = frozenset({"-r", "-I", "-C", "-E"})
_INLINE = frozenset({"-e", "-s"})
_LIBRARY = re.compile(r"libruby(?:-[0-9.]+)?\.so\.([0-9]+\.[0-9]+)\Z")
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\Z")
_REQUIRES = re.compile(rb"^\s*require\s*\(?\s*[\"']", re.MULTILINE)
_PREFIXES = ("/usr/local", "/usr")
_GEMS = ("/var/lib/gems", "/usr/local/lib/ruby/gems", "/usr/lib/ruby/gems", "/usr/local/bundle/ruby")
_MAX_SCRIPT = 1 << 20


def check(facts: Facts, loaders: Loaders, file: File, command: Command) -> Findings:
    """Yield what Ruby lacks to run a command."""
    word = first_argument(command.words[1:], _WITH_VALUE, _INLINE)
    script = facts.view.file(facts.absolute(word)) if word is not None else None
    if word is not None and script is None:
        path = facts.absolute(word)
        yield facts.found(
            rules.SCRIPT_MISSING,
            path,
            f"{command.role}: '{' '.join(command.words[:4])}' runs '{path}', which is not there",
            copied_from(facts, [path]),
        )
        return
    version = _version(loaders, file)
    if version is None:
        return
    if script is not None and _REQUIRES.search(facts.view.read(script, _MAX_SCRIPT)):
        yield from _own_files(facts, file, script, version)
    yield from _gems(facts, version)


def _version(loaders: Loaders, file: File) -> str | None:
    """Return the version of Ruby's interface, such as 3.1.0, as the library that it is made of is called."""
    process = loaders.of(file)
    names = [item.dynamic.soname or "" for item in process.libraries] if process is not None else []
    found = next(filter(None, map(_LIBRARY.match, names)), None)
    return f"{found[1]}.0" if found is not None else None


def _own_files(facts: Facts, file: File, script: File, version: str) -> Findings:
    places = [f"{prefix}/lib/ruby/{version}" for prefix in _PREFIXES]
    if any(facts.view.folder(place) is not None for place in places):
        return
    builder = facts.builder
    there = next((place for place in places if builder is not None and builder.folder(place) is not None), None)
    yield facts.found(
        rules.STANDARD_LIBRARY,
        file.path,
        f"'{script.path}' requires files, and the standard library of '{file.path}' is not there: '{places[-1]}'",
        copied(there) if there is not None else "choose a base with Ruby, or copy the folder too",
    )


def _gems(facts: Facts, version: str) -> Findings:
    """Yield gems that are there for other versions only; what lies elsewhere is not looked for."""
    for top in dict.fromkeys(_tops(facts)):
        there = facts.view.folder(top)
        found = [item for item in facts.view.names(there) if item.is_folder] if there is not None else []
        named = {posixpath.basename(item.path): item for item in found if _VERSION.match(posixpath.basename(item.path))}
        others = [name for name, item in named.items() if name != version and _has_new(facts, item)]
        if others and version not in named:
            yield facts.found(
                rules.OTHER_VERSION,
                named[others[0]].path,
                f"the gems in '{named[others[0]].path}' are for Ruby {others[0]}, the image's is {version}",
                "install the gems with the version of Ruby that the image has",
            )


def _has_new(facts: Facts, folder: File) -> bool:
    """Tell whether files that were copied lie in a folder."""
    return any(file.is_file and facts.is_new(file) for file in facts.view.walk(folder.path))


def _tops(facts: Facts) -> Iterator[str]:
    """Yield the folders that have one for each version: of gems, and of the native parts of gems."""
    yield from _GEMS
    yield facts.absolute("vendor/bundle/ruby")
    homes = [facts.env.get("GEM_HOME", ""), *facts.env.get("GEM_PATH", "").split(":"), facts.env.get("BUNDLE_PATH", "")]
    for home in filter(None, ("/usr/local/bundle", *homes)):
        yield f"{facts.absolute(home)}/ruby"
        extensions = facts.view.folder(f"{facts.absolute(home)}/extensions")
        for machine in facts.view.names(extensions) if extensions is not None else ():
            yield machine.path
