"""The ELF files of an image, found by reading its layers once; contents beyond the fronts of files are passed over."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import IO

from runtimeimg import elf
from runtimeimg.budgets import MAX_NODES
from runtimeimg.elf import Elf
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image.decompress import Unfolded
from runtimeimg.image.layertar import DIRECTORY, FILE, HARDLINK, Entry, LayerTar
from runtimeimg.image.values import Layer

_PIECE = 1 << 20
_WHITEOUT, _OPAQUE = b".wh.", b".wh..wh..opq"


def scan(layers: Sequence[Layer], name: str) -> dict[str, Elf]:
    """Return the ELF files of an image by path, as they stand when its layers are applied (layer.md).

    `name` is what messages call the image. Blobs are read to their ends, and so verified. Raises InvalidDocumentError
    for a layer that cannot be read, or an image of more ELF files than anybody has.
    """
    found: dict[bytes, Elf] = {}
    for number, layer in enumerate(layers, 1):
        with layer.open() as blob:
            made = _read(layer, blob, f"layer {number} of '{name}'", found)
        if made.gone or made.opaque:
            found = {path: facts for path, facts in found.items() if not made.hides(path)}
        found |= made.found
        if len(found) > MAX_NODES:
            raise InvalidDocumentError(f"image '{name}' holds more than {MAX_NODES} programs and libraries")
    return {os.fsdecode(path): facts for path, facts in found.items()}


def _read(layer: Layer, blob: IO[bytes], name: str, below: Mapping[bytes, Elf]) -> _Layer:
    """Return what a layer adds and hides; its blob is read to the end whatever is in it, and so verified."""
    made, unfolded = _Layer(), Unfolded(_pieces(blob), name, size=layer.descriptor.size)
    archive = LayerTar(unfolded, name, partial(getattr, unfolded, "raw_bytes"))
    try:
        for entry in archive:
            made.take(entry, archive, below)
    finally:
        while blob.read(_PIECE):
            pass
    return made


@dataclass(slots=True)
class _Layer:
    """What a layer adds, and which paths of those below it hides."""

    found: dict[bytes, Elf] = field(default_factory=dict)
    gone: set[bytes] = field(default_factory=set)
    opaque: set[bytes] = field(default_factory=set)

    def take(self, entry: Entry, archive: LayerTar, below: Mapping[bytes, Elf]) -> None:
        folder, _, name = entry.path.rpartition(b"/")
        if name == _OPAQUE:
            self.opaque.add(folder)
            return
        if name.startswith(_WHITEOUT):
            self.gone.add(b"/".join(filter(None, (folder, name[len(_WHITEOUT) :]))))
            return
        if entry.kind == DIRECTORY:
            return
        self.gone.add(entry.path)
        self.found.pop(entry.path, None)
        facts = None
        if entry.kind == FILE:
            facts = elf.read(archive.front(elf.HEAD)) if entry.size else None
        elif entry.kind == HARDLINK:
            facts = self.found.get(entry.target) or below.get(entry.target)
        if facts is not None:
            self.found[entry.path] = facts

    def hides(self, path: bytes) -> bool:
        """Tell whether a path of the layers below is removed or replaced, or lies below what is."""
        if path in self.gone:
            return True
        while path:
            path = path.rpartition(b"/")[0]
            if path in self.opaque or path in self.gone:
                return True
        return False


def _pieces(blob: IO[bytes]) -> Iterator[bytes]:
    while data := blob.read(_PIECE):
        yield data
