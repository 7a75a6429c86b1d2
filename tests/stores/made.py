"""Small images made by hand, the same every time, and what tests ask of stores."""

import base64
import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtimeimg.image import Image, ImageIndex, choose_platform
from runtimeimg.oci import Descriptor, Digest, ImageConfig, Index, Location, Manifest, Platform
from runtimeimg.oci.mediatypes import OCI_LAYER
from runtimeimg.progress import Silent
from runtimeimg.stores import StoreOptions, Written, open_destination, open_image
from runtimeimg.stores.opening import BytesBlob
from runtimeimg.stores.registry.failures import Timing


@dataclass(frozen=True, kw_only=True)
class MadeLayer(BytesBlob):
    """A layer in memory."""

    diff_id: Digest


def layer(seed: int, size: int = 5000, *, compressed: bool = True) -> MadeLayer:
    """Return a layer that holds one file of `size` bytes that do not compress."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        entry = tarfile.TarInfo(f"file{seed}")
        entry.size = size
        archive.addfile(entry, io.BytesIO(random.Random(seed).randbytes(size)))
    tar = buffer.getvalue()
    raw = gzip.compress(tar, 1, mtime=0) if compressed else tar
    descriptor = Descriptor(
        media_type=OCI_LAYER + ("+gzip" if compressed else ""), digest=Digest.of(raw), size=len(raw)
    )
    return MadeLayer(descriptor=descriptor, raw=raw, diff_id=Digest.of(tar))


def image(seed: int = 1, size: int = 5000, layers: int = 2, *, arch: str = "amd64", compressed: bool = True) -> Image:
    """Return an image whose layers differ by `seed`."""
    made = tuple(layer(seed * 100 + number, size, compressed=compressed) for number in range(layers))
    config = ImageConfig.from_json(
        {
            "architecture": arch,
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Labels": {"seed": str(seed)}},
            "rootfs": {"type": "layers", "diff_ids": [item.diff_id for item in made]},
            "history": [{"created_by": f"layer {number}"} for number in range(layers)],
        }
    )
    return Image(config=config, layers=made, name=f"made {seed}")


def attestation() -> Image:
    """Return what BuildKit puts beside an image: a manifest with a config and a layer that is no file system."""
    raw = b'{"predicate": {}}'
    blob = MadeLayer(
        descriptor=Descriptor(media_type="application/vnd.in-toto+json", digest=Digest.of(raw), size=len(raw)),
        raw=raw,
        diff_id=Digest.of(raw),
    )
    config = ImageConfig.from_json(
        {"architecture": "unknown", "os": "unknown", "rootfs": {"type": "layers", "diff_ids": [Digest.of(raw)]}}
    )
    manifest = Manifest.of(config=config.descriptor, layers=[blob.descriptor])
    return Image(config=config, layers=(blob,), manifest=manifest, name="attestation")


def index(*images: Image, attested: bool = True) -> ImageIndex:
    """Return an index of images, with an attestation of the first."""
    children = {item.to_manifest().digest: item for item in images}
    entries = []
    for item in images:
        manifest = item.to_manifest()
        entries.append(_entry(manifest, item.platform))
    if attested:
        proof = attestation()
        manifest = proof.to_manifest()
        children[manifest.digest] = proof
        entries.append(
            _entry(
                manifest,
                Platform(os="unknown", architecture="unknown"),
                {"vnd.docker.reference.type": "attestation-manifest"},
            )
        )
    return ImageIndex(index=Index.of(entries), open_manifest=lambda entry: children[entry.digest], name="made index")


def _entry(manifest: Manifest, platform: Platform, annotations: dict[str, str] | None = None) -> Descriptor:
    return Descriptor(
        media_type=manifest.media_type,
        digest=manifest.digest,
        size=len(manifest.raw),
        platform=platform,
        annotations=annotations or {},
    )


def write(where: str, what: Image | ImageIndex, options: StoreOptions | None = None) -> Written:
    """Write to a location."""
    return open_destination(Location.parse(where), options or StoreOptions()).write(what)


def read(where: str, options: StoreOptions | None = None) -> Image | ImageIndex:
    """Read from a location."""
    return open_image(Location.parse(where), options or StoreOptions())


def read_image(where: str, options: StoreOptions | None = None) -> Image:
    """Read the image of this machine from a location."""
    return choose_platform(read(where, options), None)


def contents_of(found: Image) -> list[Digest]:
    """Read all layers to their ends and return their digests, as the bytes that came have them."""
    digests = []
    for item in found.layers:
        with item.open() as reader:
            digests.append(Digest(f"sha256:{hashlib.file_digest(reader, 'sha256').hexdigest()}"))
    return digests


def docker_schema2(made: Image) -> Image:
    """Return the image as Docker wrote images before OCI, with the media types of schema 2."""
    config = Descriptor(
        media_type="application/vnd.docker.container.image.v1+json",
        digest=made.config.digest,
        size=len(made.config.raw),
    )
    data: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": config.to_json(),
        "layers": [
            {**item.descriptor.to_json(), "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip"}
            for item in made.layers
        ],
    }
    # Spelt unlike anything that runtimeimg writes: only the bytes as they are have this digest.
    raw = json.dumps(data, indent=3).encode()
    manifest = Manifest(raw, "application/vnd.docker.distribution.manifest.v2+json")
    return Image(
        config=ImageConfig(made.config.raw, config.media_type), layers=made.layers, manifest=manifest, name="schema 2"
    )


@dataclass
class Clock:
    """Time that passes only when somebody sleeps."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    @property
    def timing(self) -> Timing:
        return Timing(sleep=self.sleep, monotonic=lambda: self.now, jitter=lambda: 1.0)


class Lines(Silent):
    """What is said on the way."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def digests(items: Sequence[Descriptor]) -> list[Digest]:
    """Return the digests of descriptors."""
    return [item.digest for item in items]


def authfile(path: Path, key: str, login: str = "jane:right", **more: object) -> Path:
    """Write a login file with one entry and return its path."""
    entry = {"auth": base64.b64encode(login.encode()).decode()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"auths": {key: {**entry, **more}}}))
    return path
