"""What a tree in memory covers of an image: what was asked for, and what leads there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MAX_LINKS = 40
"""Symlinks followed in one path, as Linux has it (MAXSYMLINKS)."""


class NeedsMoreError(Exception):
    """A walk came to `paths`, which the tree does not cover."""

    def __init__(self, paths: Sequence[bytes]) -> None:
        super().__init__(paths)
        self.paths = paths


class Wanted:
    """Paths that a tree covers: some folders or files with all that is below, and all folders above them."""

    def __init__(self, paths: Iterable[bytes] = ()) -> None:
        self._whole: set[bytes] = set()
        self._exact: set[bytes] = set()
        self._below: tuple[bytes, ...] | None = None
        self._followed = 0
        for path in paths:
            self.add(path)

    def add(self, path: bytes) -> None:
        """Cover `path` and what is below it too."""
        if self.covers_below(path):
            return
        self._whole.add(path)
        self._below = None
        at = path
        while at not in self._exact:
            self._exact.add(at)
            at = at.rpartition(b"/")[0]

    def follow(self, path: bytes, target: bytes) -> bool:
        """Cover what a symlink at `path` leads to, where something covered lies at or behind it; tell whether it does.

        That is a guess, as other layers may have something else there; it spares reading a layer once more.
        """
        if path not in self._exact or self._followed >= MAX_LINKS:
            return False
        behind = [whole[len(path) :] for whole in list(self._whole) if whole == path or whole.startswith(path + b"/")]
        self._followed += 1
        at = [] if target.startswith(b"/") else path.split(b"/")[:-1]
        for part in target.split(b"/"):
            if part == b"..":
                del at[-1:]
            elif part not in (b"", b"."):
                at.append(part)
        for rest in behind:
            self.add(b"/".join(at) + rest if at else rest[1:])
        return bool(behind)

    @property
    def roots(self) -> frozenset[bytes]:
        """The paths that are covered with all below, none within another."""
        return frozenset(path for path in self._whole if path == b"" or not self.covers_below(path.rpartition(b"/")[0]))

    def copy(self) -> Wanted:
        """Return the same for another tree."""
        return Wanted(self._whole)

    def covers(self, path: bytes) -> bool:
        """Tell whether what lies at `path` itself is in the tree."""
        if self._below is None:
            self._below = tuple(item + b"/" for item in self._whole)
        return path in self._exact or path.startswith(self._below) or b"" in self._whole

    def covers_below(self, path: bytes) -> bool:
        """Tell whether all that is below `path` is in the tree."""
        while path not in self._whole:
            if not path:
                return False
            path = path.rpartition(b"/")[0]
        return True
