"""Bytes and blobs counted while images are moved; what `--metadata-file` and the last line of a build report."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class Account:
    """Counters, added to from any thread. Bytes are those of blobs as stored, without protocol overhead."""

    downloaded_bytes: int = 0
    uploaded_bytes: int = 0
    mounted_bytes: int = 0
    read_bytes: int = 0
    existing_blobs: int = 0
    cache_hits: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, **counts: int) -> None:
        """Add to counters by name."""
        with self._lock:
            for name, count in counts.items():
                setattr(self, name, getattr(self, name) + count)

    def to_json(self) -> dict[str, int]:
        """Return the counters by their camelCase names."""
        with self._lock:
            return {
                "downloadedBytes": self.downloaded_bytes,
                "uploadedBytes": self.uploaded_bytes,
                "mountedBytes": self.mounted_bytes,
                "readBytes": self.read_bytes,
                "existingBlobs": self.existing_blobs,
                "cacheHits": self.cache_hits,
            }
