"""The composition from end to end: tables, trees, copies, layers.

1. The tables of contents of all layers, the base's and those of the images that copies read, come out of the cache
   or are made by reading the layers; contents that a copy names literally are taken along in that pass.
2. The copies are done to the base's tree, in memory.
3. The touched part of the tree is divided into layers (grouping.py); those that are not kept from before are written.
4. Contents that the first pass did not bring (the cache spared it, or a symlink led elsewhere) are fetched meanwhile.

The base's table is needed because a destination may lie behind a symlink of the base (`/lib -> usr/lib`), be a folder
or not, and have owners of its own, none of which can be told without it; a layer that leaves folders out, or makes
them anew, gives another tree in Docker's overlay2 and in containers-storage. Base layers that the builder image has
too are read once, as the builder's; others only where no table is kept of them yet. `Settings.link` does without, with
the meaning of Dockerfile's `COPY --link`: the base is not looked into and its symlinks are not followed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, field
from functools import cache, partial
from pathlib import Path

from runtimeimg.cache import Cache
from runtimeimg.compose import emit, kept
from runtimeimg.compose.find import components, literal_prefix
from runtimeimg.compose.grouping import MAX_LAYERS, Grouping, Mode
from runtimeimg.compose.history import Moment
from runtimeimg.compose.layers import LayerRef
from runtimeimg.compose.merge import merge
from runtimeimg.compose.nodes import BASE, Inode, Node, Owner, origin
from runtimeimg.compose.owners import GROUP, PASSWD, Names, needs_names
from runtimeimg.compose.packed import SpanError
from runtimeimg.compose.principals import Principals
from runtimeimg.compose.reading import Keep, Reader
from runtimeimg.compose.sources import Source, covering
from runtimeimg.compose.takeover import Item, LayerOf, UnlikeError
from runtimeimg.compose.target import Target
from runtimeimg.compose.tree import Tree
from runtimeimg.compose.wanted import Wanted
from runtimeimg.errors import BuildFailed, InvalidDocumentError, NotFoundError, UsageError
from runtimeimg.image import Image
from runtimeimg.image.compress import Compression
from runtimeimg.image.filelayer import FileLayer
from runtimeimg.image.layertar import FILE
from runtimeimg.image.toc import TocBuilder
from runtimeimg.plan import BuildPlan
from runtimeimg.stores.growing import Making


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the result is made: see the module for `link` and grouping.py for `layers`.

    No time in a layer is later than `latest` seconds. With `tables` the tables of contents of new layers are kept, for
    somebody who is going to look into them.
    """

    compression: Compression = field(default_factory=Compression)
    layers: Mode = "builder"
    link: bool = False
    latest: int | None = None
    tables: bool = False


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
    """A new layer and the instructions that it is the result of, by their places among `history.lines`."""

    layer: FileLayer
    steps: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A layer to be written: the entries, which may be asked for again and again, and what they are the result of."""

    items: Callable[[], Iterable[Item]]
    steps: tuple[int, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return next(iter(self.items()), None) is None


@dataclass(slots=True)
class _Needs:
    """What a layer is kept under, None for what cannot be told, and by their keys the layers that it comes from.

    `wanted` are the places of the contents in these.
    """

    key: str | None = None
    layers: dict[str, LayerRef] = field(default_factory=dict)
    wanted: dict[str, array[int]] = field(default_factory=dict)


def compose(
    inputs: Inputs, settings: Settings, reader: Reader, folder: Path, begin: Callable[[Path], Making] | None = None
) -> tuple[Composed, ...]:
    """Return the layers that the plan's copies make, as files in `folder`; none when they change nothing.

    Layers that were made before of the same entries out of the same layers are taken from the reader's cache. What
    `begin` returns for the file of one that is not is told of it as it grows.
    """
    work = _Composition(inputs, settings, reader)
    work.load()
    drafts = [draft for draft in work.drafts() if not draft.is_empty]
    paths = [folder / f"layer-{number}" for number in range(len(drafts))]
    needs = [work.needs(draft) for draft in drafts]
    layers = [kept.find(reader.cache, need.key, path) for need, path in zip(needs, paths, strict=True)]
    composed = []
    with work.fetching(need for need, layer in zip(needs, layers, strict=True) if layer is None):
        for draft, need, path, known in zip(drafts, needs, paths, layers, strict=True):
            layer = known
            if layer is None:
                layer = work.written(draft, path, begin)
                kept.keep(reader.cache, need.key, layer)
            if settings.tables and reader.cache is not None:
                _keep_table(reader.cache, layer, draft.items())
            composed.append(Composed(layer=layer, steps=draft.steps))
    return tuple(composed)


def _keep_table(cache: Cache, layer: FileLayer, items: Iterable[Item]) -> None:
    """Keep the table of a layer that was made of these entries, unless one is kept already."""
    key = layer.descriptor.digest.encoded
    if cache.get("toc", key) is None:
        builder = TocBuilder(f"layer {key}")
        for item in items:
            builder.add(item.entry)
        cache.put("toc", key, builder.finish().to_bytes())


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
        name = "scratch" if base is None else base.name
        self._principals = Principals(self._base, inputs.sources, reader, name)
        self._refs = {
            origin(number, at): ref
            for number, source in enumerate(inputs.sources, start=1)
            for at, ref in enumerate(source.layers)
        }
        self._wanted = Wanted([b""] if base is None or settings.link else _destinations(self._plan))

    def load(self) -> None:
        """Make the tables known that are needed."""
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
        self._reader.load(refs, {key: Keep(several) for key, several in wanted.items()})

    def drafts(self) -> list[_Draft]:
        """Return the entries of the layers to be written."""
        return covering(self._wanted, self._attempt)

    def needs(self, draft: _Draft) -> _Needs:
        """Return what a layer is made of: what it is kept under goes by its entries, and where their contents are.

        Nothing else goes into that, so a layer is found again whatever else changed in base, builder or plan.
        """
        import msgpack

        digest = hashlib.sha256(json.dumps([*kept.RELEASE, *astuple(self._settings.compression)]).encode())
        pack = msgpack.Packer().pack
        needs = _Needs()
        layers, wanted, has_key = needs.layers, needs.wanted, True
        for entry, inode in draft.items():
            ref = self._refs.get(inode.origin)
            where: tuple[str, int] | None = None
            if ref is not None:
                key = ref.key
                layers[key] = ref
                if entry.size and entry.kind == FILE:
                    where = (key, inode.entry)
                    wanted.setdefault(key, array("I")).append(inode.entry)
            elif entry.size and entry.kind == FILE:
                has_key = False  # a file of this machine
            digest.update(pack((*entry, where)))
        if has_key:
            needs.key = digest.hexdigest()
        return needs

    def fetching(self, several: Iterable[_Needs]) -> contextlib.AbstractContextManager[None]:
        """Read the contents that are not there yet, in the order in which they are wanted, beside the context."""
        layers: dict[str, LayerRef] = {}
        wanted: dict[str, array[int]] = {}
        for needs in several:
            layers |= needs.layers
            for key, entries in needs.wanted.items():
                wanted.setdefault(key, array("I")).extend(entries)
        return self._reader.fetching(wanted, layers, indexed=self._settings.compression.takes_over)

    def written(self, draft: _Draft, path: Path, begin: Callable[[Path], Making] | None) -> FileLayer:
        """Write a layer, with parts of those that it comes from as they are where that is allowed."""
        compression = self._settings.compression
        if compression.takes_over:
            for last in (False, True):
                try:
                    return emit.write(draft.items(), path, compression, self.contents, begin, self._layer_of())
                except UnlikeError:
                    path.unlink()
                    break
                except SpanError as error:
                    if last:
                        raise
                    path.unlink()
                    self._reader.index_anew(error.ref)
        return emit.write(draft.items(), path, compression, self.contents, begin)

    def _layer_of(self) -> LayerOf:
        """Return what tells the layer that something comes from, where parts of that may be taken over."""
        packed = {at: self._reader.packed(ref) for at, ref in self._refs.items()}
        return lambda inode: packed.get(inode.origin)

    def contents(self, inode: Inode) -> Iterator[bytes | memoryview]:
        """Yield the contents of a file that was fetched."""
        place = inode.place
        assert place is not None
        return self._inputs.sources[place.source - 1].pieces(inode)

    def _attempt(self) -> list[_Draft]:
        """Do the copies to a fresh tree of the base."""
        target = Target(self._base_tree(), numbered=self._settings.layers == "copy")
        brought: list[set[int]] = []
        for step, (copy, number) in enumerate(zip(self._plan.copies, self._inputs.numbers, strict=True), start=1):
            with self._located(copy.origin):
                owner = self._owner(copy.chown, target)
                source = self._inputs.sources[number - 1]
                found = source.find(copy.source)
                last = len(found) == 1 and number not in self._inputs.numbers[step:]
                brought.append(target.copy(step, found, copy.destination, owner, use_up=last))
                if last:
                    source.forget()
        if self._plan.work_dir is not None:
            with self._located("spec.runtime.workDir"):
                if not target.has_folder(self._plan.work_dir):
                    target.make_work_dir(len(brought) + 1, self._plan.work_dir, self._owner(self._user, target))
                    brought.append(set())
        return self._drafts_of(target.root, brought)

    def _drafts_of(self, root: Node, brought: Sequence[set[int]]) -> list[_Draft]:
        """Divide what was touched into layers; `brought` has the origins of what each instruction put there."""
        base = self._inputs.base
        grouping = Grouping(root, self._settings.layers, MAX_LAYERS - (len(base.layers) if base is not None else 0))
        drafts = []
        for number in range(len(grouping.groups)):
            # The entries are asked for again and again, their latest time takes a walk over all of them.
            made = cache(partial(emit.latest_time, root, grouping, number, self._inputs.created.seconds))
            entries = partial(emit.items, root, grouping, number, latest=self._settings.latest, made=made)
            drafts.append(_Draft(items=entries, steps=grouping.steps(number, brought)))
        return drafts

    @contextlib.contextmanager
    def _located(self, path: str) -> Iterator[None]:
        """Put the place in the spec in front of what goes wrong with it."""
        try:
            yield
        except (BuildFailed, InvalidDocumentError, NotFoundError, UsageError) as error:
            raise type(error)(f"{self._inputs.place(path)}: {error.message}", hint=error.hint) from None

    def _base_tree(self) -> Tree:
        if self._inputs.base is None or self._settings.link:
            return Tree(self._wanted)
        return merge([self._reader.tocs[ref.key] for ref in self._base], self._wanted, BASE, contents=False)

    def _owner(self, text: str | None, target: Target) -> Owner | None:
        """Return an owner by the names that the tree has now."""
        if text is None:
            return None
        if not needs_names(text):
            return Names().owner(text, "")
        return self._principals.owner(text, target.tree, link=self._settings.link)


def _destinations(plan: BuildPlan) -> Iterator[bytes]:
    """Yield the paths of the base that copies come to; more is covered where symlinks lead elsewhere."""
    paths = [copy.destination for copy in plan.copies] + ([plan.work_dir] if plan.work_dir is not None else [])
    for path in paths:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." not in parts:
            yield os.fsencode("/".join(parts))
