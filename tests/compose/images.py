"""Small images made in memory: layers out of entries, sources for them, and plans of copies."""

import contextlib
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from runtimeimg.builders.base import BuildRequest
from runtimeimg.builders.native import NativeBuilder
from runtimeimg.image import Image, Origin, choose_platform
from runtimeimg.image.decompress import Unfolded, raw_pieces
from runtimeimg.image.layertar import Entry, LayerTar
from runtimeimg.oci import Descriptor, Digest, ImageConfig, Location
from runtimeimg.oci.mediatypes import OCI_LAYER
from runtimeimg.plan import BuildPlan, Copy
from runtimeimg.runtimegraph import RuntimeGraph
from runtimeimg.stores import StoreOptions
from runtimeimg.stores.verify import verified

TYPES = {
    "d": tarfile.DIRTYPE,
    "f": tarfile.REGTYPE,
    "l": tarfile.SYMTYPE,
    "h": tarfile.LNKTYPE,
    "p": tarfile.FIFOTYPE,
    "c": tarfile.CHRTYPE,
}
TIME = 1_500_000_000


@dataclass(frozen=True, kw_only=True)
class Item:
    """An entry of a layer to be made with the standard library's tarfile."""

    path: str
    kind: str = "f"
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = TIME
    data: bytes = b""
    target: str = ""
    xattrs: tuple[tuple[str, str], ...] = ()


def folder(path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Item:
    return Item(path=path, kind="d", mode=mode, uid=uid, gid=gid)


def file(path: str, data: bytes | None = None, mode: int = 0o644, uid: int = 0, gid: int = 0) -> Item:
    return Item(path=path, data=path.encode() if data is None else data, mode=mode, uid=uid, gid=gid)


def symlink(path: str, target: str) -> Item:
    return Item(path=path, kind="l", mode=0o777, target=target)


def hardlink(path: str, target: str, mode: int = 0o644, uid: int = 0, gid: int = 0) -> Item:
    return Item(path=path, kind="h", target=target, mode=mode, uid=uid, gid=gid)


def tar(items: Iterable[Item]) -> bytes:
    """Return a tar archive of `items`, in their order."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
        for item in items:
            info = tarfile.TarInfo(item.path)
            info.type, info.mode, info.uid, info.gid = TYPES[item.kind], item.mode, item.uid, item.gid
            info.mtime, info.linkname = item.mtime, item.target
            info.pax_headers = {f"SCHILY.xattr.{key}": value for key, value in item.xattrs}
            if item.kind == "c":
                info.devmajor, info.devminor = 1, 3
            if item.kind == "f":
                info.size = len(item.data)
            archive.addfile(info, io.BytesIO(item.data))
    return out.getvalue()


class MemoryLayer:
    """A layer in memory that counts how often it was opened."""

    def __init__(self, blob: bytes, *, media_type: str = OCI_LAYER, diff_id: Digest | None = None) -> None:
        self.blob = blob
        self.descriptor = Descriptor(media_type=media_type, digest=Digest.of(blob), size=len(blob))
        self.diff_id = diff_id or self.descriptor.digest
        self.origin: Origin | None = None
        self.opened = 0

    def open(self) -> IO[bytes]:
        self.opened += 1
        return verified(io.BytesIO(self.blob), self.descriptor, f"layer {self.diff_id}")


def image(name: str, *layers: MemoryLayer | Sequence[Item], **config: object) -> Image:
    """Return an image for linux/amd64 of these layers."""
    made = tuple(layer if isinstance(layer, MemoryLayer) else MemoryLayer(tar(layer)) for layer in layers)
    data = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-05-06T07:08:09Z",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in made]},
        "history": [{"created_by": f"layer {number}"} for number in range(len(made))],
    }
    return Image(config=ImageConfig.from_json(data), layers=made, name=name)


def plan(
    copies: Sequence[tuple[str, str] | tuple[str, str, str | None]],
    *,
    base: str | None = "base",
    builder: str | None = "builder",
    work_dir: str | None = None,
    run: Sequence[str] = (),
) -> BuildPlan:
    """Return a plan of copies; `builder` None copies from the workspace."""
    from runtimeimg.plan import Text

    source = None if builder is None else Location.parse(builder)
    return BuildPlan(
        name="test",
        base=None if base is None else Location.parse(base),
        builder=source,
        outputs=(),
        env=(),
        labels={},
        run=tuple(Text(value=line, origin=f"spec.runtime.run[{number}]") for number, line in enumerate(run)),
        copies=tuple(
            Copy(
                source=copy[0],
                destination=copy[1],
                image=source,
                chown=copy[2] if len(copy) > 2 else None,
                origin=f"copies[{number}]",
            )
            for number, copy in enumerate(copies)
        ),
        work_dir=work_dir,
        ports=(),
        volumes=(),
        user=None,
        stop_signal=None,
        entrypoint=None,
        cmd=None,
        annotations={},
        graph=RuntimeGraph(),
        metadata={},
    )


class Composer:
    """Builds plans over images that are known by name, natively."""

    def __init__(self, monkeypatch, tmp_path: Path, **images: Image) -> None:
        self.images = images
        self.workspace = tmp_path
        self.options = StoreOptions()
        monkeypatch.setattr(
            "runtimeimg.builders.native.open_one",
            lambda location, platform, _: choose_platform(images[str(location)], platform),
        )

    @contextlib.contextmanager
    def build(self, build_plan: BuildPlan, **request: object) -> Iterator[Image]:
        made = BuildRequest(plan=build_plan, stores=self.options, workspace=self.workspace, **request)
        with NativeBuilder().build(made) as built:
            yield built

    def entries(self, copies, *, number: int = -1, base: str | None = "base", **request: object) -> list[Entry]:
        """Return the entries of the layer that copies make."""
        options = {key: request.pop(key) for key in ("work_dir", "builder") if key in request}
        with self.build(plan(copies, base=base, **options), **request) as built:
            return read(built.layers[number])


def read(layer) -> list[Entry]:
    """Return the entries of a layer."""
    return list(LayerTar(Unfolded(raw_pieces(layer.open()), "layer"), "layer"))


def contents(layer) -> dict[bytes, bytes]:
    """Return the contents of a layer's files."""
    archive = LayerTar(Unfolded(raw_pieces(layer.open()), "layer"), "layer")
    return {entry.path: b"".join(bytes(view) for view in archive.content()) for entry in archive if entry.kind == "f"}


def write_layout(target: Path, images: dict[str, tuple[Sequence[bytes], dict[str, object]]]) -> None:
    """Write an OCI layout of images given as layer archives and config fields, without this package's own code."""
    blobs = target / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{media_type}", "digest": f"sha256:{digest}", "size": len(data)}

    manifests = []
    for name, (layers, config) in images.items():
        descriptors = [put(layer, "layer.v1.tar") for layer in layers]
        document = {
            "architecture": "amd64",
            "os": "linux",
            "created": "2024-05-06T07:08:09Z",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [item["digest"] for item in descriptors]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": put(json.dumps(document).encode(), "config.v1+json"),
            "layers": descriptors,
        }
        entry = put(json.dumps(manifest).encode(), "manifest.v1+json")
        manifests.append({**entry, "annotations": {"org.opencontainers.image.ref.name": name}})
    (target / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (target / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))
