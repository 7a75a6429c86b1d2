"""The composition from end to end: tables, trees, copies, layers.

1. The tables of contents of all layers, the base's and those of the images that copies read, come out of the cache
   or are made by reading the layers; contents that a copy names literally are taken along in that pass.
2. The copies are done to the base's tree, in memory.
3. Contents that the first pass did not bring (the cache spared it, or a symlink led elsewhere) are fetched.
4. The touched part of the tree is written as a layer.

The base's table is needed because a destination may lie behind a symlink of the base (`/lib -> usr/lib`), be a folder
or not, and have owners of its own, none of which can be told without it; a layer that leaves folders out, or makes
them anew, gives another tree in Docker's overlay2 and in containers-storage. Base layers that the builder image has
too are read once, as the builder's; others only where no table is kept of them yet. `Settings.link` does without, with
the meaning of Dockerfile's `COPY --link`: the base is not looked into and its symlinks are not followed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from runtimeimg.compose import emit
from runtimeimg.compose.find import components, literal_prefix
from runtimeimg.compose.history import Moment, copy_line
from runtimeimg.compose.owners import GROUP, MAX_FILE, PASSWD, Names, needs_names
from runtimeimg.compose.reading import LayerRef, Reader
from runtimeimg.compose.sources import Source, covering
from runtimeimg.compose.target import Owner, Target
from runtimeimg.compose.tree import Inode, Place, Tree, Wanted, merge
from runtimeimg.errors import BuildFailed, InvalidDocumentError, NotFoundError, UsageError
from runtimeimg.image import Image
from runtimeimg.image.compress import Compression
from runtimeimg.image.filelayer import FileLayer
from runtimeimg.image.layertar import FILE
from runtimeimg.plan import BuildPlan

BASE = 0
"""Number of the base among the sources of contents; those of copies follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the result is made: see the module for `link`; no time in a layer is later than `latest` seconds."""

    compression: Compression = field(default_factory=Compression)
    layer_per_copy: bool = False
    link: bool = False
    latest: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What is composed: `base` None for scratch, `sources` by number from 1, and for each copy of the plan its number.

    `place` turns a dotted path of the spec into what messages say.
    """

    plan: BuildPlan
    base: Image | None
    sources: Sequence[Source]
    numbers: Sequence[int]
    created: Moment
    place: Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A new layer and the instructions that it is the result of."""

    layer: FileLayer
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A layer to be written: the entries, which may be asked for again and again, and what they are the result of."""

    items: Callable[[], Iterable[emit.Item]]
    lines: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return next(iter(self.items()), None) is None


def compose(inputs: Inputs, settings: Settings, reader: Reader, folder: Path) -> tuple[Composed, ...]:
    """Return the layers that the plan's copies make, written to files in `folder`; none when they change nothing."""
    work = _Composition(inputs, settings, reader)
    work.load()
    drafts = [draft for draft in work.drafts() if not draft.is_empty]
    work.fetch(drafts)
    composed = []
    for number, draft in enumerate(drafts):
        path = folder / f"layer-{number}"
        layer = emit.write(draft.items(), path, settings.compression, work.contents, latest=settings.latest)
        composed.append(Composed(layer=layer, lines=draft.lines))
    return tuple(composed)


class _Composition:
    def __init__(self, inputs: Inputs, settings: Settings, reader: Reader) -> None:
        self._plan = inputs.plan
        self._inputs = inputs
        self._settings = settings
        self._reader = reader
        base = inputs.base
        self._base = () if base is None else tuple(LayerRef.of(layer, base.name) for layer in base.layers)
        user = base.config.config.get("User") if base is not None and inputs.plan.work_dir is not None else None
        self._user = user if isinstance(user, str) and user else None
        self._by_name = any(needs_names(text) for text in (self._user, *(copy.chown for copy in self._plan.copies)))
        self._names = Names()
        self._wanted = Wanted([b""] if base is None or settings.link else _destinations(self._plan))

    def load(self) -> None:
        """Make the tables known that are needed, and the names of owners."""
        for copy, number in zip(self._plan.copies, self._inputs.numbers, strict=True):
            self._inputs.sources[number - 1].wanted.add(literal_prefix(components(copy.source)))
        wanted: dict[str, list[Wanted]] = {}
        refs = list(self._base) if not self._settings.link or self._by_name else []
        if self._by_name:
            for ref in refs:
                wanted.setdefault(ref.key, []).append(Wanted([PASSWD, GROUP]))
        for source in self._inputs.sources:
            for ref in source.layers:
                refs.append(ref)
                wanted.setdefault(ref.key, []).append(source.wanted)
        self._reader.load(refs, {key: _keep(several) for key, several in wanted.items()})
        if self._by_name and self._inputs.base is not None:
            self._names = Names.parse(self._base_file(PASSWD), self._base_file(GROUP))

    def drafts(self) -> list[_Draft]:
        """Return the entries of the layers to be written."""
        return covering(self._wanted, self._attempt)

    def fetch(self, drafts: Iterable[_Draft]) -> None:
        """Read the contents that are not there yet."""
        layers: dict[str, LayerRef] = {}
        wanted: dict[str, set[int]] = {}
        for draft in drafts:
            for item in draft.items():
                place, row = item.inode.place, item.inode.row
                if place is None or place.source == BASE or row[1] != FILE or not row[5]:
                    continue
                refs = self._inputs.sources[place.source - 1].layers
                if refs:
                    ref = layers.setdefault(refs[place.layer].key, refs[place.layer])
                    wanted.setdefault(ref.key, set()).add(place.entry)
        self._reader.fetch(wanted, layers)

    def contents(self, inode: Inode) -> Iterator[bytes | memoryview]:
        """Yield the contents of a file that was fetched."""
        place = inode.place
        assert place is not None
        return self._inputs.sources[place.source - 1].pieces(inode)

    def _attempt(self) -> list[_Draft]:
        """Do the copies to a fresh tree of the base."""
        target = Target(self._base_tree(), mtime=self._inputs.created.seconds)
        drafts: list[_Draft] = []
        lines: list[str] = []
        for copy, number in zip(self._plan.copies, self._inputs.numbers, strict=True):
            with _located(self._inputs.place(copy.origin)):
                owner = self._owner(copy.chown)
                found = self._inputs.sources[number - 1].find(copy.source)
                target.copy(found, copy.destination, owner)
            lines.append(copy_line(copy))
            if self._settings.layer_per_copy:
                listed = list(emit.items(target.root))
                drafts.append(_Draft(items=partial(iter, listed), lines=tuple(lines)))
                target.settle()
                lines.clear()
        if self._plan.work_dir is not None:
            with _located(self._inputs.place("spec.runtime.workDir")):
                if target.missing(self._plan.work_dir):
                    target.make_work_dir(self._plan.work_dir, self._owner(self._user))
                    lines.append(f"WORKDIR {self._plan.work_dir}")
        drafts.append(_Draft(items=partial(emit.items, target.root), lines=tuple(lines)))
        return drafts

    def _base_tree(self) -> Tree:
        if self._inputs.base is None or self._settings.link:
            return Tree(self._wanted)
        return merge([self._reader.tocs[ref.key] for ref in self._base], self._wanted, BASE, contents=False)

    def _owner(self, text: str | None) -> Owner | None:
        if text is None:
            return None
        return self._names.owner(text, "scratch" if self._inputs.base is None else self._inputs.base.name)

    def _base_file(self, path: bytes) -> bytes:
        """Return the contents of a small file of the base, empty where there is none."""
        tables = [self._reader.tocs[ref.key] for ref in self._base]
        wanted = Wanted([path])
        try:
            _, node = covering(wanted, lambda: merge(tables, wanted, BASE).resolve(path))
        except NotADirectoryError:
            return b""
        place = node.inode.place if node is not None and node.inode.kind == FILE else None
        if node is None or place is None:
            return b""
        size: int = node.inode.row[5]
        if size > MAX_FILE:
            raise InvalidDocumentError(f"'/{path.decode()}' of the base image is larger than {MAX_FILE >> 20} MiB")
        return self._small_file(place, size)

    def _small_file(self, place: Place, size: int) -> bytes:
        """Return contents out of a base layer; they are kept, so that the layer is not read for them again."""
        ref, cache = self._base[place.layer], self._reader.cache
        key = hashlib.sha256(f"{ref.key} {place.entry}".encode()).hexdigest()
        kept = cache.get("file", key) if cache else None
        if kept is not None:
            return kept
        self._reader.fetch({ref.key: [place.entry]}, {ref.key: ref})
        data = b"".join(self._reader.pieces(ref.key, place.entry, size))
        if cache:
            cache.put("file", key, data)
        return data


def _destinations(plan: BuildPlan) -> Iterator[bytes]:
    """Yield the paths of the base that copies come to; more is covered where symlinks lead elsewhere."""
    paths = [copy.destination for copy in plan.copies] + ([plan.work_dir] if plan.work_dir is not None else [])
    for path in paths:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." not in parts:
            yield os.fsencode("/".join(parts))


def _keep(several: Sequence[Wanted]) -> Callable[[bytes], bool]:
    if len(several) == 1:
        return several[0].covers_below
    return lambda path: any(wanted.covers_below(path) for wanted in several)


@contextlib.contextmanager
def _located(place: str) -> Iterator[None]:
    """Put the place in the spec in front of what goes wrong with it."""
    try:
        yield
    except (BuildFailed, InvalidDocumentError, NotFoundError, UsageError) as error:
        raise type(error)(f"{place}: {error.message}", hint=error.hint) from None
