"""Layouts of layers whatever their bytes are."""

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

from runtimeimg.oci import Digest

OCI = "application/vnd.oci.image"


def unfolded(layer: bytes) -> Digest:
    """The diff id of a layer, of one that is broken that of its blob."""
    summed = hashlib.sha256()
    try:
        with gzip.open(io.BytesIO(layer)) as archive:
            while piece := archive.read(1 << 20):
                summed.update(piece)
    except (OSError, EOFError, zlib.error):
        return Digest.of(layer)
    return Digest(f"sha256:{summed.hexdigest()}")


def write_blobs(target: Path, layers: Sequence[bytes]) -> None:
    """Write a layout of one image, named `1`."""
    blobs = target / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"{OCI}.{media_type}", "digest": f"sha256:{digest}", "size": len(data)}

    kinds = {b"\x1f\x8b": "layer.v1.tar+gzip", b"\x28\xb5": "layer.v1.tar+zstd"}
    described = [put(layer, kinds.get(layer[:2], "layer.v1.tar")) for layer in layers]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [unfolded(layer) for layer in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": put(json.dumps(config).encode(), "config.v1+json"),
        "layers": described,
    }
    entry = put(json.dumps(manifest).encode(), "manifest.v1+json")
    named = {**entry, "annotations": {"org.opencontainers.image.ref.name": "1"}}
    (target / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (target / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
