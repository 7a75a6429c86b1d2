"""An image split into a small one and the closure of the store paths in its layers, and put together again.

The closure is an image as well, of which each layer is one path of the store: so a registry, a layout and `copy` hold
and move the paths one by one, and none twice. Annotations of a layer say which path it is and which others that needs,
which is found as Nix does it, by looking for their names in its files.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import IO

from runtimeimg import remains
from runtimeimg.errors import InvalidDocumentError, NotFoundError, UsageError
from runtimeimg.image import Image, Layer
from runtimeimg.image.compress import BlobWriter, Compression
from runtimeimg.image.decompress import Unfolded, raw_pieces
from runtimeimg.image.filelayer import FileLayer
from runtimeimg.image.layertar import FILE, HARDLINK, SYMLINK, Entry, LayerTar
from runtimeimg.image.reserving import reserving
from runtimeimg.image.tarwrite import END, header, padding
from runtimeimg.oci import ImageConfig
from runtimeimg.stores.opening import MAX_LAYERS

STORE = b"nix/store/"
PATH, REFERENCES = "dev.runtimeimg.store.path", "dev.runtimeimg.store.references"
"""Annotations of a closure's layers."""
LABEL = "dev.runtimeimg.store.paths"
"""Label of a small image: the paths that it needs, each after a space."""
_NAME = re.compile(rb"nix/store/([0-9A-Za-z+._?=-]{1,211})")
_GOOD = re.compile(rb"(?!\.wh\.)[0-9A-Za-z+._?=-]{1,211}\Z|\.wh\.")
_OVERLAP = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """An image without the paths of the store, and these as the layers of another image."""

    small: Image
    closure: Image
    paths: tuple[str, ...]


@contextlib.contextmanager
def split(image: Image, folder: str | None = None) -> Iterator[Split]:
    """Yield an image in two, whose blobs can be read until the context ends; layers without store paths stay.

    Raises UsageError for an image without any, or of which a later layer changes a path of the store.
    """
    with remains.folder(folder) as work, contextlib.closing(_Parts(work)) as parts:
        layers = tuple(_small(layer, number, image.name, parts) for number, layer in enumerate(image.layers))
        if not parts.entries:
            raise UsageError(
                f"image '{image.name}' has nothing below /nix/store", hint="there is no closure to split off"
            )
        names = sorted(parts.entries)
        paths = tuple(f"/{(STORE + name).decode()}" for name in names)
        made = [_packed(name, parts, work / f"path-{number}") for number, name in enumerate(names)]
        labels = {**image.config.labels, LABEL: " ".join(paths)}
        small = replace(image, layers=layers, manifest=None, image_id=None)
        yield Split(
            small=small.with_config(_with_layers(image.config, layers).with_config(Labels=labels)),
            closure=Image(config=_bare(image.config, made), layers=tuple(made), name=f"{image.name} (closure)"),
            paths=paths,
        )


@contextlib.contextmanager
def join(small: Image, closure: Image, folder: str | None = None) -> Iterator[Image]:
    """Yield a small image with all that it needs of a closure, in one layer more, and without its label.

    Raises UsageError for an image that needs none, NotFoundError where the closure lacks a path.
    """
    wanted = small.config.labels.get(LABEL, "").split()
    if not wanted:
        raise UsageError(
            f"image '{small.name}' does not say which store paths it needs", hint="'graph split' makes one"
        )
    there = {layer.descriptor.annotations.get(PATH, ""): layer for layer in closure.layers}
    needed = _needed(wanted, there, closure.name)
    with remains.folder(folder) as work:
        path = work / "store"
        with reserving(path) as out, BlobWriter(out, Compression()) as writer:
            for name in needed:
                for entry, pieces in _entries(there[name], closure.name):
                    _write(writer, entry, pieces)
            writer.write(END)
            packed = writer.finish()
        layer = FileLayer(descriptor=packed.descriptor, diff_id=packed.diff_id, path=path)
        layers = (*small.layers, layer)
        labels = {key: value for key, value in small.config.labels.items() if key != LABEL}
        config = _with_layers(small.config, layers, "graph join").with_config(Labels=labels or None)
        yield replace(small, layers=layers, manifest=None, image_id=None).with_config(config)


def _needed(wanted: Iterable[str], there: Mapping[str, Layer], name: str) -> list[str]:
    """Return the paths that are wanted with all that they need, sorted."""
    found: set[str] = set()
    waiting = list(wanted)
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        layer = there.get(path)
        if layer is None:
            raise NotFoundError(
                f"closure '{name}' has no path '{path[:200]}'", hint="join the closure of this very image"
            )
        found.add(path)
        waiting += layer.descriptor.annotations.get(REFERENCES, "").split()
    return sorted(found)


@dataclass(slots=True)
class _Parts:
    """The store paths of an image as archives in a folder, each without its end; `entries` tell their layers."""

    folder: Path
    entries: dict[bytes, int] = field(default_factory=dict)
    references: dict[bytes, set[bytes]] = field(default_factory=dict)
    _numbers: dict[bytes, Path] = field(default_factory=dict)
    _open: tuple[bytes, IO[bytes]] | None = None

    def take(self, name: bytes, layer: int, entry: Entry, pieces: Iterable[bytes | memoryview]) -> None:
        """Add an entry to a path's archive."""
        if self.entries.setdefault(name, layer) != layer:
            raise UsageError(
                f"{_shown(name)} is in two layers", hint="a path of a store is never changed: squash the image"
            )
        if len(self.entries) > MAX_LAYERS:
            raise UsageError(f"the image has more than {MAX_LAYERS} store paths", hint="no image has so many layers")
        out = self._file(name)
        out.write(header(entry))
        tail = b""
        names = self.references.setdefault(name, set())
        for piece in (entry.target, *pieces) if entry.kind == SYMLINK else pieces:
            text = tail + bytes(piece)
            names.update(_NAME.findall(text))
            tail = text[-_OVERLAP:]
            if entry.kind == FILE:
                out.write(piece)
        out.write(padding(entry.size))

    def archive(self, name: bytes) -> Path:
        """Return the file of a path's archive, to which nothing is added any more."""
        self.close()
        return self._numbers[name]

    def close(self) -> None:
        """Close the archive that is being written."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def needed(self, name: bytes) -> list[bytes]:
        """Return the other paths of the image that are named in one's files."""
        by_hash = {_hash(other): other for other in self.entries}
        found = {by_hash.get(_hash(text)) for text in self.references.get(name, ())}
        return sorted(other for other in found if other is not None and other != name)

    def _file(self, name: bytes) -> IO[bytes]:
        if self._open is None or self._open[0] != name:
            self.close()
            path = self._numbers.setdefault(name, self.folder / f"archive-{len(self._numbers)}")
            self._open = (name, path.open("ab"))
        return self._open[1]


def _hash(name: bytes) -> bytes:
    """Return what tells a path from all others: its hash, where it has one."""
    return name[:32] if name[32:33] == b"-" else name


def _small(layer: Layer, number: int, image: str, parts: _Parts) -> Layer:
    """Return a layer without its store paths, which are taken into the parts; the very layer where it has none."""
    before = len(parts.entries)
    path = parts.folder / f"small-{number}"
    with reserving(path) as out, BlobWriter(out, Compression()) as writer:
        for entry, pieces in _entries(layer, image):
            name = _store_path(entry)
            if name is None:
                _write(writer, entry, pieces)
            else:
                parts.take(name, number, entry, pieces)
        writer.write(END)
        packed = writer.finish()
    if len(parts.entries) == before:
        return layer
    return FileLayer(descriptor=packed.descriptor, diff_id=packed.diff_id, path=path)


def _store_path(entry: Entry) -> bytes | None:
    """Return the name of the store path that an entry is of, None for none; UsageError for what has no place."""
    name = _named(entry.path)
    if name is not None and not _GOOD.match(name):
        raise UsageError(f"{_shown(name)} has a name that no path of a store has")
    if name is not None and any(part.startswith(b".wh.") for part in entry.path.split(b"/")[2:]):
        raise UsageError(f"{_shown(name)} is removed by a later layer", hint="squash the image first")
    if entry.kind == HARDLINK and _named(entry.target) != name:
        raise UsageError(f"'/{entry.path.decode('utf-8', 'replace')[:200]}' is a hard link across paths of the store")
    return name


def _named(path: bytes) -> bytes | None:
    return path[len(STORE) :].partition(b"/")[0] if path.startswith(STORE) else None


def _shown(name: bytes) -> str:
    return f"store path '/{(STORE + name).decode('utf-8', 'replace')[:200]}'"


def _packed(name: bytes, parts: _Parts, path: Path) -> FileLayer:
    """Return the layer of a store path."""
    with reserving(path) as out, BlobWriter(out, Compression()) as writer, parts.archive(name).open("rb") as archive:
        while piece := archive.read(1 << 20):
            writer.write(piece)
        writer.write(END)
        packed = writer.finish()
    parts.archive(name).unlink()
    said = {PATH: f"/{(STORE + name).decode()}"}
    references = " ".join(f"/{(STORE + other).decode()}" for other in parts.needed(name))
    annotations = MappingProxyType(said | ({REFERENCES: references} if references else {}))
    return FileLayer(descriptor=replace(packed.descriptor, annotations=annotations), diff_id=packed.diff_id, path=path)


def _entries(layer: Layer, image: str) -> Iterator[tuple[Entry, Iterable[memoryview]]]:
    """Yield the entries of a layer, each with its contents, to be read before the next."""
    name = f"layer {layer.descriptor.digest} of image '{image}'"
    with layer.open() as file:
        unfolded = Unfolded(raw_pieces(file), name, size=layer.descriptor.size)
        archive = LayerTar(unfolded, name, partial(getattr, unfolded, "raw_bytes"))
        for entry in archive:
            yield entry, archive.content() if entry.kind == FILE else ()


def _write(writer: BlobWriter, entry: Entry, pieces: Iterable[bytes | memoryview]) -> None:
    writer.write(header(entry))
    if entry.kind == FILE:
        for piece in pieces:
            writer.write(piece)
        writer.write(padding(entry.size))


def _with_layers(config: ImageConfig, layers: Iterable[Layer], by: str = "") -> ImageConfig:
    """Return a config with other layers; `by` made the last of them."""
    rootfs = {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in layers]}
    history = [dict(item) for item in config.history]
    if by and history:
        history.append({"created_by": f"runtimeimg {by}"})
    return config.evolve(rootfs=rootfs, **({"history": history} if history else {}))


def _bare(config: ImageConfig, layers: Iterable[Layer]) -> ImageConfig:
    """Return the config of a closure: the platform of its image and the layers."""
    if not isinstance(config.data.get("os"), str):
        raise InvalidDocumentError("the image's config names no os")
    rootfs = {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in layers]}
    return ImageConfig.from_json({**config.platform.to_json(), "config": {}, "rootfs": rootfs})
