"""Programs and libraries as loaders see them, each read once, and what a loader comes to with them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from runtimeimg import elfdynamic
from runtimeimg.compose.view import File, View
from runtimeimg.elfdynamic import Dynamic

MAX_OBJECTS = 4096
"""Libraries of one program; browsers have some hundred."""


class Objects:
    """The ELF files of an image."""

    def __init__(self, view: View) -> None:
        self.view = view
        self._known: dict[int, Dynamic | None] = {}
        self._kept: list[File] = []

    def fetch(self, files: Iterable[File]) -> None:
        """Bring the contents of files that nothing is known of yet, those of a layer at once."""
        unknown = (file for file in files if id(file.inode) not in self._known)
        self.view.fetch([file for file in unknown if not self.view.is_kept("elf", file, elfdynamic.FORMAT)])

    def of(self, file: File) -> Dynamic | None:
        """Return what a file asks of a loader, None for what is no ELF file."""
        key = id(file.inode)
        if key not in self._known:
            self._known[key] = self._read(file) if file.is_file and file.size else None
            self._kept.append(file)  # a number of an object is its own as long as that is there
        return self._known[key]

    def _read(self, file: File) -> Dynamic | None:
        def made() -> bytes:
            return elfdynamic.to_bytes(elfdynamic.read(self.view.part(file)))

        return elfdynamic.from_bytes(self.view.kept("elf", file, made, elfdynamic.FORMAT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A program or library in the memory of a process.

    `name` is what it was asked for as, `at` the path by which it was opened, `file` what is there without symlinks;
    `parent` is what asked for it, None for the program and what is preloaded.
    """

    name: str
    at: str
    file: File
    dynamic: Dynamic
    parent: Loaded | None = field(default=None, repr=False)

    @property
    def folder(self) -> str:
        """The folder that `$ORIGIN` stands for."""
        return self.at.rpartition("/")[0] or "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A library that is not found. `reason` says of one that is there why it is not taken."""

    name: str
    parent: Loaded
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """All that a loader puts into a process: the program first, then the libraries in the order of their loading."""

    objects: tuple[Loaded, ...]
    missing: tuple[Missing, ...] = ()

    @property
    def program(self) -> Loaded:
        """What is started."""
        return self.objects[0]

    @property
    def libraries(self) -> tuple[Loaded, ...]:
        """What is loaded with it."""
        return self.objects[1:]


def fits(found: Dynamic | None, program: Dynamic) -> bool:
    """Tell whether a library is for the same machine and of the same class; others are passed over by loaders."""
    return found is not None and (found.architecture, found.bits) == (program.architecture, program.bits)
