"""What a bill of materials tells: every file of the new layers with its package, and the packages of the base."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from runtimeimg.check.facts import Facts
from runtimeimg.check.packages import Package
from runtimeimg.check.sources import Sources
from runtimeimg.compose.view import File, View
from runtimeimg.oci import Digest
from runtimeimg.plan import Copy

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file or symlink of the new layers. The digests are hexadecimal, those of a symlink of its target's name.

    `source` is its path in the builder image, `origin` the place in the spec of the copy that brought it.
    """

    path: str
    sha1: str
    sha256: str
    target: str = ""
    source: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """An image's packages, each with the files of the new layers that came with it, and the files that are of none.

    `digest` is that of the config, which is the same wherever the image is kept; `created` is in seconds since 1970.
    Packages of `base` have their records in the base image, or are of an image whose builder is not known.
    """

    name: str
    digest: Digest
    platform: str
    created: int
    packages: Mapping[Package, tuple[Entry, ...]]
    base: frozenset[Package]
    unattributed: tuple[Entry, ...]


def contents_of(facts: Facts, created: int) -> Contents:
    """Return what an image holds; `copies` are those of its plan, `builder` the name of what most of them read.

    Every file and symlink of the new layers is in it once, of hard links each name.
    """
    view = facts.view
    own = facts.owners
    sources = Sources(facts)
    found: dict[Package | None, list[Entry]] = {}
    base: set[Package | None] = set()
    new = []
    for file in view.walk():
        if file.is_folder:
            continue
        if facts.is_new(file):
            new.append(file)
        else:
            base.add(own.of(file.path))
    view.fetch(new)
    for file in new:
        package, copy, source = sources.attributed(file)
        found.setdefault(package, []).append(_entry(view, file, source, copy))
    base |= set(own.packages) - found.keys()
    packages = {item for item in (*found, *base) if item is not None}
    return Contents(
        name=view.image.name,
        digest=view.image.config.digest,
        platform=str(view.image.platform),
        created=created,
        packages={item: tuple(found.get(item, ())) for item in sorted(packages)},
        base=frozenset(item for item in base if item is not None),
        unattributed=tuple(found.get(None, ())),
    )


def _entry(view: View, file: File, source: str | None, copy: Copy | None) -> Entry:
    digests = hashlib.sha1(usedforsecurity=False), hashlib.sha256()
    if file.is_link:
        for digest in digests:
            digest.update(file.inode.attributes.target)
    elif file.is_file:
        part = view.part(file)
        for offset in range(0, file.size, _PIECE):
            piece = part(offset, _PIECE)
            for digest in digests:
                digest.update(piece)
    return Entry(
        path=file.path,
        sha1=digests[0].hexdigest(),
        sha256=digests[1].hexdigest(),
        target=file.target if file.is_link else "",
        source=source or "",
        origin=copy.origin if copy is not None else "",
    )
