"""What the source of a COPY names in a tree: one path, or what a pattern of Go's filepath.Match finds.

As BuildKit has it: the folders before the first wildcard are followed through symlinks, those behind it are not, and
what is found is followed if it is a symlink itself. It keeps the name that was written or matched.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from runtimeimg.compose.nodes import Name
from runtimeimg.compose.tree import EndlessLinksError, Tree
from runtimeimg.errors import InvalidDocumentError, NotFoundError
from runtimeimg.spec import patterns

Component = str | re.Pattern[str]


class Found(NamedTuple):
    """Something to be copied: the name it is known by, its path without symlinks, and the node there."""

    name: bytes
    path: bytes
    node: Name


def components(source: str) -> tuple[Component, ...]:
    """Return the parts of a source between its slashes: a name, or an expression where there are wildcards."""
    parts: list[list[patterns.Piece]] = [[]]
    for piece in patterns.parse(source):
        texts = [piece.text] if piece.is_wildcard else piece.text.split("/")
        parts[-1].append(patterns.Piece(texts[0], is_wildcard=piece.is_wildcard))
        parts += [[patterns.Piece(text, is_wildcard=False)] for text in texts[1:]]
    found: list[Component] = []
    for part in parts:
        if any(piece.is_wildcard for piece in part):
            found.append(patterns.expression(part))
        elif (name := "".join(piece.text for piece in part)) == "..":
            del found[-1:]
        elif name not in {"", "."}:
            found.append(name)
    return tuple(found)


def literal_prefix(parts: Sequence[Component]) -> bytes:
    """Return the path that all finds of these components lie at or below."""
    names = []
    for part in parts:
        if not isinstance(part, str):
            break
        names.append(part)
    return os.fsencode("/".join(names))


def find(tree: Tree, source: str) -> list[Found]:
    """Return what `source` names, by name; raise NotFoundError when there is nothing (or a symlink to nothing)."""
    parts = components(source)
    prefix = literal_prefix(parts)
    wild = parts[len(prefix.split(b"/")) if prefix else 0 :]
    if not wild:
        return [_followed(tree, prefix, prefix.rpartition(b"/")[2])]
    start, node = _resolved(tree, prefix)
    matches = [] if node is None else sorted(_matches(node, start, wild))
    if not matches:
        raise NotFoundError(f"nothing matches '{source}'")
    return [_followed(tree, path, path.rpartition(b"/")[2]) for path in matches]


def _followed(tree: Tree, path: bytes, name: bytes) -> Found:
    at, node = _resolved(tree, path)
    if node is None:
        where = "" if at == path else f" (it leads to '/{os.fsdecode(at)}')"
        raise NotFoundError(f"'/{os.fsdecode(path)}' does not exist{where}")
    return Found(name, at, node)


def _resolved(tree: Tree, path: bytes) -> tuple[bytes, Name | None]:
    try:
        return tree.resolve(path)
    except NotADirectoryError as error:
        raise NotFoundError(f"'/{os.fsdecode(path)}' does not exist: '/{_text(error)}' is not a folder") from None
    except EndlessLinksError:
        raise InvalidDocumentError(f"'/{os.fsdecode(path)}' is a symlink without end") from None


def _text(error: NotADirectoryError) -> str:
    return os.fsdecode(error.args[0])


def _matches(node: Name, path: bytes, parts: Sequence[Component]) -> list[bytes]:
    """Return the paths below `node` that the components describe; symlinks on the way are not followed."""
    level = [(path, node)]
    for part in parts:
        following = []
        for at, folder in level:
            for name in _names(folder, part):
                assert folder.children is not None
                following.append((at + b"/" + name if at else name, folder.children[name]))
        level = following
    return [at for at, _ in level]


def _names(folder: Name, part: Component) -> list[bytes]:
    if folder.children is None:
        return []
    if isinstance(part, str):
        name = os.fsencode(part)
        return [name] if name in folder.children else []
    return [name for name in folder.children if part.fullmatch(name.decode("utf-8", "surrogateescape"))]
