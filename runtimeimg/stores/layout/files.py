"""The files of an OCI layout (image-layout.md): where blobs lie, how they and the index are written.

A blob is written beside its place and renamed into it; `index.json` is replaced last and under a lock, so that a
reader, and whoever comes after a writer was killed, finds a valid layout, and two writers at once lose nothing. Nobody
who may only read the folder can hold the lock, and it is waited for no longer than `LOCK_SECONDS`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from runtimeimg import locks
from runtimeimg.budgets import MAX_DOCUMENT
from runtimeimg.errors import IntegrityError, InvalidDocumentError, UsageError
from runtimeimg.hostfile import explained, open_file
from runtimeimg.oci import Descriptor, Digest, Index
from runtimeimg.oci.documents import dump_json, load_json
from runtimeimg.oci.mediatypes import OCI_INDEX
from runtimeimg.remains import is_temporary
from runtimeimg.stores.contents import Blob
from runtimeimg.stores.files import AtomicFile, atomic_file, remove_stale, sync_folder
from runtimeimg.stores.verify import CHUNK, once_more

MARKER = "oci-layout"
INDEX = "index.json"
VERSION = "1.0.0"
LOCK = ".runtimeimg-lock"
LOCK_SECONDS = 30.0
"""How long another writer is waited for; each holds the lock for as long as it takes to replace `index.json`."""

_NO_KERNEL_COPY = frozenset({errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EPERM})
_KERNEL_CHUNK = 64 * 1024 * 1024


def layout_marker() -> bytes:
    """Return the bytes of `oci-layout`."""
    return dump_json({"imageLayoutVersion": VERSION})


def check_marker(raw: bytes, where: str) -> None:
    """Raise InvalidDocumentError unless these are the bytes of an `oci-layout` file of a version known here."""
    version = load_json(raw, f"'{where}'").get("imageLayoutVersion")
    if version != VERSION:
        raise InvalidDocumentError(f"'{where}' is of the layout version {str(version)[:40]!r}; '{VERSION}' is known")


def blob_name(digest: Digest) -> str:
    """Return the path of a blob within a layout; a digest holds nothing that could lead out of it."""
    return f"blobs/{digest.algorithm}/{digest.encoded}"


def read_small(path: Path) -> bytes:
    """Return the bytes of a document; InvalidDocumentError when it is larger than documents may be."""
    with open_file(path) as file:
        raw = file.read(MAX_DOCUMENT + 1)
    if len(raw) > MAX_DOCUMENT:
        raise InvalidDocumentError(f"'{path}' is larger than {MAX_DOCUMENT} bytes")
    return raw


def prepare(root: Path) -> None:
    """Make `root` a layout, empty if it was none; a folder that holds something else is refused with UsageError."""
    with explained(root):
        root.mkdir(parents=True, exist_ok=True)
        if not (root / MARKER).exists():
            known = {"blobs", INDEX, MARKER, LOCK}
            strange = [path.name for path in root.iterdir() if path.name not in known and not is_temporary(path.name)]
            if strange:
                raise UsageError(
                    f"folder '{root}' holds other files ('{strange[0]}') and is no OCI layout",
                    hint="name a new or empty folder",
                )
            _create(root / INDEX, dump_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}))
            _create(root / MARKER, layout_marker())
        check_marker(read_small(root / MARKER), str(root / MARKER))


def _create(path: Path, raw: bytes) -> None:
    """Write a file unless it is there: a writer that comes first wins, and nobody sees a part."""
    with atomic_file(path) as pending:
        pending.file.write(raw)
        pending.file.flush()
        try:
            os.link(pending.temporary, path)
        except FileExistsError:
            return
        except OSError:
            # No hard links here (vfat, some network file systems): the moment between look and rename stays open.
            if not path.exists():
                pending.commit()


@contextlib.contextmanager
def locked(root: Path, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Hold the layout's lock; temporary files of writers that are no more are removed.

    TransientError when another writer holds it for too long; `say` is told before that who it is.
    """
    with explained(root), locks.locked(root / LOCK, LOCK_SECONDS, say):
        remove_stale(root)
        yield


def replace_index(root: Path, index: Index) -> None:
    """Put `index` in the place of `index.json`, all blobs before it; the caller holds the lock."""
    with atomic_file(root / INDEX) as pending:
        pending.file.write(index.raw)
        pending.commit()
        sync_folder(root)


def has_blob(root: Path, descriptor: Descriptor) -> bool:
    """Tell whether the layout has a blob of that digest and size."""
    try:
        found = (root / blob_name(descriptor.digest)).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == descriptor.size


def write_blob(root: Path, blob: Blob, on_bytes: Callable[[int], None]) -> None:
    """Write a blob, verified; `on_bytes` is called with counts as bytes move.

    A blob that lies in a file of this machine is copied by the kernel, which shares its extents where the file
    system can, and what came of it is then verified; others are verified as they pass.
    """
    target = root / blob_name(blob.descriptor.digest)
    with explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(target, folder=root) as pending:
        origin = blob.origin
        if not (origin is not None and origin.store == "file" and _copy_file(Path(origin.place), blob, pending)):
            once_more(lambda: _write_from(blob, pending, on_bytes), lambda: on_bytes(-pending.cut(0)))
        else:
            on_bytes(blob.descriptor.size)
        pending.commit(0o644)


def _write_from(blob: Blob, pending: AtomicFile, on_bytes: Callable[[int], None]) -> None:
    with blob.open() as reader:
        while chunk := reader.read(CHUNK):
            pending.file.write(chunk)
            on_bytes(len(chunk))


def sync_blobs(root: Path) -> None:
    """Make the names of all blobs last."""
    with explained(root):
        for folder in (root / "blobs").iterdir():
            sync_folder(folder)


def _copy_file(source: Path, blob: Blob, pending: AtomicFile) -> bool:
    """Copy a file's bytes within the kernel and verify the copy; False where that is not possible here."""
    size, digest = blob.descriptor.size, blob.descriptor.digest
    target = pending.file.fileno()
    with open_file(source) as file:
        left = size
        try:
            while left and (moved := os.copy_file_range(file.fileno(), target, min(left, _KERNEL_CHUNK))):
                left -= moved
        except OSError as error:
            if error.errno in _NO_KERNEL_COPY:
                os.lseek(target, 0, os.SEEK_SET)
                os.ftruncate(target, 0)
                return False
            raise
        if left or file.seek(0, os.SEEK_END) != size:
            raise IntegrityError(f"'{source}' is not of the {size} bytes that its descriptor says")
    found = hashlib.new(digest.algorithm, usedforsecurity=False)
    with open_file(pending.temporary) as copied:
        while chunk := copied.read(CHUNK):
            found.update(chunk)
    if f"{digest.algorithm}:{found.hexdigest()}" != digest:
        raise IntegrityError(f"'{source}' has the digest {digest.algorithm}:{found.hexdigest()}, not {digest}")
    return True
