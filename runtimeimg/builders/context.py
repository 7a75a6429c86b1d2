"""The build context sent to an Engine: the Dockerfile and the named sources, as a tar archive made while it is sent.

Owners are 0:0, modes and times those of the files, order is by name. Sources are looked up within their folder only:
a `..` or a symlink that leads out of the workspace is refused; a symlink in a `dir:` folder is read as one in an image
is, `/` being the folder.
"""

from __future__ import annotations

import os
import re
import stat
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtimeimg.errors import NotFoundError, UsageError
from runtimeimg.render import ContextPath
from runtimeimg.spec import patterns

DOCKERFILE = "Dockerfile.runtime"
_CHUNK = 1 << 20
_BLOCK = 512
_MAX_LINKS = 40  # as Linux has it (MAXSYMLINKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file or folder of the context: its name there and where it is on this machine."""

    name: str
    path: Path


def find_sources(item: ContextPath, workspace: Path) -> tuple[Source, ...]:
    """Return what a context path names, by name.

    Raises NotFoundError when there is nothing, UsageError for what lies outside of its folder.
    """
    root = Path(item.folder) if item.folder is not None else workspace
    if not root.is_dir():
        raise NotFoundError(f"folder '{root}' does not exist")
    found = [("", root.resolve())]
    for component in _components(item.pattern):
        found = list(_descend(found, component, root.resolve(), strict=item.folder is None))
    if not found:
        raise NotFoundError(f"'{item.pattern}' is not in folder '{root}'")
    return tuple(Source(name=item.prefix + name, path=path) for name, path in sorted(found))


def stream(dockerfile: str, sources: Iterable[Source]) -> Iterator[bytes]:
    """Yield the archive; nothing but one piece of one file is in memory at a time."""
    text = dockerfile.encode("utf-8")
    yield _header(DOCKERFILE, len(text))
    yield text + bytes(-len(text) % _BLOCK)
    seen: set[str] = set()
    for source in sources:
        for name, path in _walk(source):
            if name not in seen:
                seen.add(name)
                yield from _entry(name, path)
    yield bytes(2 * _BLOCK)


def _components(pattern: str) -> Iterator[str | re.Pattern[str]]:
    """Yield the parts of a pattern between its slashes: a name, or an expression for names."""
    parts: list[list[patterns.Piece]] = [[]]
    for piece in patterns.parse(pattern):
        texts = [piece.text] if piece.is_wildcard else piece.text.split("/")
        parts[-1].append(patterns.Piece(texts[0], is_wildcard=piece.is_wildcard))
        parts += [[patterns.Piece(text, is_wildcard=False)] for text in texts[1:]]
    for part in parts:
        if any(piece.is_wildcard for piece in part):
            yield _expression(part)
        elif (name := "".join(piece.text for piece in part)) not in {"", "."}:
            yield name


def _expression(part: Sequence[patterns.Piece]) -> re.Pattern[str]:
    simple = {"*": ".*", "?": "."}
    texts = [
        (simple.get(piece.text) or _characters(piece.text)) if piece.is_wildcard else re.escape(piece.text)
        for piece in part
    ]
    try:
        return re.compile("".join(texts) + r"\Z", re.DOTALL)
    except re.error:
        raise UsageError(f"pattern '{''.join(piece.text for piece in part)}' is not valid") from None


def _characters(text: str) -> str:
    """Turn a `[...]` of filepath.Match into one of Python's: the same but for what needs an escape."""
    inner = text[2:-1] if text.startswith("[^") else text[1:-1]
    parts = re.findall(r"\\.|.", inner, re.DOTALL)
    body = "".join("-" if part == "-" else re.escape(part[-1]) for part in parts)
    return f"[{'^' if text.startswith('[^') else ''}{body}]"


def _descend(
    found: Iterable[tuple[str, Path]], component: str | re.Pattern[str], root: Path, *, strict: bool
) -> Iterator[tuple[str, Path]]:
    for name, folder in found:
        if not folder.is_dir():
            continue
        if isinstance(component, str):
            names = [component]
        else:
            names = [entry for entry in _names(folder) if component.match(entry)]
        for entry in names:
            if entry == "..":
                raise UsageError(f"source '{name}/..' leads out of its folder", hint="write the path without '..'")
            path = _resolve(folder / entry, root, strict=strict)
            if path is not None:
                yield f"{name}/{entry}", path


def _resolve(path: Path, root: Path, *, strict: bool) -> Path | None:
    """Follow symlinks within `root`; None when there is nothing. `strict` refuses to be led out of it."""
    todo = list(reversed(path.relative_to(root).parts))
    at = root
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            if at == root and strict:
                raise UsageError(f"source '{path}' leads out of the workspace '{root}'")
            at = root if at == root else at.parent
            continue
        step = at / part
        if not step.is_symlink():
            at = step
            continue
        links += 1
        if links > _MAX_LINKS:
            raise UsageError(f"source '{path}' goes through too many symlinks")
        target = step.readlink()
        if target.is_absolute():
            if strict:
                if not target.is_relative_to(root):
                    raise UsageError(f"source '{path}' leads out of the workspace '{root}'")
                target = target.relative_to(root)
            at = root
        todo += [part for part in reversed(target.parts) if part != "/"]
    return at if os.path.lexists(at) else None


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _walk(source: Source) -> Iterator[tuple[str, Path]]:
    """Yield a source and all below it, folders before what they hold; links below it stay links."""
    stack = [(source.name, source.path)]
    while stack:
        name, path = stack.pop()
        yield name, path
        if stat.S_ISDIR(path.lstat().st_mode):
            stack += [(f"{name}/{entry}", path / entry) for entry in reversed(_names(path))]


def _entry(name: str, path: Path) -> Iterator[bytes]:
    status = path.lstat()
    entry = tarfile.TarInfo(name)
    entry.mode, entry.mtime = stat.S_IMODE(status.st_mode), int(status.st_mtime)
    if stat.S_ISREG(status.st_mode):
        entry.size = status.st_size
        yield _bytes(entry)
        yield from _content(path, status.st_size)
        return
    if stat.S_ISDIR(status.st_mode):
        entry.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(status.st_mode):
        entry.type, entry.linkname = tarfile.SYMTYPE, str(path.readlink())
    elif stat.S_ISFIFO(status.st_mode):
        entry.type = tarfile.FIFOTYPE
    elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        entry.type = tarfile.CHRTYPE if stat.S_ISCHR(status.st_mode) else tarfile.BLKTYPE
        entry.devmajor, entry.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    else:
        return  # a socket is of this machine, no image holds one
    yield _bytes(entry)


def _content(path: Path, size: int) -> Iterator[bytes]:
    left = size
    with path.open("rb") as file:
        while left:
            chunk = file.read(min(left, _CHUNK))
            if not chunk:
                raise UsageError(f"file '{path}' shrank while it was read", hint="build again when it is at rest")
            left -= len(chunk)
            yield chunk
    yield bytes(-size % _BLOCK)


def _header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return _bytes(entry)


def _bytes(entry: tarfile.TarInfo) -> bytes:
    return entry.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
