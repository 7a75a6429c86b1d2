"""Loading into the containerd image store: an OCI layout under a passing name, looked at, and only then named.

Blobs that the Engine seems to have are left out. What came of it is looked at before the name moves: when something
was missing after all, everything is sent.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from runtimeimg.errors import RemoteError
from runtimeimg.image import Image, ImageIndex
from runtimeimg.oci import Digest, Index, Reference
from runtimeimg.oci.documents import dump_json
from runtimeimg.remains import Note
from runtimeimg.stores.contents import Contents, contents
from runtimeimg.stores.engine.connection import Engine, quoted
from runtimeimg.stores.engine.load import BLOCK, file_entry, send, stream_entry
from runtimeimg.stores.engine.saved import blob_name
from runtimeimg.stores.engine.unfinished import remove_image
from runtimeimg.stores.opening import BytesBlob

PASSING = "localhost/runtimeimg-passing"
"""The repository of names that an image has while it is looked at."""


def load_stored(engine: Engine, image: Image | ImageIndex, tag: str, present: frozenset[Digest], note: Note) -> str:
    """Put `image` into the Engine under `tag` and return its ID; `present` are layers that are not sent at first.

    The passing name is noted.

    Raises RemoteError when the Engine does not hold the whole of it afterwards; the name is then where it was.
    """
    what = contents(image)
    for absent in dict.fromkeys((present, frozenset())):
        passing = f"{PASSING}:{uuid.uuid4().hex}"
        note.add(name=passing)
        try:
            send(engine, partial(_layout, engine, what, passing, tag, absent), tag)
            if not _whole(engine, passing, what, told=bool(absent)):
                continue
            repository, _, name = tag.rpartition(":")
            path = f"/images/{quoted(passing)}/tag"
            engine.call("POST", path, params={"repo": repository, "tag": name}).close()
            return str(what.top.descriptor.digest)
        except RemoteError:
            if not absent:
                raise
        finally:
            remove_image(engine, passing, force=True)
    raise RemoteError(f"engine does not hold the whole of image '{tag}' after it was sent")


def _whole(engine: Engine, name: str, what: Contents, *, told: bool) -> bool:
    """Tell whether the Engine holds all of the image; where blobs were left out, by its own word for each manifest."""
    found: dict[str, Any] = engine.get(f"/images/{quoted(name)}/json", manifests=True)
    if found.get("Id") != what.top.descriptor.digest:
        return False
    manifests = found.get("Manifests") or []
    if not told and not manifests:
        return True
    wanted = {str(child.descriptor.digest) for child in what.children} or {str(what.top.descriptor.digest)}
    available = {str(one.get("ID")) for one in manifests if one.get("Available")}
    nested = {str(child.descriptor.digest) for child in what.children if "index" in child.descriptor.media_type}
    return wanted - nested <= available


def _layout(engine: Engine, what: Contents, name: str, shown: str, absent: frozenset[Digest]) -> Iterator[bytes]:
    """Yield an OCI layout (image-layout.md), documents first, without the blobs in `absent`."""
    full = Reference.parse(name)
    annotations = {"io.containerd.image.name": str(full), "org.opencontainers.image.ref.name": full.tag or ""}
    top = replace(what.top.descriptor, annotations={**what.top.descriptor.annotations, **annotations})
    yield from file_entry("oci-layout", dump_json({"imageLayoutVersion": "1.0.0"}))
    yield from file_entry("index.json", Index.of([top]).raw)
    for document in (what.top, *what.children):
        yield from file_entry(blob_name(document.descriptor.digest), document.raw)
    for blob in what.blobs:
        if blob.descriptor.digest in absent:
            continue
        if isinstance(blob, BytesBlob):
            yield from file_entry(blob_name(blob.descriptor.digest), blob.raw)
            continue
        with blob.open() as reader:
            digest, size = blob.descriptor.digest, blob.descriptor.size
            yield from stream_entry(engine, blob_name(digest), reader, size, f"load {shown} {digest.short}")
    yield bytes(2 * BLOCK)
