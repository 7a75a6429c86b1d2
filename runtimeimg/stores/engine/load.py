"""Loading an image into an Engine: an archive made while it is sent.

With its own store an Engine looks each layer up by its chain (the digest of it and all below it) before it opens the
layer's file, so the files of layers that it has are left out of a docker-archive. The name stands in manifest.json: it
moves in the same request, after the image is there. With the containerd image store it is an OCI layout that is sent,
and blobs that are there already may be missing in it; whether they were there is seen afterwards (`loadstored`).
"""

from __future__ import annotations

import contextlib
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from runtimeimg.errors import RemoteError
from runtimeimg.hostfile import explained
from runtimeimg.image import Image, Layer
from runtimeimg.image.decompress import Unfolded, raw_pieces
from runtimeimg.oci import ImageConfig, Reference
from runtimeimg.oci.documents import dump_json
from runtimeimg.oci.mediatypes import layer_compression
from runtimeimg.stores.engine import Engine
from runtimeimg.stores.verify import once_more

if TYPE_CHECKING:
    from requests import Response

_CHUNK = 1 << 20
BLOCK = 512


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
    send(engine, lambda: _archive(engine, what), what.tag)


def send(engine: Engine, archive: Callable[[], Iterator[bytes]], name: str) -> None:
    """Send an archive of the image called `name`, made by `archive`, and wait until the Engine took it.

    What was sent cannot be taken back: when a blob turns out to be damaged at its end, the archive is sent anew.
    """

    def begin() -> Response:
        return engine.call(
            "POST",
            "/images/load",
            params={"quiet": False},
            data=archive(),
            headers={"Content-Type": "application/x-tar"},
            patient=True,
        )

    for message in engine.messages(once_more(begin)):
        if error := message.get("error"):
            raise RemoteError(f"engine refused image '{name}': {error}")


def _archive(engine: Engine, what: Load) -> Iterator[bytes]:
    """Yield the archive piece by piece; layers are counted and shown as they go."""
    config, layers = what.image.config, what.image.layers
    names = [f"{layer.diff_id.encoded}.tar" for layer in layers]
    # Written in full, or podman takes a short name for one of its own making (localhost/...).
    entries: list[dict[str, Any]] = [
        {"Config": _config_name(config), "RepoTags": [str(Reference.parse(what.tag))], "Layers": names}
    ]
    if what.parent is not None:
        entries[0]["Parent"] = what.parent.digest
        entries.insert(0, {"Config": _config_name(what.parent), "RepoTags": [], "Layers": names})
        yield from file_entry(_config_name(what.parent), what.parent.raw)
    yield from file_entry(_config_name(config), config.raw)
    yield from file_entry("manifest.json", dump_json(entries))
    sent: set[str] = set()
    for layer, name in list(zip(layers, names, strict=True))[what.present :]:
        if name not in sent:
            sent.add(name)
            yield from _layer(engine, what, name, layer)
    yield bytes(2 * BLOCK)


def _config_name(config: ImageConfig) -> str:
    return f"{config.digest.encoded}.json"


def _layer(engine: Engine, what: Load, name: str, layer: Layer) -> Iterator[bytes]:
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(layer.open())
        size = layer.descriptor.size
        if layer_compression(layer.descriptor.media_type) == "zstd":
            # Engines before 23.0 do not know it, and the header of the entry wants the size beforehand.
            what_it_is = f"layer {layer.descriptor.digest} of '{what.image.name}'"
            reader, size = _unpacked(stack, reader, what_it_is, engine.options.environ.get("TMPDIR"))
        shown = f"load {what.tag} {layer.diff_id.short}"
        yield from stream_entry(engine, name, reader, size, shown)


def stream_entry(engine: Engine, name: str, reader: IO[bytes], size: int, shown: str) -> Iterator[bytes]:
    """Yield a large file of an archive as it is read, counted and shown as `shown`."""
    progress, key = engine.options.progress, f"load {name}"
    progress.start(key, shown, size)
    yield header(name, size)
    moved = 0
    while chunk := reader.read(_CHUNK):
        moved += len(chunk)
        progress.advance(key, len(chunk))
        yield chunk
    if moved != size:
        raise RemoteError(f"{shown}: it has {moved} bytes where {size} were promised")
    engine.options.account.add(uploaded_bytes=moved)
    progress.done(key)
    yield bytes(-moved % BLOCK)


def _unpacked(stack: contextlib.ExitStack, reader: IO[bytes], name: str, folder: str | None) -> tuple[IO[bytes], int]:
    with explained(Path(folder or tempfile.gettempdir())):
        file = stack.enter_context(tempfile.TemporaryFile(dir=folder or None))  # noqa: SIM115 - the stack closes it
        for piece in Unfolded(raw_pieces(reader), name):
            file.write(piece)
    size = file.tell()
    file.seek(0)
    return file, size


def file_entry(name: str, data: bytes) -> Iterator[bytes]:
    """Yield a small file of an archive."""
    yield header(name, len(data))
    yield data
    yield bytes(-len(data) % BLOCK)


def header(name: str, size: int) -> bytes:
    """Return the header of an archive's file."""
    entry = tarfile.TarInfo(name)
    entry.size = size
    entry.mode = 0o644
    return entry.tobuf(tarfile.GNU_FORMAT)
