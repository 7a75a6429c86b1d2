"""Artefacts that are paths of a store, with their closures (the way of Nix).

Where a closure comes from, in this order: what the document says (`store.closure`, `store.paths`, `store.database`),
the store's own database, `nix-store -qR`. A closure file holds a path a line, as `nix-store -qR` prints them, or the
JSON of `nix path-info --json --recursive`, in which each path says what it refers to; so does a database.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runtimeimg import hostfile
from runtimeimg.configgraph import artefacts as making
from runtimeimg.configgraph.fields import store_path
from runtimeimg.configgraph.model import Artefact, Layer, Role, layer_id
from runtimeimg.configgraph.reading import Written, problem
from runtimeimg.errors import InvalidDocumentError, NotFoundError, RuntimeimgError, SpecError, UnavailableError
from runtimeimg.oci.documents import parse_json

DATABASE = Path("/nix/var/nix/db/db.sqlite")
MAX_PATHS = 50_000
"""Paths of a closure."""
MAX_FILE = 64 << 20
Run = Callable[[Sequence[str]], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePath:
    """A path of a store: its size unpacked (None where nobody says), and the paths that it refers to."""

    path: str
    size: int | None = None
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """Paths by their names; with `tied` they say themselves what they refer to."""

    paths: Mapping[str, StorePath] = field(default_factory=dict)
    tied: bool = False


def artefact(document: Written, run: Run | None) -> tuple[Artefact, tuple[Layer, ...]]:
    """Return the node of a store path and those of its closure; SpecError that says where a closure has a fault."""
    given = document.given["store"]
    roots = tuple(dict.fromkeys((given["path"], *given.get("contents", ()))))
    try:
        found = _reached(_found(document, roots, run), roots)
    except SpecError:
        raise
    except RuntimeimgError as error:
        hint = f"; {error.hint}" if error.hint else ""
        raise SpecError([problem(document.origin, _said(given), f"{error.message}{hint}")]) from None
    names = (*roots, *sorted(found.keys() - {*roots}))
    node = Artefact(
        id=making.artefact_id(document.name),
        reference=given["path"],
        digest=closure_digest(names),
        origin=document.origin,
        paths=names,
        given=document.given,
        lines=document.lines,
    )
    return node, tuple(_layer(found[name]) for name in names)


def closure_digest(paths: Iterable[str]) -> str:
    """Return the digest of a closure: of its paths, sorted, each on a line. What is in them their names fix."""
    lines = "".join(f"{path}\n" for path in sorted(paths))
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def _layer(item: StorePath) -> Layer:
    targets = tuple(layer_id(path) for path in sorted(item.references) if path != item.path)
    return Layer(id=layer_id(item.path), role=Role.PATH, size=item.size, references=targets)


def _said(given: Mapping[str, Any]) -> str:
    for key in ("closure", "paths", "database"):
        if key in given:
            return f"store.{key}"
    return "store.path"


def _found(document: Written, roots: Sequence[str], run: Run | None) -> Closure:
    given = document.given["store"]
    if "paths" in given:
        return Closure(paths={path: StorePath(path=path) for path in given["paths"]})
    if "closure" in given:
        return read_file(Path(making.beside(document, given["closure"])))
    if "database" in given:
        return read_database(Path(making.beside(document, given["database"])), roots)
    if DATABASE.exists():
        return read_database(DATABASE, roots)
    text = run(("nix-store", "--query", "--requisites", *roots)) if run is not None else None
    if text is None:
        raise UnavailableError(
            f"there is neither '{DATABASE}' nor nix-store, so the closure of '{roots[0]}' is not known",
            hint="write 'closure' with a file that 'nix-store -qR' printed elsewhere",
        )
    return _of_lines(text, "what nix-store printed")


def _reached(found: Closure, roots: Sequence[str]) -> Mapping[str, StorePath]:
    """Return what the roots lead to: of paths that do not say what they refer to all, as references of the roots."""
    for root in roots:
        if root not in found.paths:
            raise NotFoundError(f"the closure does not hold '{root}'", hint="make it of this very path")
    if not found.tied:
        rest = tuple(path for path in found.paths if path not in roots)
        whole = dict(found.paths)
        return whole | {root: replace(whole[root], references=rest) for root in roots}
    reached: dict[str, StorePath] = {}
    waiting = list(roots)
    while waiting:
        path = waiting.pop()
        if path in reached:
            continue
        if path not in found.paths:
            raise NotFoundError(f"the closure lacks '{path}', which a path of it refers to", hint="make it anew")
        reached[path] = found.paths[path]
        waiting += reached[path].references
    return reached


def read_file(path: Path) -> Closure:
    """Return the closure in a file: lines, or JSON; NotFoundError, UsageError and InvalidDocumentError as they fit."""
    data = hostfile.read_file(path, MAX_FILE, "closure")
    where = f"closure '{path}'"
    if data.lstrip()[:1] in {b"{", b"["}:
        return _of_json(parse_json(data, where), where)
    try:
        return _of_lines(data.decode("utf-8"), where)
    except UnicodeDecodeError:
        raise InvalidDocumentError(f"{where} is not UTF-8") from None


def _of_lines(text: str, where: str) -> Closure:
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            path = _checked(line.strip(), f"{where}, line {number}")
            found[path] = StorePath(path=path)
    return Closure(paths=_bounded(found, where))


def _of_json(data: Any, where: str) -> Closure:
    """Read what `nix path-info --json` prints: a list of objects, or since Nix 2.19 an object of paths."""
    items = (
        [{"path": key, **value} for key, value in data.items() if isinstance(value, dict)] if _is_map(data) else data
    )
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InvalidDocumentError(f"{where} is not what 'nix path-info --json --recursive' prints")
    found = {}
    for item in items:
        references, size = item.get("references", []), item.get("narSize")
        if not isinstance(references, list) or not isinstance(size, (int, type(None))):
            raise InvalidDocumentError(f"{where}: 'references' or 'narSize' of a path is of another type")
        path = _checked(item.get("path"), where)
        targets = tuple(_checked(target, where) for target in references)
        found[path] = StorePath(path=path, size=size, references=targets)
    return Closure(paths=_bounded(found, where), tied=True)


def _is_map(data: Any) -> bool:
    return isinstance(data, dict)


def _checked(text: object, where: str) -> str:
    try:
        return store_path(text if isinstance(text, str) else "")
    except ValueError as error:
        raise InvalidDocumentError(f"{where}: {error}") from None


def _bounded(found: dict[str, StorePath], where: str) -> dict[str, StorePath]:
    if len(found) > MAX_PATHS:
        raise InvalidDocumentError(f"{where} holds {len(found)} paths; {MAX_PATHS} are allowed")
    if not found:
        raise InvalidDocumentError(f"{where} holds no paths")
    return found


_REACHED = """
    WITH RECURSIVE reached(id) AS (
        SELECT id FROM ValidPaths WHERE path = ?
        UNION SELECT reference FROM Refs JOIN reached ON referrer = reached.id LIMIT ?
    )
    SELECT ValidPaths.id, path, narSize FROM ValidPaths JOIN reached USING (id)
"""


def read_database(path: Path, roots: Sequence[str]) -> Closure:
    """Return the closure that a store's database has of some paths (its tables ValidPaths and Refs)."""
    where = f"database '{path}'"
    if not path.is_file():
        raise NotFoundError(f"{where} does not exist")
    try:
        with _opened(path) as database:
            rows = {row[0]: row for root in roots for row in database.execute(_REACHED, (root, MAX_PATHS + 1))}
            found = dict(_of_rows(database, rows, where))
    except sqlite3.Error as error:
        raise InvalidDocumentError(f"{where} cannot be read: {error}") from None
    for root in roots:
        if root not in found:
            raise NotFoundError(f"{where} has no path '{root}'", hint="build or copy it into the store first")
    return Closure(paths=_bounded(found, where), tied=True)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database of somebody else: nothing is written to it, not even a journal."""
    database = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)
    try:
        database.execute("PRAGMA query_only = ON")
        yield database
    finally:
        database.close()


def _of_rows(
    database: sqlite3.Connection, rows: Mapping[Any, tuple[Any, ...]], where: str
) -> Iterator[tuple[str, StorePath]]:
    for number, text, size in rows.values():
        path = _checked(text, where)
        targets = [rows[item][1] for (item,) in database.execute(_REFERENCES, (number,)) if item in rows]
        yield path, StorePath(path=path, size=size if isinstance(size, int) else None, references=tuple(targets))


_REFERENCES = "SELECT reference FROM Refs WHERE referrer = ?"
