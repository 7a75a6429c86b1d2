"""Loading an image into an Engine: a docker-archive made while it is sent.

An Engine looks each layer up by its chain (the digest of it and all below it) before it opens the layer's file, so
the files of layers that it has are left out. The name stands in manifest.json: it moves in the same request, after
the image is there.
"""

from __future__ import annotations

import contextlib
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from runtimeimg.errors import RemoteError
from runtimeimg.image import Image, Layer
from runtimeimg.oci import ImageConfig
from runtimeimg.oci.documents import dump_json
from runtimeimg.oci.mediatypes import layer_compression
from runtimeimg.stores.engine import Engine

_CHUNK = 1 << 20
_BLOCK = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is loaded: an image under a name; `present` layers from the base on are not sent.

    `parent` is the config of an image with the same layers and all but the last step of the history, which the Engine
    has and is to keep as this one's parent.
    """

    image: Image
    tag: str
    present: int = 0
    parent: ImageConfig | None = None


def load(engine: Engine, what: Load) -> None:
    """Load the image; RemoteError with the Engine's own words when it refuses."""
    response = engine.call(
        "POST",
        "/images/load",
        params={"quiet": False},
        data=_archive(engine, what),
        headers={"Content-Type": "application/x-tar"},
        patient=True,
    )
    for message in engine.messages(response):
        if error := message.get("error"):
            raise RemoteError(f"engine refused image '{what.tag}': {error}")


def _archive(engine: Engine, what: Load) -> Iterator[bytes]:
    """Yield the archive piece by piece; layers are counted and shown as they go."""
    config, layers = what.image.config, what.image.layers
    names = [f"{layer.diff_id.encoded}.tar" for layer in layers]
    entries: list[dict[str, Any]] = [{"Config": _config_name(config), "RepoTags": [what.tag], "Layers": names}]
    if what.parent is not None:
        entries[0]["Parent"] = what.parent.digest
        entries.insert(0, {"Config": _config_name(what.parent), "RepoTags": [], "Layers": names})
        yield from _file(_config_name(what.parent), what.parent.raw)
    yield from _file(_config_name(config), config.raw)
    yield from _file("manifest.json", dump_json(entries))
    sent: set[str] = set()
    for layer, name in list(zip(layers, names, strict=True))[what.present :]:
        if name not in sent:
            sent.add(name)
            yield from _layer(engine, what, name, layer)
    yield bytes(2 * _BLOCK)


def _config_name(config: ImageConfig) -> str:
    return f"{config.digest.encoded}.json"


def _layer(engine: Engine, what: Load, name: str, layer: Layer) -> Iterator[bytes]:
    progress, key = engine.options.progress, f"load {layer.diff_id}"
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(layer.open())
        size = layer.descriptor.size
        if layer_compression(layer.descriptor.media_type) == "zstd":
            # Engines before 23.0 do not know it, and the header of the entry wants the size beforehand.
            reader, size = _unpacked(stack, reader, engine.options.environ.get("TMPDIR"))
        progress.start(key, f"load {what.tag} {layer.diff_id.short}", size)
        yield _header(name, size)
        moved = 0
        while chunk := reader.read(_CHUNK):
            moved += len(chunk)
            progress.advance(key, len(chunk))
            yield chunk
        if moved != size:
            raise RemoteError(f"layer {layer.diff_id} has {moved} bytes where {size} were promised")
        engine.options.account.add(uploaded_bytes=moved)
        progress.done(key)
        yield bytes(-moved % _BLOCK)


def _unpacked(stack: contextlib.ExitStack, reader: IO[bytes], folder: str | None) -> tuple[IO[bytes], int]:
    import sys

    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    file = stack.enter_context(tempfile.TemporaryFile(dir=folder or None))  # noqa: SIM115 - the stack closes it
    with zstd.open(reader) as plain:
        shutil.copyfileobj(plain, file, _CHUNK)
    while reader.read(_CHUNK):
        pass  # to its end, where the blob's digest is checked
    size = file.tell()
    file.seek(0)
    return file, size


def _file(name: str, data: bytes) -> Iterator[bytes]:
    yield _header(name, len(data))
    yield data
    yield bytes(-len(data) % _BLOCK)


def _header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    entry.mode = 0o644
    return entry.tobuf(tarfile.GNU_FORMAT)
