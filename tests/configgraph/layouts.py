"""OCI layouts made by hand: images of small layers, indexes of several, under tags."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import deflate

MANIFEST, INDEX = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"
LAYER, CONFIG = "application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.config.v1+json"
COMMAND: Mapping[str, Any] = {"Entrypoint": ["/bin/app"], "Env": ["PATH=/bin", "LOG=info"], "WorkingDir": "/srv"}

Files = Mapping[str, str]


class Layout:
    """A layout in a folder, written blob by blob."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        self.names: list[dict[str, Any]] = []
        self._save()

    def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (self.root / "blobs" / "sha256" / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def image(
        self,
        tag: str | None = None,
        *,
        config: Mapping[str, Any] = COMMAND,
        layers: Sequence[Files] = ({"bin/app": "app"},),
        architecture: str = "amd64",
        **platform: Any,
    ) -> dict[str, Any]:
        """Write an image and return its descriptor."""
        made = [layer(files) for files in layers]
        document = {
            "architecture": architecture,
            "os": "linux",
            **platform,
            "config": dict(config),
            "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in made]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob(json.dumps(document).encode(), CONFIG),
            "layers": [self.blob(data, LAYER) for data, _ in made],
        }
        return self._named(self.blob(json.dumps(manifest).encode(), MANIFEST), tag)

    def index(self, tag: str, *entries: tuple[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Write an index of platforms as `linux/arm64` and descriptors of images."""
        listed = []
        for platform, descriptor in entries:
            system, architecture, *variant = platform.split("/")
            told = {"os": system, "architecture": architecture} | ({"variant": variant[0]} if variant else {})
            listed.append({**descriptor, "platform": told})
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}
        return self._named(self.blob(json.dumps(document).encode(), INDEX), tag)

    def _named(self, descriptor: dict[str, Any], tag: str | None) -> dict[str, Any]:
        if tag is not None:
            self.names = [item for item in self.names if item["annotations"][NAME] != tag]
            self.names.append({**descriptor, "annotations": {NAME: tag}})
            self._save()
        return descriptor

    def _save(self) -> None:
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self.names}
        (self.root / "index.json").write_text(json.dumps(index))


NAME = "org.opencontainers.image.ref.name"


def layer(files: Files) -> tuple[bytes, str]:
    """Return a packed layer of files and its diff id, of the same bytes with every Python."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o755
            tar.addfile(entry, io.BytesIO(text.encode()))
    data = out.getvalue()
    return deflate.gzip_compress(data), f"sha256:{hashlib.sha256(data).hexdigest()}"
