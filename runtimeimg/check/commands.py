"""What an image starts: entrypoint and cmd, daemons, health check, down to the programs that the kernel loads."""

from __future__ import annotations

import os
import posixpath
import re
import shlex
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

from runtimeimg import supervisor
from runtimeimg.check import rules
from runtimeimg.check.facts import Facts, Findings, copied
from runtimeimg.compose.view import File
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.findings import Finding, Severity
from runtimeimg.oci import ImageConfig
from runtimeimg.runtimegraph import decode

MAX_SCRIPTS = 5
"""Interpreters of interpreters (BINPRM_MAX_RECURSION)."""
_HEAD = 256
"""Bytes of a script's first line that the kernel reads (BINPRM_BUF_SIZE)."""
_SIMPLE = re.compile(r"\s*(?:exec\s+)?[A-Za-z0-9_./+-]+(?:\s+(?:[A-Za-z0-9_./:=,@%+-]+|'[^']*'))*\s*\Z")
_INITS = frozenset({"tini", "dumb-init", "catatonit", "docker-init"})
_BUILT_IN = frozenset(
    re.findall(
        r"\S+",
        ". : alias bg break cd command continue echo eval exit export false fg getopts hash jobs kill printf pwd read "
        "readonly return set shift test times trap true type ulimit umask unalias unset wait if for while case until {",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Words that are started, and what as."""

    words: tuple[str, ...]
    role: str


@dataclass(slots=True, kw_only=True)
class Programs:
    """What is started: programs, and with which words each; by path, in the order they were come upon."""

    started: dict[str, tuple[File, Command]] = field(default_factory=dict)

    def add(self, file: File, command: Command) -> None:
        """Note a program."""
        self.started.setdefault(file.path, (file, command))


def commands(config: ImageConfig) -> list[Command]:
    """Return what an image starts; health checks, which an engine runs within it, too."""
    entrypoint, cmd = config.strings("Entrypoint"), config.strings("Cmd")
    found = [Command(words=(*entrypoint, *cmd), role="entrypoint")]
    main = supervisor.unwrap(entrypoint)
    if main is not None:
        found = [Command(words=tuple(entrypoint[:1]), role="wrapper of the daemons")]
        found.append(Command(words=(*main, *cmd), role="entrypoint"))
    try:
        graph = decode(config.labels)
    except InvalidDocumentError:
        graph = None
    for number, daemon in enumerate(graph.daemons if graph is not None else (), start=1):
        found.append(Command(words=tuple(daemon), role=f"daemon {number}"))
    health = config.config.get("Healthcheck")
    test = health.get("Test") if isinstance(health, dict) else None
    if isinstance(test, list) and all(isinstance(word, str) for word in test) and test[1:]:
        words = test[1:] if test[0] == "CMD" else ["/bin/sh", "-c", test[1]] if test[0] == "CMD-SHELL" else []
        if words:
            found.append(Command(words=tuple(words), role="health check"))
    return found


def follow(facts: Facts, command: Command, programs: Programs, depth: int = 0) -> Findings:
    """Note the programs that a command comes to, and yield what keeps them from being started."""
    if not command.words:
        if command.role == "entrypoint":
            yield facts.found(
                rules.NOTHING_TO_START,
                "",
                "neither entrypoint nor cmd says what is to be started",
                "write an entrypoint",
            )
        return
    found = yield from _program(facts, command)
    if found is None or depth > MAX_SCRIPTS:
        return
    programs.add(found, command)
    yield from _format(facts, found, command, programs, depth)
    inner = _inner(command)
    if inner is not None:
        yield from follow(facts, inner, programs, depth + 1)


def _program(facts: Facts, command: Command) -> Generator[Finding, None, File | None]:
    """Yield why the first word is not started, and return the file that is."""
    word = command.words[0]
    places = [facts.absolute(word)] if "/" in word else _on_path(facts, word)
    blocked: File | None = None
    for place in places:
        there = facts.view.find(place)
        if there is not None and there.is_file and there.mode & 0o111:
            if (closed := facts.closed(place, 1)) is not None:
                yield facts.found(
                    rules.USER_MAY_NOT,
                    place,
                    f"{command.role} '{word}': user {facts.identity.uid} may not execute '{closed}'",
                    "change its mode in the builder image, or copy it with chown",
                )
            return there
        blocked = blocked or there
    if blocked is not None:
        kind = (
            "a folder" if blocked.is_folder else "a file without the executable bit" if blocked.is_file else "no file"
        )
        yield facts.found(
            rules.NOT_EXECUTABLE,
            blocked.path,
            f"{command.role} '{word}' is {kind}",
            "set its mode in the builder image",
        )
        return None
    yield _missing(facts, command, places)
    return None


def _missing(facts: Facts, command: Command, places: Sequence[str]) -> Finding:
    word = command.words[0]
    for place in places:
        link = facts.view.find(place, follow=False)
        if link is not None and link.is_link:
            message = f"{command.role} '{word}' is the symlink '{place}' to '{link.target}', which is not there"
            return facts.found(rules.PROGRAM_MISSING, place, message, copied_from(facts, [place]))
    where = f"on PATH ({facts.env['PATH']})" if "/" not in word else f"at '{places[0]}'"
    elsewhere = next((path for path in _anywhere(facts, word) if "/" not in word), None)
    fix = f"it is at '{elsewhere}': put its folder on PATH" if elsewhere else copied_from(facts, places)
    return facts.found(rules.PROGRAM_MISSING, word, f"{command.role} '{word}' is not {where}", fix)


def copied_from(facts: Facts, places: Sequence[str]) -> str:
    """Return what to copy for what is at none of these places: the first of them that the builder image has."""
    if facts.builder is not None:
        for place in places:
            if facts.builder.file(place) is not None:
                return copied(place)
    return ""


def _anywhere(facts: Facts, word: str) -> Iterator[str]:
    """Yield files of that name in folders that are commonly on PATH, or are those of an application."""
    for folder in ("/usr/local/bin", "/app/bin", "/app", "/venv/bin", "/opt/venv/bin", "/app/.venv/bin", facts.cwd):
        path = posixpath.join(folder, word)
        if facts.view.file(path) is not None:
            yield path


def _on_path(facts: Facts, word: str) -> list[str]:
    return [facts.absolute(posixpath.join(folder or ".", word)) for folder in facts.env["PATH"].split(":")]


def _format(facts: Facts, file: File, command: Command, programs: Programs, depth: int) -> Findings:
    """Look at how a file begins: a script's interpreter is a program, too."""
    head = facts.view.read(file, _HEAD)
    if head.startswith(b"\x7fELF"):
        return
    if not head.startswith(b"#!"):
        yield facts.found(
            rules.UNKNOWN_FORMAT,
            file.path,
            f"{command.role} '{file.path}' is neither an ELF program nor does it begin with '#!'",
            "write the interpreter into its first line" if head.strip() else "it is empty: look at how it was made",
        )
        return
    if facts.closed(file.path, 1) is None and (closed := facts.closed(file.path, 4)) is not None:
        yield facts.found(
            rules.USER_MAY_NOT,
            file.path,
            f"the script '{file.path}' cannot be read by user {facts.identity.uid}: '{closed}' is closed to it",
            "change its mode in the builder image, or copy it with chown",
        )
    line = os.fsdecode(head[2:].partition(b"\n")[0]).strip(" \t")
    interpreter, _, argument = line.partition(" ")
    argument = argument.strip(" \t")
    if line.endswith("\r"):
        yield facts.found(
            rules.INTERPRETER_MISSING,
            file.path,
            f"the first line of '{file.path}' ends with a carriage return, which belongs to the interpreter's name",
            "save it with the line ends of Unix",
        )
        return
    if facts.view.file(facts.absolute(interpreter)) is None:
        yield facts.found(
            rules.INTERPRETER_MISSING,
            file.path,
            f"the script '{file.path}' is run by '{interpreter}', which is not in the image",
            copied_from(facts, [interpreter]) or "choose a base that has it, or copy it",
        )
        return
    words = (interpreter, *([argument] if argument else ()), file.path, *command.words[1:])
    inner = Command(words=words, role=f"interpreter of '{file.path}'")
    if posixpath.basename(interpreter) == "env" and argument:
        yield from follow(facts, Command(words=(interpreter,), role=inner.role), programs, depth + 1)
        named = _env_words(argument.split() if argument.startswith("-S") else [argument])
        if named and not _is_there(facts, named[0]):
            yield facts.found(
                rules.INTERPRETER_MISSING,
                file.path,
                f"the script '{file.path}' is run by '{named[0]}', which is not on PATH ({facts.env['PATH']})",
                copied_from(facts, _on_path(facts, named[0])) or "choose a base that has it",
            )
            return
        inner = Command(words=(*named, file.path, *command.words[1:]), role=inner.role)
    if inner.words:
        yield from follow(facts, inner, programs, depth + 1)


def _is_there(facts: Facts, word: str) -> bool:
    places = [facts.absolute(word)] if "/" in word else _on_path(facts, word)
    return any(facts.view.file(place) is not None for place in places)


def _env_words(words: Sequence[str]) -> list[str]:
    """Return what env starts: the words behind its options and assignments."""
    rest = list(words)
    while rest and (rest[0].startswith("-") or "=" in rest[0]):
        word = rest.pop(0)
        if word.startswith("-S") and len(word) > 2:
            rest = [*word[2:].split(), *rest]
        elif word in {"-u", "-C"} and rest:
            rest.pop(0)
    return rest


def _inner(command: Command) -> Command | None:
    """Return the command that a wrapper of it starts in turn: a shell's one line, an init, env."""
    name, words = posixpath.basename(command.words[0]), list(command.words)
    if name in {"sh", "bash", "dash", "ash"} and len(words) > 2 and re.fullmatch(r"-[a-z]*c", words[1]):
        inner = _shell_words(words[2])
    elif name in _INITS:
        inner = words[words.index("--") + 1 :] if "--" in words else [word for word in words[1:] if word[0:1] != "-"]
    elif name == "env":
        inner = _env_words(words[1:])
    else:
        return None
    return Command(words=tuple(inner), role=command.role) if inner else None


def _shell_words(line: str) -> list[str]:
    """Return the words of a line that is one simple command; nothing for others, which only a shell understands."""
    if not _SIMPLE.match(line):
        return []
    words = shlex.split(line)
    words = words[1:] if words and words[0] == "exec" else words
    return [] if not words or words[0] in _BUILT_IN or "=" in words[0] else words


def first_argument(words: Sequence[str], with_value: frozenset[str], inline: frozenset[str]) -> str | None:
    """Return the first word that is no option; None where there is none, or where the program stands in an option."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in inline or word == "-":
            return None
        if word == "--":
            return rest[0] if rest else None
        if not word.startswith("-"):
            return word
        if word in with_value and rest:
            rest.pop(0)
    return None


def severity_of(command: Command) -> Severity | None:
    """Return how bad it is when a command does not start, None for what the rule says."""
    return Severity.WARNING if command.role == "health check" else None
