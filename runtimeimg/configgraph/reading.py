"""Files and folders of documents, read: Artefacts, Automatons and Hosts with where each of their parts stands."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from runtimeimg import hostfile, process
from runtimeimg.configgraph import documents as models
from runtimeimg.configgraph.model import Origin
from runtimeimg.errors import NotFoundError, Problem, SpecError
from runtimeimg.selection import hostdocument
from runtimeimg.spec import documents, yamlnodes, yamltext
from runtimeimg.spec.checks import shown
from runtimeimg.spec.problems import Guide
from runtimeimg.spec.yamlnodes import Document, Node, format_path

API_VERSION = models.API_VERSION
ENDINGS = (".yaml", ".yml", ".json")
MAX_FILES = 100_000
MAX_PROBLEMS = documents.MAX_PROBLEMS
MANY_FILES, MAX_WORKERS = 8, 8
"""From so many files on they are read in several processes, at most so many."""
_KINDS: Mapping[str, tuple[type[BaseModel], Guide]] = {
    "Artefact": (models.ArtefactModel, models.ARTEFACT_GUIDE),
    "Automaton": (models.AutomatonModel, models.AUTOMATON_GUIDE),
    "Host": (hostdocument.HostModel, hostdocument.GUIDE),
}
_ELSEWHERE = frozenset({"Build", "Graph", "Preferences", "Mapping"})
"""Kinds of other commands' documents, which may lie in the same folder."""
_GRAPH, _HEAD = b'"kind":"Graph"', 100
_DEEP = frozenset({"process", "root", "hooks", "placement", "resources", "store"})
"""Keys whose own keys have lines."""
_LISTS = frozenset({"mounts", "state", "ports"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A valid document: what it sets, in its own shape with short forms written out, and the lines of its parts."""

    kind: str
    name: str
    origin: Origin
    given: Mapping[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)


def files_of(paths: Iterable[Path]) -> list[tuple[Path, bool]]:
    """Return the files that paths stand for, in order and each once, and whether it was found in a folder.

    Of a folder those that end with `.yaml`, `.yml` or `.json`, in it and below it, but for hidden ones. NotFoundError
    for a path that is not there.
    """
    found: dict[Path, bool] = {}
    for path in paths:
        if not path.is_dir():
            if not path.exists() and not path.is_symlink():
                raise NotFoundError(f"'{path}' does not exist")
            found[path] = False
            continue
        for file in _within(path):
            found.setdefault(file, True)
        if len(found) > MAX_FILES:
            raise NotFoundError(f"folder '{path}' holds more than {MAX_FILES:,} documents' files", hint="name fewer")
    return list(found.items())


def _within(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.endswith(ENDINGS) and not name.startswith("."):
                yield Path(here, name)


def read(path: Path, *, found: bool = False) -> list[Written]:
    """Return the documents of a file; with `found` those of other kinds are passed over.

    Raises SpecError with all that is wrong in the file, and what `hostfile.read_file` raises.
    """
    if found and _is_graph(path):
        return []
    data = hostfile.read_file(path, yamltext.MAX_BYTES, "documents")
    return load(data, str(path), found=found)


def _is_graph(path: Path) -> bool:
    """Tell whether a file is a saved graph, which lies beside its documents and may be larger than these can be."""
    if path.suffix != ".json":
        return False
    with hostfile.open_file(path, "documents") as file:
        return _GRAPH in file.read(_HEAD)


def read_all(paths: Iterable[Path]) -> list[Written]:
    """Return the documents of files and folders, in order; SpecError with all that is wrong in them.

    Raises what `files_of` and `read` raise, and NotFoundError where folders hold no documents at all. Many files are
    read in several processes.
    """
    paths = list(paths)
    written: list[Written] = []
    wrong: list[Problem] = []
    for documents_of, problems in _each(files_of(paths)):
        written += documents_of
        wrong += problems
    if wrong:
        raise bounded(wrong)
    if not written and paths:
        raise NotFoundError(f"'{paths[0]}' holds no Artefact, Automaton or Host")
    return written


Outcome = tuple[list[Written], tuple[Problem, ...]]


def _each(files: Sequence[tuple[Path, bool]]) -> Iterator[Outcome]:
    """Yield what is in each file, and what is wrong there, in order."""
    workers = min(len(os.sched_getaffinity(0)), MAX_WORKERS)
    # A process that has threads cannot be forked: they may hold locks that nobody would let go of.
    if len(files) < MANY_FILES or workers == 1 or threading.active_count() > 1:
        yield from map(_tried, files)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(workers, get_context("fork"), initializer=_alone, initargs=(os.getpid(),)) as pool:
        try:
            yield from pool.map(_tried, files, chunksize=2)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _alone(parent: int) -> None:
    """Prepare a process that only reads: it ends with its parent, to which interrupts are left; it makes no cycles."""
    process.end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.disable()


def _tried(file: tuple[Path, bool]) -> Outcome:
    path, found = file
    try:
        return read(path, found=found), ()
    except SpecError as error:
        return [], error.problems


def load(data: bytes, file: str = "<stdin>", *, found: bool = False) -> list[Written]:
    """Return the documents in `data`; `file` is the name for messages. Raises SpecError with all that is wrong."""
    wrong: list[Problem] = []
    documents_of: list[Written] = []
    for document in yamlnodes.compose(data, file):
        if found and _is_other(document.root):
            continue
        try:
            documents_of.append(_written(document, file))
        except SpecError as error:
            wrong += error.problems
            if len(wrong) > MAX_PROBLEMS:
                break
    if wrong:
        raise SpecError(wrong[:MAX_PROBLEMS])
    if not documents_of and not found:
        message = "is empty; an Artefact, an Automaton or a Host is wanted"
        raise SpecError([documents.problem(file, (0, 0), message)])
    return documents_of


def _is_other(root: Node) -> bool:
    """Tell whether a document is of another command, or of another program."""
    entries = root.entries
    if entries is None or not {"apiVersion", "kind"} & entries.keys():
        return True
    kind = entries["kind"].node.text if "kind" in entries else ""
    version = entries["apiVersion"].node.text if "apiVersion" in entries else API_VERSION
    return kind in _ELSEWHERE or (version != API_VERSION and kind not in _KINDS)


def _written(document: Document, file: str) -> Written:
    root = document.root
    if root.entries is None:
        message = "is not a map; an Artefact, an Automaton or a Host is wanted"
        raise SpecError([*document.problems, documents.problem(file, (root.line, root.column), message)])
    kind = _kind(root, file)
    model, guide = _KINDS[kind]
    value = documents.validate(document, model, file, guide).value
    origin = Origin(file, root.line)
    if isinstance(value, hostdocument.HostModel):
        host = value.host(Path(file).stem)
        return Written(kind=kind, name=host.name, origin=origin, given=host.document())
    given = value.model_dump(mode="json", by_alias=True, exclude_unset=True)
    del given["apiVersion"], given["kind"]
    return Written(kind=kind, name=given.pop("name"), origin=origin, given=_one_name(given), lines=lines(root))


def _one_name(given: dict[str, Any]) -> dict[str, Any]:
    """Return what an Artefact sets under one name for each thing."""
    for other, name in (("imageName", "image"), ("imageDigest", "digest")):
        if other in given:
            given[name] = given.pop(other)
    if "contents" in given:
        given["store"] = {"contents": given.pop("contents"), **given["store"]}
    return given


def _kind(root: Node, file: str) -> str:
    entry = root.child("kind")
    if entry is None:
        message = "kind is missing; write 'kind: Artefact', 'kind: Automaton' or 'kind: Host'"
        raise SpecError([documents.problem(file, (root.line, root.column), message)])
    if entry.node.text in _KINDS:
        return entry.node.text
    from difflib import get_close_matches

    near = get_close_matches(entry.node.text[:40].capitalize(), [*_KINDS, "Artifact"], 1, 0.7)
    meant = "Artefact" if near == ["Artifact"] else near[0] if near else ""
    hint = f"did you mean '{meant}'?" if meant else f"known are {', '.join(_KINDS)}"
    line, column = entry.place
    message = f"{shown(entry.node.text)} is no kind of a configuration graph's documents; {hint}"
    raise SpecError([Problem(file=file, line=line, column=column, path="kind", message=message)])


def lines(root: Node) -> dict[str, int]:
    """Return the lines of a document's parts by dotted path: of every parameter, variable, mount, port and so on."""
    found: dict[str, int] = {}
    for key, entry in (root.entries or {}).items():
        found[key] = entry.key_line
        if key in _DEEP and entry.node.entries is not None:
            for inner, part in entry.node.entries.items():
                found[path_of(key, inner)] = part.key_line
                if inner == "env" and key == "process":
                    found |= _of_variables(part.node)
        elif key in _LISTS and entry.node.items is not None:
            for number, item in enumerate(entry.node.items):
                found[f"{key}[{number}]"] = item.line
    return found


def _of_variables(node: Node) -> dict[str, int]:
    if node.entries is not None:
        return {path_of("process.env", name): entry.key_line for name, entry in node.entries.items()}
    return {path_of("process.env", item.node.text.partition("=")[0]): item.line for item in node.items or ()}


def path_of(parent: str, key: str) -> str:
    """Return the dotted path of a key in what is at a path."""
    return f"{parent}.{key}" if key.isidentifier() and key.isascii() else parent + format_path((key,))


def problem(origin: Origin, path: str, message: str) -> Problem:
    """Return a problem of a document that was read before: its place is looked up in the file."""
    line, column = _place(origin, path)
    return Problem(file=origin.file, line=line, column=column, path=path, message=message)


def _place(origin: Origin, path: str) -> tuple[int, int]:
    try:
        data = hostfile.read_file(Path(origin.file), yamltext.MAX_BYTES, "documents")
        for document in yamlnodes.compose(data, origin.file):
            if document.root.line == origin.line:
                return documents.position(document.root, path)
    except Exception:  # noqa: BLE001 - it was read before, and what is said of it matters more than its column
        return origin.line, 1
    return origin.line, 1


def bounded(problems: Sequence[Problem], hint: str | None = None) -> SpecError:
    """Return the error of problems, of which the first are shown."""
    more = len(problems) - MAX_PROBLEMS
    shown_ones = list(problems[:MAX_PROBLEMS])
    if more > 0:
        shown_ones.append(Problem(file="", line=0, column=0, path="", message=f"and {more} more problems"))
    return SpecError(shown_ones, hint=hint)
