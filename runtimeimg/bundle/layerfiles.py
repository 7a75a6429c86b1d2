"""Files of an image that is not unpacked, by the tables of its layers; contents are read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from runtimeimg.account import Account
from runtimeimg.cache import Cache
from runtimeimg.compose.layers import LayerRef
from runtimeimg.compose.merge import merge
from runtimeimg.compose.nodes import BASE, Name
from runtimeimg.compose.reading import Reader
from runtimeimg.compose.sources import covering
from runtimeimg.compose.tree import EndlessLinksError
from runtimeimg.compose.wanted import Wanted
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image import Image
from runtimeimg.image.layertar import FILE
from runtimeimg.unpack import Found


class LayerFiles:
    """Files of merged layers; the layers are read with the first question, each once."""

    def __init__(self, image: Image, reader: Reader) -> None:
        self._reader = reader
        self._refs = [LayerRef.of(layer, image.name) for layer in image.layers]
        self._wanted = Wanted()
        self._loaded = False

    def lookup(self, path: str | bytes, *, follow: bool = False) -> Found | None:
        """Tell what is at a path; a link that is its last component is only followed if asked."""
        name = path.encode("utf-8", "surrogateescape") if isinstance(path, str) else path
        where, node = self._resolve(name, follow=follow)
        if node is None:
            return None
        found = node.inode.attributes
        uid, gid = node.owner or (found.uid, found.gid)
        return Found(
            path=where,
            kind=found.kind,
            mode=found.mode & 0o7777,
            uid=uid,
            gid=gid,
            size=node.inode.size,
            device=found.device,
            target=found.target,
        )

    def read(self, path: str | bytes, limit: int) -> bytes | None:
        """Return the bytes of a file of at most `limit` bytes, None where there is none."""
        name = path.encode("utf-8", "surrogateescape") if isinstance(path, str) else path
        _, node = self._resolve(name, follow=True)
        if node is None:
            return None
        shown = name.decode("utf-8", "replace")
        if node.inode.kind != FILE:
            raise InvalidDocumentError(f"'{shown}' of the image is not a regular file")
        if node.inode.size > limit:
            raise InvalidDocumentError(f"'{shown}' of the image is larger than {limit} bytes")
        place = node.inode.place
        if place is None or not node.inode.size:
            return b""
        ref = self._refs[place.layer]
        self._reader.fetch({ref.key: [place.entry]}, {ref.key: ref})
        return b"".join(self._reader.pieces(ref.key, place.entry, node.inode.size))

    def _resolve(self, path: bytes, *, follow: bool) -> tuple[bytes, Name | None]:
        if not self._loaded:
            self._reader.load(self._refs, {})
            self._loaded = True
        tables = [self._reader.tocs[ref.key] for ref in self._refs]
        try:
            return covering(self._wanted, lambda: merge(tables, self._wanted, BASE).resolve(path, last=follow))
        except NotADirectoryError:
            return path, None
        except EndlessLinksError:
            raise InvalidDocumentError(f"'{path.decode('utf-8', 'replace')}' goes through too many links") from None


@contextmanager
def opened(image: Image, cache: Cache | None = None, account: Account | None = None) -> Iterator[LayerFiles]:
    """Return a context whose value is the files of an image."""
    with Reader(cache=cache, account=account or Account()) as reader:
        yield LayerFiles(image, reader)
