"""The least that composing can cost: reading, unpacking and hashing what may hold files, and writing the new layer."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
import urllib.request
from typing import Any

import deflate
from isal import isal_zlib

CHUNK = 1 << 20
LAYER_LEVEL = 1


def get(registry: str, path: str) -> bytes:
    """Fetch a document or blob."""
    request = urllib.request.Request(f"http://{registry}/v2/{path}")
    request.add_header("Accept", "application/vnd.docker.distribution.manifest.v2+json")
    with urllib.request.urlopen(request) as response:
        return bytes(response.read())


def manifest(registry: str, repository: str, tag: str) -> dict[str, Any]:
    """Fetch the manifest of an image."""
    document: dict[str, Any] = json.loads(get(registry, f"{repository}/manifests/{tag}"))
    return document


def floor(registry: str, repository: str, tag: str) -> float:
    """Seconds of one core to gunzip and hash every layer of the builder, and to hash and compress the new layer.

    The blobs are in memory before the clock starts: neither network nor disk counts.
    """
    layers = manifest(registry, repository, tag)["layers"]
    blobs = [get(registry, f"{repository}/blobs/{layer['digest']}") for layer in layers]
    output = wanted(blobs)
    began = time.process_time()
    for blob in blobs:
        hashlib.sha256(blob).digest()
        unpack = isal_zlib.decompressobj(wbits=31)
        for at in range(0, len(blob), CHUNK):
            unpack.decompress(blob[at : at + CHUNK])
    hashlib.sha256(output).digest()
    packed = hashlib.sha256()
    for at in range(0, len(output), CHUNK):
        packed.update(deflate.gzip_compress(output[at : at + CHUNK], LAYER_LEVEL))
    return time.process_time() - began


def wanted(blobs: list[bytes]) -> bytes:
    """The new layer's tar: everything below /app of all layers (the benchmark's layers delete nothing there)."""
    result = io.BytesIO()
    with tarfile.open(fileobj=result, mode="w") as out:
        for blob in blobs:
            with tarfile.open(fileobj=io.BytesIO(blob), mode="r:gz") as layer:
                for member in layer:
                    if member.name == "app" or member.name.startswith("app/"):
                        out.addfile(member, layer.extractfile(member) if member.isreg() else None)
    return result.getvalue()
