"""The build context sent to an Engine: the Dockerfile and the named sources, as a tar archive made while it is sent.

Owners are 0:0, modes and times those of the files, order is by name. Sources are looked up within their folder only:
a `..` or a symlink that leads out of the workspace is refused; a symlink in a `dir:` folder is read as one in an image
is, `/` being the folder. What was found is read by descriptors that follow no symlink (runtimeimg/stores/directory.py).
"""

from __future__ import annotations

import os
import re
import stat
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runtimeimg.errors import NotFoundError, RuntimeimgError, UsageError
from runtimeimg.image.kinds import kind_of
from runtimeimg.image.layertar import DIRECTORY, FILE, SYMLINK
from runtimeimg.render import ContextPath
from runtimeimg.spec import patterns
from runtimeimg.stores.directory import ODD_KINDS, Directory

DOCKERFILE = "Dockerfile.runtime"
_BLOCK = 512
_MAX_LINKS = 40  # as Linux has it (MAXSYMLINKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file or folder of the context: its name there, and where it is: a path without symlinks in a folder."""

    name: str
    folder: Directory
    path: bytes


def find_sources(item: ContextPath, workspace: Path) -> tuple[Source, ...]:
    """Return what a context path names, by name.

    Raises NotFoundError when there is nothing, UsageError for what lies outside of its folder.
    """
    root = Directory((Path(item.folder) if item.folder is not None else workspace).absolute())
    lookup = _Lookup(root, strict=item.folder is None)
    found = [("", b"")]
    for component in _components(item.pattern):
        found = list(lookup.descend(found, component))
    if not found:
        raise NotFoundError(f"'{item.pattern}' is not in folder '{root.root}'")
    return tuple(Source(name=item.prefix + name, folder=root, path=path) for name, path in sorted(found))


def stream(dockerfile: str, sources: Iterable[Source]) -> Iterator[bytes]:
    """Yield the archive; nothing but one piece of one file is in memory at a time."""
    text = dockerfile.encode("utf-8")
    yield _header(DOCKERFILE, len(text))
    yield text + bytes(-len(text) % _BLOCK)
    seen: set[str] = set()
    for source in sources:
        for name, path, status in _walk(source):
            if name not in seen:
                seen.add(name)
                yield from _entry(name, source.folder, path, status)
    yield bytes(2 * _BLOCK)


def copy_out(source: Source, target: Path) -> None:
    """Write a source and all below it to `target`, with modes and times; what is there is written over."""
    top = len(source.name)
    for name, path, status in _walk(source):
        place = Path(f"{target}{name[top:]}")
        kind = _usual(source.folder, path, status)
        if kind == DIRECTORY:
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        if kind == SYMLINK:
            place.symlink_to(os.fsdecode(source.folder.readlink(path)))
            continue
        with place.open("xb") as file:
            for piece in source.folder.pieces(path, status.st_size):
                file.write(piece)
        place.chmod(stat.S_IMODE(status.st_mode))
        os.utime(place, ns=(status.st_mtime_ns, status.st_mtime_ns))


def _components(pattern: str) -> Iterator[str | re.Pattern[str]]:
    """Yield the parts of a pattern between its slashes: a name, or an expression for names."""
    parts: list[list[patterns.Piece]] = [[]]
    for piece in patterns.parse(pattern):
        texts = [piece.text] if piece.is_wildcard else piece.text.split("/")
        parts[-1].append(patterns.Piece(texts[0], is_wildcard=piece.is_wildcard))
        parts += [[patterns.Piece(text, is_wildcard=False)] for text in texts[1:]]
    for part in parts:
        if any(piece.is_wildcard for piece in part):
            yield patterns.expression(part)
        elif (name := "".join(piece.text for piece in part)) not in {"", "."}:
            yield name


class _Lookup:
    """Finds names in a folder; `strict` refuses symlinks that lead out of it."""

    def __init__(self, root: Directory, *, strict: bool) -> None:
        self._root = root
        self._strict = strict
        # A symlink may spell the folder as the caller did, or as it really is.
        places = {os.fsencode(root.root), os.path.realpath(os.fsencode(root.root))}
        self._places = sorted((place.strip(b"/").split(b"/") for place in places), key=len, reverse=True)

    def descend(
        self, found: Iterable[tuple[str, bytes]], component: str | re.Pattern[str]
    ) -> Iterator[tuple[str, bytes]]:
        """Yield names and paths of what a part of a pattern finds in folders."""
        for name, folder in found:
            status = self._root.lstat(folder)
            if status is None or not stat.S_ISDIR(status.st_mode):
                continue
            if isinstance(component, str):
                names = [component]
            else:
                listed = (os.fsdecode(entry) for entry in self._root.names(folder))
                names = [entry for entry in listed if component.match(entry)]
            for entry in names:
                if entry == "..":
                    raise UsageError(f"source '{name}/..' leads out of its folder", hint="write the path without '..'")
                path = self._resolve(folder + b"/" + os.fsencode(entry) if folder else os.fsencode(entry))
                if path is not None:
                    yield f"{name}/{entry}", path

    def _resolve(self, path: bytes) -> bytes | None:
        """Follow symlinks within the folder; None when there is nothing."""
        pending, at, links = path.split(b"/")[::-1], b"", 0
        while pending:
            part = pending.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                if not at and self._strict:
                    raise self._leads_out(path)
                at = at.rpartition(b"/")[0]
                continue
            step = at + b"/" + part if at else part
            status = self._root.lstat(step)
            if status is None or not stat.S_ISLNK(status.st_mode):
                at = step
                continue
            links += 1
            if links > _MAX_LINKS:
                raise UsageError(f"source '{self._root.shown(path)}' goes through too many symlinks")
            target = self._root.readlink(step).split(b"/")
            if target[0] == b"" and len(target) > 1:
                target, at = self._absolute(target, path), b""
            pending += target[::-1]
        return at if self._root.lstat(at) is not None else None

    def _absolute(self, target: list[bytes], path: bytes) -> list[bytes]:
        """Return an absolute target as one from the folder."""
        parts = [part for part in target if part]
        if not self._strict:
            return parts
        for place in self._places:
            if parts[: len(place)] == place:
                return parts[len(place) :]
        raise self._leads_out(path)

    def _leads_out(self, path: bytes) -> UsageError:
        return UsageError(f"source '{self._root.shown(path)}' leads out of the workspace '{self._root.root}'")


def _walk(source: Source) -> Iterator[tuple[str, bytes, os.stat_result]]:
    """Yield a source and all below it, folders before what they hold; links below it stay links."""
    top = len(source.path)
    for path, status in source.folder.walk(source.path):
        below = os.fsdecode(path[top:])
        yield source.name + ("/" + below if below and not below.startswith("/") else below), path, status


def _usual(folder: Directory, path: bytes, status: os.stat_result) -> str:
    """Return whether this is a file, a folder or a symlink; anything else is refused."""
    kind = kind_of(status)
    if kind in ODD_KINDS:
        raise UsageError(f"'{folder.shown(path)}' is {ODD_KINDS[kind]}, which no image takes out of a folder")
    return kind


def _entry(name: str, folder: Directory, path: bytes, status: os.stat_result) -> Iterator[bytes]:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.mtime = stat.S_IMODE(status.st_mode), int(status.st_mtime)
    kind = _usual(folder, path, status)
    if kind == FILE:
        entry.size = status.st_size
        yield _bytes(entry)
        yield from _content(folder, path, status.st_size)
        return
    if kind == DIRECTORY:
        entry.type = tarfile.DIRTYPE
    else:
        entry.type, entry.linkname = tarfile.SYMTYPE, os.fsdecode(folder.readlink(path))
    yield _bytes(entry)


def _content(folder: Directory, path: bytes, size: int) -> Iterator[bytes]:
    try:
        yield from folder.pieces(path, size)
    except RuntimeimgError as error:
        raise UsageError(error.message, hint="build again when it is at rest") from None
    yield bytes(-size % _BLOCK)


def _header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return _bytes(entry)


def _bytes(entry: tarfile.TarInfo) -> bytes:
    return entry.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
