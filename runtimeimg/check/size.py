"""How large an image is, and by what: layers, folders, packages; what differs from another image.

Sizes of layers are those of the stored blobs where a store has them, sizes of files those of their contents; of hard
links one is counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from runtimeimg.check.facts import Facts
from runtimeimg.check.sources import Sources
from runtimeimg.compose.view import File, View
from runtimeimg.image import Image
from runtimeimg.image.values import stored_size

_PIECE = 1 << 20
DEPTH = 3
"""Names in the paths that sizes are told by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSize:
    """A layer: its number from 1, bytes of the blob (None in an Engine), of the files that are left of it."""

    number: int
    digest: str
    stored: int | None
    files: int
    is_base: bool | None
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What an image's bytes are.

    `stored` is the sum of its blobs, None for an Engine's; `builder` that of the image that it was copied from, where
    both are known.
    """

    stored: int | None
    files: int
    count: int
    layers: tuple[LayerSize, ...]
    folders: tuple[tuple[str, int], ...]
    packages: tuple[tuple[str, int], ...]
    builder: int | None = None

    @property
    def total(self) -> int:
        """The bytes that a budget is held against: those stored, else those of the files."""
        return self.files if self.stored is None else self.stored

    def to_json(self) -> dict[str, Any]:
        """Return it for `--format json`."""
        return {
            "stored": self.stored,
            "files": {"bytes": self.files, "count": self.count},
            "builder": self.builder,
            "layers": [
                {
                    "number": item.number,
                    "digest": item.digest,
                    "stored": item.stored,
                    "files": item.files,
                    "base": item.is_base,
                    "createdBy": item.created_by,
                }
                for item in self.layers
            ],
            "folders": [{"path": path, "bytes": size} for path, size in self.folders],
            "packages": [{"package": name, "bytes": size} for name, size in self.packages],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A path that two images have in different ways; sizes in bytes, None where it is not there."""

    path: str
    before: int | None
    after: int | None

    @property
    def what(self) -> str:
        """`added`, `removed`, `grown`, `shrunk`, or `changed` for another content of the same size."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        return "grown" if self.after > self.before else "shrunk" if self.after < self.before else "changed"

    @property
    def difference(self) -> int:
        """Bytes that it has become larger by."""
        return (self.after or 0) - (self.before or 0)


def sizes(facts: Facts, depth: int = DEPTH) -> Sizes:
    """Return what the bytes of an image are, the largest first."""
    image, view = facts.view.image, facts.view
    engine = stored_size(image) is None
    sources = Sources(facts)
    layers = [0] * len(image.layers)
    folders: dict[str, int] = {}
    packages: dict[str, int] = {}
    seen: set[int] = set()
    count = 0
    for file in view.walk():
        if not file.is_file or id(file.inode) in seen:
            continue
        seen.add(id(file.inode))
        count += 1
        layers[file.layer] += file.size
        parts = file.path.split("/")[:-1]
        for end in range(2, min(len(parts), depth + 1) + 1):
            folders["/".join(parts[:end])] = folders.get("/".join(parts[:end]), 0) + file.size
        package, _, _ = sources.attributed(file)
        name = str(package) if package is not None else ""
        packages[name] = packages.get(name, 0) + file.size
    stored = stored_size(image)
    copied = stored_size(facts.origin) if facts.origin is not None else None
    return Sizes(
        stored=None if stored is None else stored[0],
        files=sum(layers),
        count=count,
        layers=tuple(_layers(facts, image, layers, engine=engine)),
        folders=_largest(folders),
        packages=_largest({name or "(of no package)": size for name, size in packages.items()}),
        builder=None if copied is None or stored is None else copied[0],
    )


def _largest(found: dict[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _layers(facts: Facts, image: Image, files: list[int], *, engine: bool) -> Iterator[LayerSize]:
    made = [step for step in image.config.history if not step.get("empty_layer")]
    for number, layer in enumerate(image.layers):
        said = made[number].get("created_by") if number < len(made) else None
        yield LayerSize(
            number=number + 1,
            digest=str(layer.diff_id if engine else layer.descriptor.digest),
            stored=None if engine else layer.descriptor.size,
            files=files[number],
            is_base=None if facts.base_layers is None else number < facts.base_layers,
            created_by=said if isinstance(said, str) else "",
        )


def differences(before: View, after: View) -> tuple[Changed, ...]:
    """Return the paths at which two images differ in kind, contents, target, mode or owner, by path.

    Contents that come from the same layer are not read; those of the same size from others are.
    """
    old, new = _entries(before), _entries(after)
    changed = [
        _changed(path, old.get(path), new.get(path))
        for path in sorted({*old, *new})
        if path not in old or path not in new
    ]
    unsure = []
    for path in old.keys() & new.keys():
        first, second = old[path], new[path]
        if _told(first) != _told(second):
            changed.append(_changed(path, first, second))
        elif first.is_file and first.size and before.content_key(first) != after.content_key(second):
            unsure.append(path)
    before.fetch(old[path] for path in unsure)
    after.fetch(new[path] for path in unsure)
    changed += [
        _changed(path, old[path], new[path])
        for path in unsure
        if _digest(before, old[path]) != _digest(after, new[path])
    ]
    return tuple(sorted(changed, key=lambda item: item.path))


def _entries(view: View) -> dict[str, File]:
    return {file.path: file for file in view.walk() if not file.is_folder}


def _told(file: File) -> tuple[object, ...]:
    return file.inode.kind, file.mode, file.owner, file.size, file.inode.attributes.target


def _changed(path: str, first: File | None, second: File | None) -> Changed:
    return Changed(
        path=path,
        before=first.size if first is not None else None,
        after=second.size if second is not None else None,
    )


def _digest(view: View, file: File) -> bytes:
    part, digest = view.part(file), hashlib.sha256()
    for offset in range(0, file.size, _PIECE):
        digest.update(part(offset, _PIECE))
    return digest.digest()
