"""Bytes and blobs counted while images are moved; what `--metadata-file` and the last line of a build report."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class Account:
    """Counters, added to from any thread. Bytes are those of blobs as stored, without protocol overhead.

    Taken are those of new blobs that were another's already, see compose/takeover.py.
    """

    downloaded_bytes: int = 0
    uploaded_bytes: int = 0
    mounted_bytes: int = 0
    read_bytes: int = 0
    unpacked_bytes: int = 0
    taken_bytes: int = 0
    existing_blobs: int = 0
    cache_hits: int = 0
    sizes: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Bytes of images that were looked at on the way, by name, and how they count: `stored` or `unpacked`."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, **counts: int) -> None:
        """Add to counters by name."""
        with self._lock:
            for name, count in counts.items():
                setattr(self, name, getattr(self, name) + count)

    def saw(self, name: str, size: tuple[int, str] | None) -> None:
        """Note the size of an image that was opened anyway."""
        if size is not None:
            with self._lock:
                self.sizes[name] = size

    def to_json(self) -> dict[str, int]:
        """Return the counters by their camelCase names."""
        with self._lock:
            return {
                "downloadedBytes": self.downloaded_bytes,
                "uploadedBytes": self.uploaded_bytes,
                "mountedBytes": self.mounted_bytes,
                "readBytes": self.read_bytes,
                "unpackedBytes": self.unpacked_bytes,
                "takenBytes": self.taken_bytes,
                "existingBlobs": self.existing_blobs,
                "cacheHits": self.cache_hits,
            }
