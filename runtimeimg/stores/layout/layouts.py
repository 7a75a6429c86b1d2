"""OCI layouts: `oci:DIR[:TAG]` (OCI image-spec, image-layout.md)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import IO

from runtimeimg.budgets import MAX_DOCUMENT
from runtimeimg.errors import InvalidDocumentError, NotFoundError, UsageError
from runtimeimg.hostfile import open_file
from runtimeimg.image import Image, ImageIndex, Origin
from runtimeimg.oci import Descriptor, Digest, Index, Location, Reference
from runtimeimg.oci.documents import declared_type
from runtimeimg.oci.mediatypes import INDEXES, OCI_INDEX
from runtimeimg.remains import held
from runtimeimg.stores.base import StoreOptions, Written, unasked
from runtimeimg.stores.contents import Blob, contents
from runtimeimg.stores.files import require_folder
from runtimeimg.stores.layout import files
from runtimeimg.stores.missing import elsewhere
from runtimeimg.stores.opening import Blobs, open_document, open_top, read_manifest
from runtimeimg.stores.parallel import Stopped, for_each
from runtimeimg.stores.verify import verified

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"


class LayoutSource:
    """An image or index of a layout."""

    def __init__(self, location: Location, options: StoreOptions) -> None:
        assert location.path is not None
        self._location = location
        self._options = options
        self._root = Path(location.path)
        self.name = str(location)

    def open(self) -> Image | ImageIndex:
        """Return what the tag names, or without one the only image; documents are read and verified."""
        if not self._root.is_dir():
            raise NotFoundError(f"OCI layout '{self._root}' does not exist")
        try:
            marker = files.read_small(self._root / files.MARKER)
        except NotFoundError:
            raise NotFoundError(f"folder '{self._root}' is not an OCI layout: it has no '{files.MARKER}'") from None
        files.check_marker(marker, str(self._root / files.MARKER))
        blobs = LayoutBlobs(self._root, self.name)
        return open_entry(read_index(self._root), self._location.tag, blobs, self._options.max_top)


class LayoutBlobs:
    """The blobs of a layout's folder."""

    def __init__(self, root: Path, name: str) -> None:
        self._root = root.absolute()
        self.name = name

    def open_blob(self, descriptor: Descriptor) -> IO[bytes]:
        """Return a verified reader of a blob."""
        path = self._root / files.blob_name(descriptor.digest)
        try:
            file = open_file(path)
        except NotFoundError:
            raise NotFoundError(
                f"image '{self.name}': the layout has no blob {descriptor.digest}", hint=elsewhere(descriptor)
            ) from None
        return verified(file, descriptor, f"blob '{path}'")

    open_manifest = open_blob

    def origin(self, descriptor: Descriptor) -> Origin | None:
        """Tell the blob's file."""
        return Origin(store="file", place=str(self._root / files.blob_name(descriptor.digest)))


class LayoutDestination:
    """A name in a layout; the folder is made when it is not there, other names in it are kept."""

    def __init__(self, location: Location, options: StoreOptions) -> None:
        assert location.path is not None
        self._location = location
        self._options = options
        self._root = Path(location.path)
        self.name = str(location)

    def check(self) -> None:
        """Ask for the nearest folder that is there."""
        there = next(path for path in (self._root, *self._root.absolute().parents) if path.exists())
        require_folder(there / "oci-layout", f"layout '{self._root}'")

    def write(self, image: Image | ImageIndex, confirm: Callable[[], None] = unasked) -> Written:
        """Write all blobs, then `index.json`: until then the layout says what it said before."""
        parts = contents(image, self._is_here)
        kept = f"blobs in layout '{self._root}' that no name refers to; the next image written there takes them up"
        with held.during(kept):
            files.prepare(self._root)
            for_each(parts.blobs, self._write_blob)
            for manifest in (*parts.children, parts.top):
                if not files.has_blob(self._root, manifest.descriptor):
                    files.write_blob(self._root, manifest, lambda _count: None)
            files.sync_blobs(self._root)
            entry = named_entry(parts.top.descriptor, image, self._location.tag)
            with files.locked(self._root, self._options.progress.line):
                confirm()
                index = read_index(self._root)
                files.replace_index(self._root, with_entry(index, entry))
        return Written(name=self.name, descriptor=parts.top.descriptor)

    def _is_here(self, origin: Origin) -> bool:
        """Tell whether a manifest is in this very layout."""
        place = Path(origin.place)
        return origin.store == "file" and place.is_relative_to(self._root.absolute() / "blobs") and place.is_file()

    def _write_blob(self, blob: Blob, stop: threading.Event) -> None:
        descriptor, progress = blob.descriptor, self._options.progress
        key = f"write {descriptor.digest}"
        progress.start(key, f"write {self.name} {descriptor.digest.short}", descriptor.size)
        if files.has_blob(self._root, descriptor):
            self._options.account.add(existing_blobs=1)
            progress.done(key, "exists")
            return

        def on_bytes(count: int) -> None:
            if stop.is_set():
                raise Stopped
            progress.advance(key, count)

        files.write_blob(self._root, blob, on_bytes)
        progress.done(key)


def open_blob_of(location: Location, digest: Digest, options: StoreOptions) -> Image | ImageIndex | None:
    """Return the image or index of a digest that a layout holds, whatever its names say; None where it has none."""
    root = Path(location.path or "")
    try:
        raw = files.read_small(root / files.blob_name(digest))
    except NotFoundError:
        return None
    return open_top(raw, None, LayoutBlobs(root, str(location)), options.max_top) if Digest.of(raw) == digest else None


def read_index(root: Path) -> Index:
    """Return a layout's `index.json`."""
    try:
        return parse_index(files.read_small(root / files.INDEX), str(root / files.INDEX))
    except NotFoundError:
        raise InvalidDocumentError(f"OCI layout '{root}' has no '{files.INDEX}'") from None


@lru_cache(1)  # many images of one layout are opened one after the other
def parse_index(raw: bytes, where: str) -> Index:
    """Return the index that `raw` holds, or raise InvalidDocumentError naming `where`."""
    index = Index(raw, OCI_INDEX)
    try:
        known = (declared_type(index.data, "index") or OCI_INDEX) in INDEXES and index.manifests is not None
    except InvalidDocumentError as error:
        raise InvalidDocumentError(f"'{where}': {error.message}") from error
    if not known:
        raise InvalidDocumentError(f"'{where}' is not an image index")
    return index


def open_entry(index: Index, tag: str | None, blobs: Blobs, limit: int = MAX_DOCUMENT) -> Image | ImageIndex:
    """Return what `tag` names in a layout's index, of at most `limit` bytes."""
    entry = _choose(index, tag, blobs.name)
    if entry is None:
        found = open_document(index.raw, OCI_INDEX, blobs)
        assert isinstance(found, ImageIndex)
        return found
    return open_top(read_manifest(blobs, entry, blobs.name), entry.media_type, blobs, limit)


def _choose(index: Index, tag: str | None, name: str) -> Descriptor | None:
    """Return the entry for `tag`; None when the layout's index is itself the one image, an entry a platform.

    Without a tag it is the only entry, or the only one without a name. A tag is matched as skopeo writes it, then as
    containerd does (a full name, of which the tag may be the end).
    """
    entries = tuple(entry for entry in index.manifests if entry.artifact_type is None or _tag_of(entry))
    names = sorted({_tag_of(entry) for entry in entries if _tag_of(entry)})
    if tag is not None:
        wanted = {tag, _full_name(tag) or tag}
        chosen = [entry for entry in entries if entry.annotations.get(REF_NAME) == tag] or [
            entry for entry in entries if entry.annotations.get(IMAGE_NAME) in wanted
        ]
        if not chosen:
            raise NotFoundError(f"image '{name}' does not exist", hint=f"the layout holds {_listed(names)}")
        return chosen[-1]
    if not entries:
        raise NotFoundError(f"OCI layout '{name}' holds no image")
    unnamed = [entry for entry in entries if not _tag_of(entry)]
    for group in (entries, unnamed):
        if len({entry.digest for entry in group}) == 1:
            return group[-1]
    if len(unnamed) == len(entries) and all(entry.platform is not None for entry in entries):
        return None
    raise UsageError(f"OCI layout '{name}' holds several images", hint=f"add one of the tags: {_listed(names)}")


def _tag_of(entry: Descriptor) -> str:
    return entry.annotations.get(REF_NAME) or entry.annotations.get(IMAGE_NAME) or ""


def _listed(names: list[str]) -> str:
    shown = [name[:128] for name in names[:20]]
    return ", ".join(shown) + (f" and {len(names) - 20} more" if len(names) > 20 else "") or "no tags"


def _full_name(tag: str) -> str | None:
    """Return the whole image name that a tag spells, None for a mere tag.

    skopeo keeps whatever follows the folder as the entry's name, a mere tag or a whole image name; containerd takes
    its annotation for a whole name and nothing else.
    """
    if not any(mark in tag for mark in "/:@"):
        return None
    try:
        return str(Reference.parse(tag).tagged)
    except UsageError:
        return None


def _tagged_name(name: str, tag: str) -> str | None:
    """Return the whole name of an image that is called `name`, when `tag` is its tag."""
    full = _full_name(name)
    return full if full is not None and Reference.parse(full).tag == tag else None


def named_entry(descriptor: Descriptor, image: Image | ImageIndex, tag: str | None) -> Descriptor:
    """Return the descriptor for a layout's index: with the platform of a single image, and its names."""
    annotations = {key: value for key, value in descriptor.annotations.items() if key not in {REF_NAME, IMAGE_NAME}}
    if tag is not None:
        full = _full_name(tag) or _tagged_name(image.name, tag)
        annotations |= ({IMAGE_NAME: full} if full else {}) | {REF_NAME: tag}
    platform = image.platform if isinstance(image, Image) else None
    return replace(descriptor, annotations=MappingProxyType(annotations), platform=platform)


def with_entry(index: Index, entry: Descriptor) -> Index:
    """Return `index` with `entry` in the place of those of the same name (without a name: of the unnamed ones)."""
    kept = [item for item in _raw_entries(index) if not _replaced(Descriptor.from_json(item), entry)]
    return index.evolve(manifests=[*kept, entry.to_json()])


def _replaced(old: Descriptor, new: Descriptor) -> bool:
    return _tag_of(old) == _tag_of(new) and (bool(_tag_of(old)) or old.artifact_type is None)


def with_artifact(index: Index, entry: Descriptor) -> Index:
    """Return `index` with the entry of an artifact, which has no name, beside all that is there."""
    kept = [item for item in _raw_entries(index) if Descriptor.from_json(item).digest != entry.digest]
    return index.evolve(manifests=[*kept, entry.to_json()])


def _raw_entries(index: Index) -> Iterable[dict[str, object]]:
    entries: Iterable[dict[str, object]] = index.data.get("manifests") or ()
    return entries


__all__ = ["LayoutDestination", "LayoutSource"]
