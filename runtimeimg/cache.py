"""A small cache on disk: files by kind and key, each written whole or not at all, the oldest thrown out first.

Layout: `ROOT/v1/KIND/XX/KEY`. A reader sees a whole file or none: files are written beside their place and renamed.
Nothing here is needed: what is missing or damaged is made again, so trouble with the disk never fails a build. Use
moves a file's time forward, and `prune` removes those not used for longest. Several processes may share a cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from runtimeimg import remains

VERSION = "v1"
KINDS = (
    "toc", "spans", "shared", "parts", "blob", "file", "result", "part", "layer", "packed", "plan", "elf", "check",
    "graph",
)  # fmt: skip
"""Tables of contents of layers, indexes by which parts of layers are read, whose index of an image's layers is used,
where the layers' own tables have contents, layers, single files out of layers, what a build came to, which layer was
made of what, the layers that were made, what an Engine's layers came to when they were compressed, plans of specs, what
ELF files ask of the loader, what was found in images, and what graphs know of images."""
DEFAULT_LIMIT = 5 << 30
"""Bytes that a cache is kept under."""
_KEY = re.compile(r"[0-9a-f]{16,128}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheInfo:
    """What a cache holds: its folder, and files and bytes by kind."""

    root: Path
    files: Mapping[str, int]
    sizes: Mapping[str, int]

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(self.sizes.values())


class Cache:
    """A cache under `root`, which is made (for the user alone) when something is put into it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._base = root / VERSION
        self._tmp = self._base / "tmp"

    @classmethod
    def open(cls, root: Path | None, say: Callable[[str], None] = lambda _: None) -> Cache | None:
        """Return a cache that can be believed, None where there is none; `say` is told why.

        What somebody else could have written is not believed: the folder must be ours and nobody else's to write to.
        It is made, and kept, for the user alone.
        """
        if root is None:
            return None
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = root.lstat()
            if not stat.S_ISDIR(status.st_mode):
                why = "it is a symlink or a file"
            elif status.st_uid != os.geteuid():
                why = "it belongs to another user"
            elif status.st_mode & 0o022:
                why = f"others may write to it; empty it and say 'chmod 700 {root}'"
            else:
                root.chmod(0o700)
                return cls(root)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
        say(f"cache '{root}' is not used: {why}")
        return None

    def get(self, kind: str, key: str) -> bytes | None:
        """Return a file's bytes, None when it is not there; bytes that do not match their checksum are not there."""
        try:
            data = self._place(kind, key).read_bytes()
        except OSError:
            return None
        if len(data) < 32 or hashlib.sha256(data[32:]).digest() != data[:32]:
            return None
        self._used(self._place(kind, key))
        return data[32:]

    def has(self, kind: str, key: str) -> bool:
        """Tell whether a file is there, whole or not."""
        return self._place(kind, key).exists()

    def holds(self, kind: str) -> bool:
        """Tell whether there is anything of a kind."""
        return next((self._base / kind).glob("??/*"), None) is not None

    def put(self, kind: str, key: str, data: bytes) -> None:
        """Keep `data` together with its checksum."""
        with contextlib.suppress(OSError), self._temporary() as path:
            path.write_bytes(hashlib.sha256(data).digest() + data)
            self._move(path, self._place(kind, key))

    def drop(self, kind: str, key: str) -> None:
        """Keep a file no longer."""
        with contextlib.suppress(OSError):
            self._place(kind, key).unlink()

    def link_out(self, kind: str, key: str, size: int, target: Path) -> bool:
        """Give a file that was taken in a second name, which keeps it when the cache is pruned; False when it is gone.

        Its contents are for the caller to verify.
        """
        place = self._place(kind, key)
        try:
            if place.stat().st_size != size:
                return False
            os.link(place, target)
        except OSError:
            return False
        self._used(place)
        return True

    def take_in(self, kind: str, key: str, path: Path) -> None:
        """Keep a file by a second name; on another file system it is not kept."""
        with contextlib.suppress(OSError), self._temporary() as temporary:
            temporary.unlink()
            os.link(path, temporary)
            self._move(temporary, self._place(kind, key))

    @contextlib.contextmanager
    def work_folder(self) -> Iterator[Path]:
        """Return a context whose value is a folder on the cache's file system, removed when it is left."""
        self._sweep()
        with remains.locked_folder(self._folder()) as folder:
            yield folder

    def info(self) -> CacheInfo:
        """Return what there is."""
        files, sizes = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
        for kind, _, status in self._files():
            files[kind] += 1
            sizes[kind] += status.st_size
        return CacheInfo(root=self.root, files=files, sizes=sizes)

    def prune(self, limit: int = 0) -> int:
        """Remove files, those not used for longest first, until `limit` bytes are left; return the bytes removed.

        What processes that were killed left behind goes too; what others work on stays.
        """
        self._sweep()
        found = sorted(self._files(), key=lambda item: (item[2].st_mtime_ns, str(item[1])))
        left = sum(status.st_size for _, _, status in found)
        removed = 0
        for _, path, status in found:
            if left <= limit:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                left -= status.st_size
                removed += status.st_size
        return removed

    def _sweep(self) -> None:
        """Remove what processes that were killed left behind."""
        remains.sweep_folders(self._tmp)

    def _folder(self) -> Path:
        self._tmp.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._tmp

    def _files(self) -> Iterator[tuple[str, Path, os.stat_result]]:
        for kind in KINDS:
            for path in sorted((self._base / kind).glob("??/*")):
                with contextlib.suppress(OSError):
                    yield kind, path, path.stat()

    def _place(self, kind: str, key: str) -> Path:
        if kind not in KINDS or not _KEY.match(key):
            raise ValueError(f"cache has no place for {kind} {key}")
        return self._base / kind / key[:2] / key

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[Path]:
        with remains.locked_file(self._folder()) as path:
            yield path

    def _move(self, path: Path, place: Path) -> None:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.replace(place)

    def _used(self, place: Path) -> None:
        with contextlib.suppress(OSError):
            os.utime(place)


@contextlib.contextmanager
def work_folder(cache: Cache | None) -> Iterator[Path]:
    """Return a context whose value is a folder to work in: in the cache, where files may stay, or a temporary one."""
    with contextlib.ExitStack() as stack:
        folder = None
        if cache is not None:
            with contextlib.suppress(OSError):
                folder = stack.enter_context(cache.work_folder())
        yield folder or stack.enter_context(remains.folder())
