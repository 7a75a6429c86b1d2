"""Archives of `docker save`: `manifest.json`, configs and layers (docker's image specification 1.2).

Their layers are named by diff id alone. An uncompressed layer, the usual kind, is its own diff id; of a compressed one
the digest and size are found by reading it once, and its diff id is checked on the way.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Iterable
from typing import IO, Any, cast

from runtimeimg.errors import IntegrityError, InvalidDocumentError, NotFoundError, UsageError
from runtimeimg.image import Image, Origin
from runtimeimg.oci import Descriptor, Digest, ImageConfig, Reference
from runtimeimg.oci.mediatypes import OCI_CONFIG, oci_layer
from runtimeimg.stores.opening import MAX_ENTRIES, MAX_LAYERS
from runtimeimg.stores.tarindex import Member, TarIndex
from runtimeimg.stores.verify import CHUNK, verified

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"


def open_docker_archive(index: TarIndex, name: str | None, shown: str) -> Image:
    """Return the image of a name, or without one the only image."""
    entry = _choose(_entries(index), name, shown)
    config_name, layer_names = entry.get("Config"), entry.get("Layers") or []
    if not isinstance(config_name, str) or not isinstance(layer_names, list) or len(layer_names) > MAX_LAYERS:
        raise InvalidDocumentError(f"image '{shown}': its entry in manifest.json has no config or too many layers")
    config = ImageConfig(index.read(config_name), OCI_CONFIG)
    diff_ids = config.diff_ids
    if len(diff_ids) != len(layer_names):
        raise InvalidDocumentError(
            f"image '{shown}': its config names {len(diff_ids)} layers, manifest.json {len(layer_names)}"
        )
    layers = tuple(_layer(index, layer, diff_id, shown) for layer, diff_id in zip(layer_names, diff_ids, strict=True))
    return Image(config=config, layers=layers, name=shown)


class ArchiveLayer:
    """A layer of a docker-archive."""

    def __init__(self, index: TarIndex, member: Member, diff_id: Digest, compression: str) -> None:
        self._index = index
        self._member = member
        self._compression = compression
        self._lock = threading.Lock()
        self._descriptor: Descriptor | None = None
        self.diff_id = diff_id

    @property
    def origin(self) -> Origin | None:
        """Tell nothing: a part of a file is no place that others could use."""
        return None

    @property
    def descriptor(self) -> Descriptor:
        """The blob as it lies in the archive; a compressed one is read for it, once."""
        with self._lock:
            if self._descriptor is None:
                plain = self._compression == "none"
                self._descriptor = Descriptor(
                    media_type=oci_layer(self._compression),
                    digest=self.diff_id if plain else self._measure(),
                    size=self._member.size,
                )
            return self._descriptor

    def open(self) -> IO[bytes]:
        """Return a verified reader of the blob."""
        descriptor = self.descriptor
        what = f"layer {self.diff_id} in '{self._index.path}'"
        return verified(self._index.open(self._member), descriptor, what)

    def _measure(self) -> Digest:
        """Return the digest of a compressed layer, having checked that it unpacks to its diff id."""
        stored = hashlib.sha256()
        unpacked = hashlib.new(self.diff_id.algorithm, usedforsecurity=False)
        with self._index.open(self._member) as file:
            while chunk := file.read(CHUNK):
                stored.update(chunk)
        with self._index.open(self._member) as file:
            for chunk in _unpack(file, self._compression, str(self._index.path)):
                unpacked.update(chunk)
        found = f"{self.diff_id.algorithm}:{unpacked.hexdigest()}"
        if found != self.diff_id:
            raise IntegrityError(f"layer in '{self._index.path}' unpacks to {found}, not to {self.diff_id}")
        return Digest(f"sha256:{stored.hexdigest()}")


def _unpack(file: IO[bytes], compression: str, where: str) -> Iterable[bytes]:
    if compression == "gzip":
        from isal import igzip, igzip_lib

        reader: IO[bytes] = cast("IO[bytes]", igzip.IGzipFile(fileobj=file))  # type: ignore[no-untyped-call]
        errors: tuple[type[Exception], ...] = (EOFError, OSError, igzip_lib.IsalError)
    else:
        if sys.version_info >= (3, 14):
            from compression import zstd  # type: ignore[import-not-found,unused-ignore]
        else:
            from backports import zstd
        reader = cast("IO[bytes]", zstd.ZstdFile(file))
        errors = (EOFError, zstd.ZstdError)
    try:
        while chunk := reader.read(CHUNK):
            yield chunk
    except errors as error:
        raise IntegrityError(f"a layer in '{where}' cannot be unpacked: {error}") from error
    finally:
        reader.close()


def _entries(index: TarIndex) -> list[dict[str, Any]]:
    try:
        data = json.loads(index.read("manifest.json"))
    except (ValueError, RecursionError):
        raise InvalidDocumentError(f"archive '{index.path}': manifest.json is not valid JSON") from None
    if not isinstance(data, list) or len(data) > MAX_ENTRIES or not all(isinstance(item, dict) for item in data):
        raise InvalidDocumentError(f"archive '{index.path}': manifest.json is not a list of images")
    return data


def _choose(entries: list[dict[str, Any]], name: str | None, shown: str) -> dict[str, Any]:
    tags = [
        [tag for tag in entry.get("RepoTags") or [] if isinstance(tag, str)]
        if isinstance(entry.get("RepoTags") or [], list)
        else []
        for entry in entries
    ]
    listed = ", ".join(tag[:128] for group in tags[:20] for tag in group[:5]) or "no names"
    if name is None:
        if len(entries) == 1:
            return entries[0]
        if not entries:
            raise NotFoundError(f"archive '{shown}' holds no image")
        raise UsageError(f"archive '{shown}' holds several images", hint=f"add one of the names: {listed}")
    wanted = Reference.parse(name).tagged.familiar
    for entry, group in zip(entries, tags, strict=True):
        if wanted in group or name in group:
            return entry
    raise NotFoundError(f"image '{shown}' does not exist", hint=f"the archive holds {listed}")


def _layer(index: TarIndex, name: object, diff_id: Digest, shown: str) -> ArchiveLayer:
    member = index.find(name) if isinstance(name, str) else None
    if member is None:
        raise NotFoundError(f"image '{shown}': the archive has no layer {str(name)[:200]!r}")
    with index.open(member) as file:
        begin = file.read(4)
    compression = "gzip" if begin.startswith(_GZIP) else "zstd" if begin == _ZSTD else "none"
    return ArchiveLayer(index, member, diff_id, compression)
