"""An image's files as a treemap: rectangles within those of their folders, as large as their share of the bytes.

What is too small to be seen is folded into one rectangle a folder, so that a drawing stays small. Of hard links one is
counted.
"""

from __future__ import annotations

import heapq
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from runtimeimg.check.facts import Facts
from runtimeimg.check.sources import Sources
from runtimeimg.text import CONTROLS

WIDTH, HEIGHT = 1200.0, 760.0
"""Pixels of a drawing of the whole image."""
HEADER, MARGIN = 15.0, 2.0
"""Pixels of a folder's rectangle: those for its name, those around what is in it."""
UNIT = 10_000
"""What the sides of a rectangle are told in: parts of its folder's inside."""
PARTS = 5_000
"""A folder's rectangle divided by this is the least that something in it gets."""
_CHILDREN, _DEPTH, _GROUPS = 200, 64, 12
_BUDGET = 800_000
"""Characters of all names and numbers that a drawing has."""
_ROW = 60


class Kind(IntEnum):
    """What a rectangle stands for; `MORE` for the files of a folder that have none of their own."""

    FILE = 0
    FOLDER = 1
    MORE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A rectangle: number of its folder's, bytes and files in it, groups that give it colours.

    `box` are its left, top, right and bottom side, in parts of UNIT of the inside of its folder.
    """

    parent: int
    name: str
    kind: Kind
    size: int
    files: int
    layer: int
    package: int
    box: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Treemap:
    """Rectangles, each behind its folder's, the first that of `/`; names of the groups that they are coloured by."""

    title: str
    tiles: tuple[Tile, ...]
    layers: tuple[str, ...]
    packages: tuple[str, ...]


@dataclass(slots=True, eq=False)
class _Node:
    name: str
    parent: _Node | None = None
    depth: int = 0
    size: int = 0
    files: int = 0
    layer: str = ""
    package: str = ""
    kind: Kind = Kind.FOLDER
    children: list[_Node] = field(default_factory=list)


def shown(name: str) -> str:
    r"""Return a name in characters that can be seen: controls and bytes that are not UTF-8 as `\xNN` or `\uNNNN`."""
    return CONTROLS.sub(_seen, name).translate({9: "\\x09", 10: "\\x0a", 0xFFFE: "\\ufffe", 0xFFFF: "\\uffff"})


def _seen(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def treemap(facts: Facts) -> Treemap:
    """Return an image's files as rectangles; of the same image the same ones."""
    root = _tree(facts)
    kept = _kept(root)
    layers = Counter[str]()
    packages = Counter[str]()
    for node in _files(root):
        layers[node.layer] += node.size
        packages[node.package] += node.size
    order = tuple(sorted(layers, key=lambda name: (name != "base", len(name), name)))
    largest = sorted(packages, key=lambda name: (-packages[name], name))
    named = tuple(largest[: _GROUPS - 1]) + (("other packages",) if len(largest) >= _GROUPS else ())
    groups = _Groups(
        layers={name: number for number, name in enumerate(order)},
        packages={name: min(number, len(named) - 1) for number, name in enumerate(largest)},
    )
    return Treemap(
        title=shown(facts.name),
        tiles=tuple(_tiles(root, kept, groups)),
        layers=tuple(shown(name) for name in order),
        packages=tuple(shown(name) or "(of no package)" for name in named),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Groups:
    layers: dict[str, int]
    packages: dict[str, int]


def _tree(facts: Facts) -> _Node:
    """Return the folder `/`; what lies deeper than can be shown is counted in the last folder above it."""
    root, sources = _Node("/"), Sources(facts)
    folders, order, seen = {"": root}, list[_Node](), set[int]()
    for file in facts.view.walk():
        above, _, name = file.path.rpartition("/")
        parent = folders[above]
        if file.is_folder:
            if parent.depth == _DEPTH:
                folders[file.path] = parent
                continue
            node = folders[file.path] = _Node(name, parent, parent.depth + 1)
        elif file.is_file and id(file.inode) not in seen:
            seen.add(id(file.inode))
            package, _, _ = sources.attributed(file)
            of_base = facts.base_layers is not None and file.layer < facts.base_layers
            layer = "base" if of_base else f"layer {file.layer + 1}"
            owner = str(package) if package is not None else ""
            node = _Node(name, parent, parent.depth + 1, file.size, 1, layer, owner, Kind.FILE)
        else:
            continue
        order.append(node)
        parent.children.append(node)
    for node in reversed(order):
        if node.parent is not None:
            node.parent.size += node.size
            node.parent.files += node.files
    return root


def _files(root: _Node) -> Iterable[_Node]:
    stack = [root]
    while stack:
        node = stack.pop()
        if node.kind is Kind.FILE:
            yield node
        stack += node.children


def _kept(root: _Node) -> set[int]:
    """Return the ids of what gets a rectangle: the largest, as many as there is room for their names."""
    kept, room, count = set[int](), _BUDGET, 0
    heap = [(-root.size, 0, root)]
    while heap:
        _, _, node = heapq.heappop(heap)
        room -= len(json.dumps(shown(node.name))) + (_ROW if node.kind is Kind.FILE else 2 * _ROW)
        if room < 0:
            break
        kept.add(id(node))
        for child in heapq.nsmallest(_CHILDREN, node.children, key=lambda item: (-item.size, item.name)):
            if child.size * PARTS >= node.size > 0 and child.size:
                count += 1
                heapq.heappush(heap, (-child.size, count, child))
    return kept


def _tiles(root: _Node, kept: set[int], groups: _Groups) -> list[Tile]:
    tiles = [_tile(root, 0, groups, (0, 0, UNIT, UNIT))]
    waiting = [(root, 0, WIDTH, HEIGHT)]
    while waiting:
        folder, number, width, height = waiting.pop()
        inside = _shown_of(folder, kept)
        room = max(width - 2 * MARGIN, 1.0), max(height - HEADER - MARGIN, 1.0)
        for node, box in zip(inside, boxes([item.size for item in inside], room[0] / room[1]), strict=True):
            if node.kind is Kind.FOLDER:
                wide, high = (box[2] - box[0]) / UNIT * room[0], (box[3] - box[1]) / UNIT * room[1]
                waiting.append((node, len(tiles), wide, high))
            tiles.append(_tile(node, number, groups, box))
    return tiles


def _shown_of(folder: _Node, kept: set[int]) -> list[_Node]:
    """Return what gets a rectangle in a folder, the largest first, with one for all the rest."""
    inside = [item for item in folder.children if id(item) in kept]
    size = folder.size - sum(item.size for item in inside)
    files = folder.files - sum(item.files for item in inside)
    if size > 0:
        inside.append(_Node(f"{files:,} more", folder, folder.depth + 1, size, files, kind=Kind.MORE))
    return sorted(inside, key=lambda item: (-item.size, item.name))


def _tile(node: _Node, parent: int, groups: _Groups, box: tuple[int, int, int, int]) -> Tile:
    is_file = node.kind is Kind.FILE
    return Tile(
        parent=parent,
        name=shown(node.name),
        kind=node.kind,
        size=node.size,
        files=node.files,
        layer=groups.layers[node.layer] if is_file else -1,
        package=groups.packages[node.package] if is_file else -1,
        box=box,
    )


def boxes(sizes: Sequence[int], ratio: float) -> list[tuple[int, int, int, int]]:
    """Return the sides of rectangles of these sizes, largest first, in one that is `ratio` times as wide as high."""
    from squarify import normalize_sizes, squarify

    if not sizes:
        return []
    wide = min(max(ratio, 0.125), 8.0)
    least = max(sum(sizes) / PARTS, 1e-9)
    laid = squarify(normalize_sizes([max(size, least) for size in sizes], wide, 1.0), 0.0, 0.0, wide, 1.0)
    return [
        (
            _part(item["x"] / wide),
            _part(item["y"]),
            _part((item["x"] + item["dx"]) / wide),
            _part(item["y"] + item["dy"]),
        )
        for item in laid
    ]


def _part(share: float) -> int:
    return min(max(round(share * UNIT), 0), UNIT)
