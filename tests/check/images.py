"""Images made of files in memory, and what `check` says of them."""

import gzip
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtimeimg.account import Account
from runtimeimg.check.checking import check
from runtimeimg.check.facts import Facts
from runtimeimg.check.opened import opened
from runtimeimg.findings import Finding, Severity
from runtimeimg.image import Image
from runtimeimg.oci import Descriptor, Digest, ImageConfig, Location
from runtimeimg.oci.mediatypes import OCI_LAYER
from runtimeimg.plan import Copy
from tests.stores.made import MadeLayer


@dataclass(frozen=True, kw_only=True)
class Put:
    """A file with a mode and an owner, a folder where `data` is None, or a symlink."""

    data: bytes | None = b""
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    link: str | None = None


Files = Mapping[str, bytes | str | Put]
"""By path: contents of a plain file, where a symlink leads, or more than that."""


def layer(files: Files) -> MadeLayer:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, what in files.items():
            item = (
                what
                if isinstance(what, Put)
                else Put(link=what)
                if isinstance(what, str)
                else Put(data=what, mode=0o644)
            )
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.mode, entry.uid, entry.gid = item.mode, item.uid, item.gid
            if item.link is not None:
                entry.type, entry.linkname = tarfile.SYMTYPE, item.link
            elif item.data is None:
                entry.type = tarfile.DIRTYPE
            else:
                entry.size = len(item.data)
            archive.addfile(entry, io.BytesIO(item.data) if entry.isreg() and item.data is not None else None)
    tar = buffer.getvalue()
    raw = gzip.compress(tar, 1, mtime=0)
    descriptor = Descriptor(media_type=f"{OCI_LAYER}+gzip", digest=Digest.of(raw), size=len(raw))
    return MadeLayer(descriptor=descriptor, raw=raw, diff_id=Digest.of(tar))


def image(
    *layers: Files | MadeLayer, platform: str = "amd64", variant: str = "", base: Image | None = None, **config: Any
) -> Image:
    """Return an image of these layers, on a base where there is one; `config` has execution parameters."""
    made = tuple(item if isinstance(item, MadeLayer) else layer(item) for item in layers)
    below = base.layers if base is not None else ()
    data = {
        "architecture": platform,
        **({"variant": variant} if variant else {}),
        "os": "linux",
        "config": {**(base.config.config if base is not None else {}), **config},
        "rootfs": {"type": "layers", "diff_ids": [item.diff_id for item in (*below, *made)]},
    }
    return Image(config=ImageConfig.from_json(data), layers=(*below, *made), name="made")


def found(
    made: Image,
    *,
    base: Image | None = None,
    builder: Image | None = None,
    least: Severity = Severity.WARNING,
    copies: Sequence[tuple[str, str]] = (),
) -> list[Finding]:
    """Return what is found, of at least a severity; `copies` are those that took things out of the builder image."""
    location = Location.parse("docker-daemon:builder:1")
    plan = tuple(
        Copy(source=source, destination=destination, image=location, chown=None, origin="")
        for source, destination in copies
    )
    with opened(
        made, cache=None, account=Account(), base=base, builder=builder, copies=plan, copied_from=str(location)
    ) as facts:
        return [item for item in check(facts) if item.rule.severity >= least]


def ids(findings: Sequence[Finding]) -> list[str]:
    return [item.rule.id for item in findings]


def of_folder(root: Path, *more: Path) -> Files:
    """Return the files of folders of this machine under their own paths."""
    files: dict[str, bytes | str | Put] = {}
    for top in (root, *more):
        for path in sorted(top.rglob("*")) if top.is_dir() and not top.is_symlink() else [top]:
            if path.is_symlink():
                files[str(path)] = str(path.readlink())
            elif path.is_file():
                files[str(path)] = Put(data=path.read_bytes(), mode=path.stat().st_mode & 0o7777)
    return files


__all__ = ["Facts", "Files", "Put", "found", "ids", "image", "layer", "of_folder"]
