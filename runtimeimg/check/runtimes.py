"""Interpreters that an image starts: what they run, their own files, and modules for their version."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from runtimeimg.check import java, javascript, python, ruby, rules
from runtimeimg.check.commands import Command, copied_from, first_argument
from runtimeimg.check.facts import Facts, Findings
from runtimeimg.check.libraries import Loaders
from runtimeimg.compose.view import File

_SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "zsh"})
_WITH_VALUE = {"perl": frozenset({"-I", "-M"})}
_INLINE = frozenset({"-e", "-E", "-s"})
_SHELLS_INLINE = re.compile(r"-[a-z]*[cs]")


def interpreters(facts: Facts, loaders: Loaders, started: Iterable[tuple[File, Command]]) -> Findings:
    """Yield what interpreters lack of what they are told to run, of their own files, and of what modules need."""
    for file, command in started:
        name = posixpath.basename(command.words[0])
        if python.NAME.match(posixpath.basename(file.path)) or python.NAME.match(name):
            yield from python.check(facts, loaders, file, command)
        elif name == "java":
            yield from java.check(facts, file, command)
        elif name in {"node", "nodejs"}:
            yield from javascript.check(facts, loaders, file, command)
        elif ruby.NAME.match(name):
            yield from ruby.check(facts, loaders, file, command)
        elif name in _WITH_VALUE or (
            name in _SHELLS and not any(_SHELLS_INLINE.fullmatch(word) for word in command.words[1:2])
        ):
            yield from _script(facts, command, name)


def _script(facts: Facts, command: Command, name: str) -> Findings:
    """Yield that the file which an interpreter is given is not there."""
    word = first_argument(command.words[1:], _WITH_VALUE.get(name, frozenset()), _INLINE)
    path = facts.absolute(word) if word is not None else None
    if path is not None and facts.view.file(path) is None:
        yield facts.found(
            rules.SCRIPT_MISSING,
            path,
            f"{command.role}: '{' '.join(command.words[:4])}' runs '{path}', which is not there",
            copied_from(facts, [path]),
        )
