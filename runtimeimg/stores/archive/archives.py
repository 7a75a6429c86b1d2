"""Archives: `oci-archive:FILE[:TAG]`, a layout in one tar, and `docker-archive:FILE[:NAME]`, as docker save makes it.

What is written as docker-archive is both at once: an OCI layout and the `manifest.json` that `docker load` reads. Tar
headers hold nothing of the machine or the moment: the same image gives the same archive.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from runtimeimg.errors import InvalidDocumentError, NotFoundError, UsageError
from runtimeimg.image import Image, ImageIndex, Origin, choose_platform
from runtimeimg.oci import Descriptor, Index, Location, Reference
from runtimeimg.oci.documents import dump_json
from runtimeimg.stores.archive.docker import loadable, open_docker_archive
from runtimeimg.stores.archive.index import TarIndex
from runtimeimg.stores.base import StoreOptions, Written, unasked
from runtimeimg.stores.contents import Blob, Contents, contents
from runtimeimg.stores.files import atomic_file, require_folder
from runtimeimg.stores.layout import files, named_entry, open_entry, parse_index
from runtimeimg.stores.missing import elsewhere
from runtimeimg.stores.verify import CHUNK, once_more, verified

if TYPE_CHECKING:
    from runtimeimg.stores.files import AtomicFile

_BLOCK = 512
_MARKER = "manifest.json"


class ArchiveSource:
    """An image or index of an archive; either transport reads what there is, the OCI layout where it is both."""

    def __init__(self, location: Location, options: StoreOptions) -> None:
        assert location.path is not None
        self._location = location
        self._options = options
        self._path = Path(location.path)
        self.name = str(location)

    def open(self) -> Image | ImageIndex:
        """Return what the tag names, or without one the only image; documents are read and verified."""
        index = TarIndex(self._path)
        tag = self._location.tag
        if index.find(files.MARKER) is None or index.find(files.INDEX) is None:
            if index.find(_MARKER) is None:
                raise InvalidDocumentError(f"archive '{self._path}' holds no image")
            return open_docker_archive(index, tag, self.name)
        if tag is not None and self._location.transport == "docker-archive":
            tag = str(Reference.parse(tag).tagged)
        files.check_marker(index.read(files.MARKER), f"{self._path}:{files.MARKER}")
        layout = parse_index(index.read(files.INDEX), f"{self._path}:{files.INDEX}")
        return open_entry(layout, tag, ArchiveBlobs(index, self.name), self._options.max_top)


class ArchiveBlobs:
    """The blobs of a layout within a tar."""

    def __init__(self, index: TarIndex, name: str) -> None:
        self._index = index
        self.name = name

    def open_blob(self, descriptor: Descriptor) -> IO[bytes]:
        """Return a verified reader of a blob."""
        member = self._index.find(files.blob_name(descriptor.digest))
        if member is None:
            raise NotFoundError(
                f"image '{self.name}': the archive has no blob {descriptor.digest}", hint=elsewhere(descriptor)
            )
        return verified(self._index.open(member), descriptor, f"blob {descriptor.digest} in '{self._index.path}'")

    open_manifest = open_blob

    def origin(self, descriptor: Descriptor) -> Origin | None:  # noqa: ARG002 - no blob is a file of its own
        """Tell nothing: a part of a file is no place that others could use."""
        return None


class ArchiveDestination:
    """An archive that is written whole, in the place of what is there."""

    def __init__(self, location: Location, options: StoreOptions) -> None:
        assert location.path is not None
        self._location = location
        self._options = options
        self._path = Path(location.path)
        self.name = str(location)
        self._docker = location.transport == "docker-archive"
        self._tags = _repo_tags(location.tag) if self._docker else ()

    def check(self) -> None:
        """Ask for the folder of the file."""
        require_folder(self._path, f"archive '{self._path}'")

    def write(self, image: Image | ImageIndex, confirm: Callable[[], None] = unasked) -> Written:
        """Write the archive beside its place, then put it there.

        An index goes whole into an oci-archive; of one that goes into a docker-archive, which has no such thing, the
        image for this machine is taken, its zstd layers unpacked.
        """
        if not self._docker:
            return self._write(image, confirm)
        with loadable(choose_platform(image, None), self._options.environ.get("TMPDIR")) as plain:
            return self._write(plain, confirm)

    def _write(self, image: Image | ImageIndex, confirm: Callable[[], None]) -> Written:
        parts = contents(image)
        with atomic_file(self._path) as pending:
            for name, item in _files(parts, image, self._location.tag, self._tags if self._docker else None):
                if isinstance(item, bytes):
                    _write_header(pending.file, name, len(item))
                    pending.file.write(item + _padding(len(item)))
                else:
                    self._write_blob(pending, name, item)
            # Two empty blocks end an archive; tar programs want it to be of whole records as well.
            pending.file.write(bytes(2 * _BLOCK))
            pending.file.write(bytes(-pending.file.tell() % tarfile.RECORDSIZE))
            confirm()
            pending.commit()
        return Written(name=self.name, descriptor=parts.top.descriptor)

    def _write_blob(self, pending: AtomicFile, name: str, blob: Blob) -> None:
        descriptor, progress = blob.descriptor, self._options.progress
        key = f"write {descriptor.digest}"
        _write_header(pending.file, name, descriptor.size)
        begin = pending.file.tell()

        def copy() -> None:
            progress.start(key, f"write {self.name} {descriptor.digest.short}", descriptor.size)
            with blob.open() as reader:
                while chunk := reader.read(CHUNK):
                    pending.file.write(chunk)
                    progress.advance(key, len(chunk))

        once_more(copy, lambda: pending.cut(begin))
        pending.file.write(_padding(descriptor.size))
        progress.done(key)


def _files(
    parts: Contents, image: Image | ImageIndex, tag: str | None, repo_tags: tuple[str, ...] | None
) -> Iterator[tuple[str, bytes | Blob]]:
    """Return the members in order: what says what there is first, then blobs by digest."""
    yield files.MARKER, files.layout_marker()
    name = tag if repo_tags is None else next(iter(repo_tags), None)
    yield files.INDEX, Index.of([named_entry(parts.top.descriptor, image, name)]).raw
    if repo_tags is not None:
        assert isinstance(image, Image)
        yield _MARKER, _docker_manifest(image, repo_tags)
    blobs: list[Blob] = [*parts.blobs, *parts.children, parts.top]
    for blob in sorted(blobs, key=lambda item: item.descriptor.digest):
        yield files.blob_name(blob.descriptor.digest), blob


def _docker_manifest(image: Image, repo_tags: tuple[str, ...]) -> bytes:
    """Return the `manifest.json` of docker's image specification 1.2, its paths those of the layout's blobs."""
    manifest = image.to_manifest()
    entry = {
        "Config": files.blob_name(manifest.config.digest),
        "RepoTags": list(repo_tags),
        "Layers": [files.blob_name(layer.digest) for layer in manifest.layers],
    }
    return dump_json([entry])


def _repo_tags(name: str | None) -> tuple[str, ...]:
    if name is None:
        return ()
    reference = Reference.parse(name)
    if reference.digest is not None:
        raise UsageError(f"name '{name}' in a docker-archive cannot have a digest", hint="name a tag")
    return (reference.tagged.familiar,)


def _write_header(file: IO[bytes], name: str, size: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o644, 0
    file.write(entry.tobuf(tarfile.GNU_FORMAT))


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)
