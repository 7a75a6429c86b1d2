"""Indexes of layers that are kept beside the builder image, so that a first build need not read its layers whole.

They are an artifact that refers to the image's manifest. Nothing in the manifest names it, so whoever may write to
the repository has to be believed, even where the image is asked for by digest: docs/decisions/0010 says what a hostile
one can do. Hence nobody's index is read unless that is asked for, and what comes of one is kept in the cache under keys
of its own, which no other build looks at.
"""

from __future__ import annotations

from dataclasses import replace

from runtimeimg.cache import Cache
from runtimeimg.compose import sparse
from runtimeimg.compose.layers import IndexedLayer, salted
from runtimeimg.errors import InvalidDocumentError, NotFoundError, RemoteError, TransientError
from runtimeimg.image import Image
from runtimeimg.image.sharing import decode, encode
from runtimeimg.image.spans import Spans
from runtimeimg.image.toc import Toc
from runtimeimg.oci import Digest, Location
from runtimeimg.stores import StoreOptions
from runtimeimg.stores.artifacts import Artifacts, artifacts_of, blob

ARTIFACT_TYPE = "application/vnd.runtimeimg.layer-indexes.v2"
MAX_BYTES = 64 << 20
"""Bytes of the file that is read."""
_MAX_TRIED = 4
_WHAT = "layer index"
_FAILURES = (InvalidDocumentError, NotFoundError, RemoteError, TransientError)


def indexed(image: Image, location: Location, cache: Cache, options: StoreOptions) -> Image:
    """Return an image whose layers are read by an index beside it, as far as there is one and they are not known here.

    One that cannot be had, or that makes no sense, is as none; that is said.
    """
    wanted = [digest for digest in _worth_it(image) if not cache.has("spans", digest.encoded)]
    if image.manifest is None or not wanted or not _is_remote(location):
        return image
    try:
        kept = artifacts_of(location, options, _WHAT)
        there = _there(kept, image)[:_MAX_TRIED]
        if _kept_index(image, cache) not in there:
            index = next((index for index in there if _take(kept, index, wanted, cache)), None)
            if index is None:
                return image
            cache.put("shared", image.manifest.digest.encoded, str(index).encode())
        return known(image, image, cache)
    except _FAILURES as error:
        options.progress.line(f"note: no index beside '{location}' is used: {error.message}")
    return image


def known(image: Image, builder: Image, cache: Cache) -> Image:
    """Return an image whose layers are read by the index beside a builder image that `indexed` has used."""
    index = _kept_index(builder, cache)
    if index is None:
        return image
    layers = tuple(
        IndexedLayer(layer=layer, index=index) if cache.has("spans", salted(digest, index).encoded) else layer
        for layer in image.layers
        for digest in (layer.descriptor.digest,)
    )
    return replace(image, layers=layers)


def share(image: Image, location: Location, cache: Cache, options: StoreOptions) -> None:
    """Keep an index of an image's layers beside it, unless there is one; say so when that is not allowed.

    Only of layers that this machine has read whole, and so verified.
    """
    if image.manifest is None or not _is_remote(location):
        options.progress.line(f"note: '{location}' is in no registry, and nothing is kept beside it")
        return
    found: dict[Digest, tuple[Toc, Spans]] = {}
    for digest in _worth_it(image):
        table, index = cache.get("toc", digest.encoded), cache.get("spans", digest.encoded)
        toc = Toc.from_bytes(table) if table is not None else None
        spans = Spans.from_bytes(index) if index is not None else None
        if toc is None:
            return  # it was not read here
        if spans is not None and len(spans.marks) > 1:
            found[digest] = (toc, spans)
    if not found:
        return
    try:
        kept = artifacts_of(location, options, _WHAT)
        if not _there(kept, image):
            kept.attach(ARTIFACT_TYPE, [blob(encode(found), ARTIFACT_TYPE)], image.manifest.descriptor, {})
    except _FAILURES as error:
        options.progress.line(f"note: the index of '{location}' is not shared: {error.message}")


def _take(kept: Artifacts, index: Digest, wanted: list[Digest], cache: Cache) -> bool:
    """Put what an index says of wanted layers into the cache; tell whether it says anything of them."""
    found = decode(kept.files(index, MAX_BYTES).get(ARTIFACT_TYPE, b""), f"{_WHAT} {index}")
    several = [digest for digest in wanted if digest in found]
    for digest in several:
        toc, spans = found[digest]
        key = salted(digest, index).encoded
        cache.put("toc", key, toc.to_bytes())
        cache.put("spans", key, spans.to_bytes())
    return bool(several)


def _kept_index(builder: Image, cache: Cache) -> Digest | None:
    """Return the index that was taken for an image, where the cache has what it says of at least one layer."""
    data = cache.get("shared", builder.manifest.digest.encoded) if builder.manifest is not None else None
    index = Digest.parse(data.decode()) if data is not None else None
    if index is None or not any(cache.has("spans", salted(digest, index).encoded) for digest in _worth_it(builder)):
        return None
    return index


def _there(kept: Artifacts, image: Image) -> list[Digest]:
    """Return the indexes beside an image, always in the same order."""
    assert image.manifest is not None
    return sorted((item.digest for item in kept.of_type(image.manifest.digest, ARTIFACT_TYPE)), key=str)


def _worth_it(image: Image) -> list[Digest]:
    """Return the digests of the layers that are large enough for an index, each once."""
    large = [layer.descriptor for layer in image.layers if layer.descriptor.size > sparse.LEAST_INDEXED]
    return list(dict.fromkeys(descriptor.digest for descriptor in large))


def _is_remote(location: Location) -> bool:
    return location.reference is not None and location.transport in {None, "docker"}
