"""YAML documents as trees of nodes that know where they stand.

The tree is composed from the parser's events with explicit bounds on depth and on size after alias expansion, so
that no document can exhaust memory or the stack. Aliases share nodes; merge keys (`<<`) are resolved; a key given
twice is a problem with both positions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from runtimeimg.errors import Problem, SpecError
from runtimeimg.spec import yamltext
from runtimeimg.spec.yamltext import Scalar

MAX_NODES = 100_000
"""Nodes of a document, each alias counted as what it stands for."""
MAX_DEPTH = 64
MAX_DOCUMENTS = 1_000
"""Documents of a file, empty ones too."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE = "tag:yaml.org,2002:"
_SIMPLE_KEY = re.compile(r"[A-Za-z_$][\w$-]*\Z")

Key = str | int
Path = tuple[Key, ...]


# Neither is frozen, though nobody changes one: there may be millions of them, and a frozen one takes five times as long
# to make.


@dataclass(slots=True)
class Entry:
    """A value of a mapping: where its key is, where the value is written (an alias: there), and the value."""

    key_line: int
    key_column: int
    line: int
    column: int
    node: Node

    @property
    def place(self) -> tuple[int, int]:
        """Where to point for this entry: the value when it is on its key's line, otherwise the key."""
        return (self.line, self.column) if self.line == self.key_line else (self.key_line, self.key_column)


@dataclass(slots=True, eq=False)
class Node:
    """A scalar (`value`, `text` as written), a mapping (`entries`) or a list (`items`)."""

    line: int
    column: int
    value: Scalar = None
    text: str = ""
    entries: Mapping[str, Entry] | None = None
    items: Sequence[Entry] | None = None
    size: int = 1
    depth: int = 1
    nulls: bool = False
    """Whether it is a null or has one in it."""

    @property
    def is_null(self) -> bool:
        """Whether this is the null scalar."""
        return self.entries is None and self.items is None and self.value is None

    def child(self, key: Key) -> Entry | None:
        """Return the entry of a mapping or list, None when there is none."""
        if self.entries is not None:
            return self.entries.get(key) if isinstance(key, str) else None
        if self.items is not None and isinstance(key, int) and 0 <= key < len(self.items):
            return self.items[key]
        return None

    def plain(self, *, as_written: bool = False) -> Any:
        """Return dicts, lists and scalars; `as_written` makes texts of numbers and booleans, as they stand there."""
        if self.entries is not None:
            return {key: entry.node.plain(as_written=as_written) for key, entry in self.entries.items()}
        if self.items is not None:
            return [entry.node.plain(as_written=as_written) for entry in self.items]
        return self.text if as_written and self.value is not None else self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document of a file and the problems found while it was composed."""

    root: Node
    problems: tuple[Problem, ...]


def format_path(path: Sequence[Key]) -> str:
    """Return the dotted form of a path: `spec.runtime.directories[1]`, `labels['org.example.team']`."""
    parts: list[str] = []
    for key in path:
        if isinstance(key, int):
            parts.append(f"[{key}]")
        elif _SIMPLE_KEY.match(key):
            parts.append(f".{key}" if parts else key)
        else:
            parts.append(f"[{key if len(key) <= 80 else key[:77] + '...'!r}]")
    return "".join(parts)


def compose(data: bytes, file: str) -> tuple[Document, ...]:
    """Return the documents of a YAML file, empty ones left out; raise SpecError when it is no YAML."""
    text = yamltext.decode(data, file)
    composer = _Composer(file)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            composer.feed(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        message = _syntax(error, text, line, column)
        problem = Problem(file=file, line=line, column=column, path="", message=message)
        raise SpecError([*composer.problems, problem]) from None
    except yaml.YAMLError as error:
        message = f"is not YAML: {' '.join(str(error).split())[:200]}"
        raise SpecError([Problem(file=file, line=0, column=0, path="", message=message)]) from None
    return tuple(composer.documents)


def _syntax(error: yaml.MarkedYAMLError, text: str, line: int, column: int) -> str:
    """Return a message for the parser's own."""
    lines = text.splitlines()
    at = lines[line - 1][column - 1 : column] if 0 < line <= len(lines) else ""
    if at == "\t":
        return "a tab cannot indent YAML; use spaces"
    if error.problem == "mapping values are not allowed in this context":
        return "a colon cannot stand here; put the value in quotes, or check the indentation"
    if at in {"@", "`", "%"} and error.problem and "cannot start any token" in error.problem:
        return f"{at!r} cannot begin a plain value; put the value in quotes"
    context = f" {error.context}" if error.context else ""
    if error.context_mark and error.context and error.context_mark.line + 1 != line:
        context += f" that begins at line {error.context_mark.line + 1}"
    return f"is not YAML: {error.problem}{context}"


@dataclass(slots=True, kw_only=True)
class _Frame:
    """A collection that is being read."""

    line: int
    column: int
    anchor: str | None
    is_map: bool
    entries: dict[str, Entry] = field(default_factory=dict)
    items: list[Entry] = field(default_factory=list)
    merges: list[Entry] = field(default_factory=list)
    key: str | None = None
    key_place: tuple[int, int] = (0, 0)
    key_pending: bool = False
    """A key was read, its value comes next; `key` is None when the key is unusable."""
    is_merge: bool = False


class _Composer:
    """Builds nodes from events, one document after the other."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.documents: list[Document] = []
        self.problems: list[Problem] = []
        self._stack: list[_Frame] = []
        self._anchors: dict[str, Node | None] = {}
        self._count = 0
        self._begun = 0
        self._event: yaml.Event | None = None

    def feed(self, event: yaml.Event) -> None:
        """Take the next event of the parser."""
        self._event = event
        if isinstance(event, yaml.ScalarEvent):
            self._count += 1
            if self._count > MAX_NODES:
                raise self._fatal(f"holds more than {MAX_NODES:,} values")
            if not (event.anchor is None and event.tag is None and self._stack and self._takes(event)):
                self._place(self._scalar(event), event.anchor, event)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._open(event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._close()
        elif isinstance(event, yaml.DocumentStartEvent):
            self._begun += 1
            if self._begun > MAX_DOCUMENTS:
                raise self._fatal(f"holds more than {MAX_DOCUMENTS:,} documents")
            self._anchors.clear()
            self.problems = []
            self._count = 0
        elif isinstance(event, yaml.AliasEvent):
            self._place(self._aliased(event), None, None, _start(event))

    def _open(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        self._count_nodes(1)
        if len(self._stack) >= MAX_DEPTH:
            raise self._fatal(f"is nested more than {MAX_DEPTH} deep")
        is_map = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in {None, "!", _CORE + ("map" if is_map else "seq")}:
            self._problem(event, f"tag {_tag(event.tag)} is not supported; leave it out")
        if event.anchor:
            self._anchors[event.anchor] = None
        line, column = _start(event)
        self._stack.append(_Frame(line=line, column=column, anchor=event.anchor, is_map=is_map))

    def _close(self) -> None:
        frame = self._stack.pop()
        values = self._merged(frame) if frame.is_map else None
        size, depth, nulls = 1, 0, False
        for entry in values.values() if values is not None else frame.items:
            child = entry.node
            size += child.size
            depth = max(depth, child.depth)
            nulls = nulls or child.nulls
        items = None if frame.is_map else tuple(frame.items)
        node = Node(frame.line, frame.column, None, "", values, items, size, depth + 1, nulls)
        if node.size > MAX_NODES:
            raise self._fatal(f"holds more than {MAX_NODES:,} values with its aliases expanded", frame)
        self._place(node, frame.anchor, None)

    def _place(
        self,
        node: Node,
        anchor: str | None,
        scalar: yaml.ScalarEvent | None,
        place: tuple[int, int] | None = None,
    ) -> None:
        """Put a finished node where it belongs: the root, an item, a key or a value."""
        if anchor:
            self._anchors[anchor] = node
        line, column = place or (node.line, node.column)
        if len(self._stack) + node.depth > MAX_DEPTH + 1:
            raise self._fatal(f"is nested more than {MAX_DEPTH} deep with its aliases expanded")
        if not self._stack:
            if not node.is_null:
                self.documents.append(Document(root=node, problems=tuple(self.problems)))
            return
        frame = self._stack[-1]
        if not frame.is_map:
            frame.items.append(Entry(line, column, line, column, node))
        elif not frame.key_pending:
            self._set_key(frame, node, (line, column), scalar)
        else:
            key_line, key_column = frame.key_place
            entry = Entry(key_line, key_column, line, column, node)
            if frame.is_merge:
                frame.merges.append(entry)
            elif frame.key is not None:
                frame.entries[frame.key] = entry
            frame.key_pending, frame.key = False, None

    def _takes(self, event: yaml.ScalarEvent) -> bool:
        """Put a scalar where it belongs, and tell whether that is done: most are nothing special, and this is quick."""
        frame, text, mark = self._stack[-1], event.value, event.start_mark
        if mark is None or not text.isascii():
            return False
        line, column = mark.line + 1, mark.column + 1
        if frame.is_map and not frame.key_pending:
            if text == "<<" or text in frame.entries:
                return False
            frame.key_pending, frame.key, frame.key_place, frame.is_merge = True, text, (line, column), False
            return True
        if frame.is_merge:
            return False
        value = yamltext.resolve(text) if event.implicit[0] else text
        node = Node(line, column, value, text, None, None, 1, 1, value is None)
        if not frame.is_map:
            frame.items.append(Entry(line, column, line, column, node))
            return True
        if frame.key is not None:
            frame.entries[frame.key] = Entry(*frame.key_place, line, column, node)
        frame.key_pending, frame.key = False, None
        return True

    def _set_key(self, frame: _Frame, node: Node, place: tuple[int, int], scalar: yaml.ScalarEvent | None) -> None:
        frame.key_pending, frame.key_place, frame.key = True, place, None
        frame.is_merge = scalar is not None and scalar.implicit[0] and node.text == "<<"
        if frame.is_merge:
            return
        if node.entries is not None or node.items is not None:
            self._add(place, self._path(), f"a key is a {'map' if node.items is None else 'list'}; keys are texts")
        elif node.text in frame.entries:
            first = frame.entries[node.text]
            where = f"line {first.key_line}, column {first.key_column}"
            self._add(place, (*self._path(), node.text), f"is given twice, first at {where}; keep one")
        else:
            frame.key = node.text

    def _merged(self, frame: _Frame) -> dict[str, Entry]:
        """Return a mapping's entries, those of its merge keys first; its own and earlier merges win."""
        if not frame.merges:
            return frame.entries
        merged: dict[str, Entry] = {}
        for merge in frame.merges:
            for source in merge.node.items if merge.node.items is not None else (merge,):
                if source.node.entries is None:
                    self._add((source.line, source.column), self._path(frame), "'<<' merges maps, and this is none")
                    continue
                self._count_nodes(len(source.node.entries))
                for key, entry in source.node.entries.items():
                    merged.setdefault(key, entry)
        return {**merged, **frame.entries}

    def _scalar(self, event: yaml.ScalarEvent) -> Node:
        mark, text = event.start_mark, event.value
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        value: Scalar = text
        tag = event.tag
        if tag in {None, "!"}:
            value = yamltext.resolve(text) if event.implicit[0] and tag is None else text
        elif tag != _CORE + "str":
            value = yamltext.resolve(text)
            kind = {bool: "bool", int: "int", float: "float", type(None): "null"}.get(type(value), "str")
            if tag not in {_CORE + kind, _CORE + ("float" if kind == "int" else kind)}:
                self._problem(event, f"tag {_tag(tag)} is not supported; leave it out or put the value in quotes")
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            self._problem(event, "a half of a surrogate pair is no character; write the character itself")
        return Node(line, column, value, text, nulls=value is None)

    def _aliased(self, event: yaml.AliasEvent) -> Node:
        if event.anchor not in self._anchors:
            raise self._fatal(f"alias '*{_short(event.anchor)}' has no anchor '&{_short(event.anchor)}' before it")
        node = self._anchors[event.anchor]
        if node is None:
            raise self._fatal(f"alias '*{_short(event.anchor)}' refers to what it is part of")
        self._count_nodes(1)
        return node

    def _count_nodes(self, count: int) -> None:
        self._count += count
        if self._count > MAX_NODES:
            raise self._fatal(f"holds more than {MAX_NODES:,} values")

    def _path(self, inner: _Frame | None = None) -> Path:
        """Return where the reading is: the keys of the open collections."""
        frames = [*self._stack, inner] if inner else self._stack
        return tuple(_keys(frames[:-1]))

    def _problem(self, event: yaml.Event, message: str) -> None:
        path = tuple(_keys(self._stack))
        self._add(_start(event), path, message)

    def _add(self, place: tuple[int, int], path: Path, message: str) -> None:
        line, column = place
        self.problems.append(Problem(file=self.file, line=line, column=column, path=format_path(path), message=message))

    def _fatal(self, message: str, frame: _Frame | None = None) -> SpecError:
        """Return the error that ends the reading; the problems so far come before it."""
        here = _start(self._event) if self._event is not None else (0, 0)
        place = (frame.line, frame.column) if frame else here
        self._add(place, tuple(_keys(self._stack))[:8], message)
        return SpecError(self.problems)


def _keys(frames: Sequence[_Frame]) -> Iterator[Key]:
    for frame in frames:
        if not frame.is_map:
            yield len(frame.items)
        elif frame.key_pending:
            yield frame.key if frame.key is not None else "<<" if frame.is_merge else "?"


def _start(event: yaml.Event) -> tuple[int, int]:
    """Return line and column, from 1, of an event."""
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (0, 0)


def _tag(tag: str) -> str:
    text = "!!" + tag.removeprefix(_CORE) if tag.startswith(_CORE) else tag
    return repr(_short(text))


def _short(text: str | None) -> str:
    text = text or ""
    return text if len(text) <= 80 else text[:77] + "..."
