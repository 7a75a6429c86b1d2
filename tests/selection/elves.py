"""ELF files made by hand, and layers that hold them."""

import gzip
import io
import struct
import tarfile
from collections.abc import Mapping
from dataclasses import replace

from runtimeimg.image import Image
from runtimeimg.oci import Descriptor, Digest
from runtimeimg.oci.mediatypes import OCI_LAYER
from tests.stores.made import MadeLayer, image

MACHINES = {"amd64": 62, "arm64": 183, "386": 3, "s390x": 22}
NEEDED, USED = 0xC0008002, 0xC0010002


def note(kind: int, data: bytes, name: bytes = b"GNU\0") -> bytes:
    return struct.pack("<III", len(name), len(data), kind) + name.ljust(-(-len(name) // 4) * 4, b"\0") + data


def isa(level: int, kind: int = NEEDED) -> bytes:
    """Return the property that asks for levels up to `level`, as ld -z x86-64-vN writes it."""
    return struct.pack("<IIII", kind, 4, (1 << level) - 1, 0)


def program(architecture: str = "amd64", *, properties: bytes = b"") -> bytes:
    """Return an ELF file of 64 bits that names a loader and has the property note."""
    notes = note(5, properties) if properties else b""
    segments = [(3, b"/lib64/ld-linux-x86-64.so.2\0")] + [(4, notes), (0x6474E553, notes)] * bool(notes)
    at, headers, body = 64 + 56 * len(segments), b"", b""
    for kind, data in segments:
        body = body.ljust(-(-len(body) // 8) * 8, b"\0")
        headers += struct.pack("<IIQQQQQQ", kind, 4, at + len(body), 0, 0, len(data), len(data), 8)
        body += data
    order = b"\x02" if architecture == "s390x" else b"\x01"
    head = b"\x7fELF\x02" + order + b"\x01" + bytes(9)
    fields = (3, MACHINES[architecture], 1, 0, 64, 0, 0, 64, 56, len(segments), 64, 0, 0)
    sign = ">" if architecture == "s390x" else "<"
    if sign == ">":
        return head + struct.pack(">HHIQQQIHHHHHH", *fields[:9], 0, *fields[10:])
    return head + struct.pack("<HHIQQQIHHHHHH", *fields) + headers + body


def layer(files: Mapping[str, bytes | str | None]) -> MadeLayer:
    """Return a layer: contents, a hard link's target, or None for a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, what in files.items():
            entry = tarfile.TarInfo(name)
            if what is None:
                entry.type = tarfile.DIRTYPE
            elif isinstance(what, str):
                entry.type, entry.linkname = tarfile.LNKTYPE, what
            else:
                entry.size = len(what)
            archive.addfile(entry, io.BytesIO(what) if isinstance(what, bytes) else None)
    tar = buffer.getvalue()
    raw = gzip.compress(tar, 1, mtime=0)
    descriptor = Descriptor(media_type=f"{OCI_LAYER}+gzip", digest=Digest.of(raw), size=len(raw))
    return MadeLayer(descriptor=descriptor, raw=raw, diff_id=Digest.of(tar))


def image_of(*layers: Mapping[str, bytes | str | None], arch: str = "amd64", variant: str = "") -> Image:
    """Return an image of these layers."""
    made = tuple(layer(files) for files in layers)
    config = image(1, arch=arch).config.evolve(
        rootfs={"type": "layers", "diff_ids": [item.diff_id for item in made]},
        history=[{"created_by": "made"}] * len(made),
        variant=variant or None,
    )
    return replace(image(1), config=config, layers=made, name="made")
