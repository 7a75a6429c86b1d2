"""Packages that rpm has noted in its SQLite database (rpm 4.16 and newer; RHEL 9, Fedora 33 and newer).

The database is a stranger's: it is read from a copy, by a connection that may do nothing but read one table, for so
many steps.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from runtimeimg import remains
from runtimeimg.check.packages import rpmheader
from runtimeimg.check.packages.values import Package
from runtimeimg.compose.view import File, View

_FOLDERS = ("/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm")
_DATABASE = "rpmdb.sqlite"
_OTHERS = {"Packages.db": "ndb", "Packages": "Berkeley DB"}
_MAX_DATABASE = 512 << 20
_MAX_HEADER = 64 << 20
_MAX_HEADERS = 50_000
_MAX_PATHS = 256 << 20
"""Characters of the paths of all packages together; 500,000 files are about 30 million."""
_STEPS, _MAX_CALLS = 100_000, 1000
_PIECE = 1 << 20
_KEYS = "gpg-pubkey"
"""The name under which rpm keeps the keys that it trusts: no packages, and without files."""
_NAMESPACES = {"rhel": "redhat"}

Noted = tuple[Package, tuple[str, ...]]


def rpm(view: View, distribution: str, note: Callable[[str], None]) -> Iterator[Noted]:
    """Yield the packages that rpm has noted, each with its files; what cannot be read is told to `note`."""
    namespace = _NAMESPACES.get(distribution, distribution)
    for folder in _FOLDERS:
        database = view.file(f"{folder}/{_DATABASE}")
        if database is not None:
            yield from _read(view, database, namespace, note)
            return
        for name, kind in _OTHERS.items():
            if view.file(f"{folder}/{name}") is not None:
                note(
                    f"'{folder}/{name}' of '{view.image.name}' is a database of rpm in the format {kind}, which is not "
                    "read: its packages are not known"
                )
                return


def _read(view: View, database: File, namespace: str, note: Callable[[str], None]) -> Iterator[Noted]:
    where = f"'{database.path}' of '{view.image.name}'"
    log = view.file(f"{database.path}-wal")
    if max(database.size, log.size if log is not None else 0) > _MAX_DATABASE:
        note(f"{where} is larger than {_MAX_DATABASE:,} bytes, and is not read: its packages are not known")
        return
    try:
        with remains.folder() as folder:
            _copy(view, database, folder / _DATABASE)
            if log is not None and log.size:
                _copy(view, log, folder / f"{_DATABASE}-wal")
            yield from _packages(_headers(folder / _DATABASE), namespace)
    except (sqlite3.Error, ValueError) as error:
        note(f"{where} cannot be read to its end: {error}; packages are missing")


def _packages(headers: Iterator[bytes], namespace: str) -> Iterator[Noted]:
    left = _MAX_PATHS
    for header in headers:
        found = rpmheader.values(header)
        said = rpmheader.fields(found)
        if not said["name"] or said["name"] == _KEYS:
            continue
        paths = tuple(rpmheader.files(found))
        left -= sum(map(len, paths))
        if left < 0:
            raise ValueError("the paths of its packages are too long together")
        origin = said["origin"] if said["origin"] != said["name"] else ""
        yield Package(kind="rpm", namespace=namespace, **{**said, "origin": origin}), paths


def _copy(view: View, file: File, to: Path) -> None:
    part = view.part(file)
    with to.open("wb") as out:
        for offset in range(0, file.size, _PIECE):
            out.write(part(offset, _PIECE))


def _headers(path: Path) -> Iterator[bytes]:
    """Yield the headers of a database; sqlite3.Error and ValueError for one that is not as rpm writes it."""
    calls = 0

    def end() -> bool:
        nonlocal calls
        calls += 1
        return calls > _MAX_CALLS

    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for setting in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0", "query_only = ON"):
            connection.execute(f"PRAGMA {setting}")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_HEADER)
        connection.set_progress_handler(end, _STEPS)
        connection.set_authorizer(_may)
        rows = connection.execute("SELECT blob FROM Packages")
        for number, (blob,) in enumerate(rows):
            if number >= _MAX_HEADERS:
                raise ValueError(f"it has more than {_MAX_HEADERS:,} packages")
            if not isinstance(blob, bytes):
                raise ValueError("a header in it is none")  # noqa: TRY004 - not the caller's type
            yield blob


def _may(action: int, table: str | None, *_: object) -> int:
    """Permit reading of the one table, which is then no view of another."""
    allowed = action == sqlite3.SQLITE_SELECT or (action == sqlite3.SQLITE_READ and table == "Packages")
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY
