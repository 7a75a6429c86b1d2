"""The members of an image archive: found once, then read where they lie, by several readers at once.

Member names are keys of a table and never paths of this machine.
"""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, cast

from runtimeimg.budgets import MAX_DOCUMENT
from runtimeimg.errors import InvalidDocumentError, NotFoundError
from runtimeimg.hostfile import open_file

MAX_MEMBERS = 100_000
_MAX_HEADER = 1024 * 1024
_MAX_LINKS = 16
_COMPRESSED = {
    b"\x1f\x8b": "gunzip",
    b"\x28\xb5\x2f\xfd": "zstd -d",
    b"BZh": "bunzip2",
    b"\xfd7zXZ": "unxz",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Where a regular file's bytes lie in the archive."""

    offset: int
    size: int


class TarIndex:
    """An archive's files by name; links between them are followed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._members, self._links = _scan(path)

    @property
    def names(self) -> frozenset[str]:
        """The names of all files and links."""
        return frozenset(self._members) | frozenset(self._links)

    def find(self, name: str) -> Member | None:
        """Return the file of a name, None when there is none or its links lead nowhere."""
        name = _plain(name)
        for _ in range(_MAX_LINKS):
            if name in self._members:
                return self._members[name]
            if name not in self._links:
                return None
            name = self._links[name]
        return None

    def open(self, member: Member) -> IO[bytes]:
        """Return a reader of a file's bytes; independent of all other readers."""
        return cast("IO[bytes]", Slice(open_file(self.path), member))

    def read(self, name: str) -> bytes:
        """Return the bytes of a document; NotFoundError when there is none."""
        member = self.find(name)
        if member is None:
            raise NotFoundError(f"archive '{self.path}' has no '{name[:200]}'")
        if member.size > MAX_DOCUMENT:
            raise InvalidDocumentError(f"archive '{self.path}': '{name[:200]}' is larger than {MAX_DOCUMENT} bytes")
        with self.open(member) as file:
            return file.read()


class Slice(io.RawIOBase):
    """A part of a file."""

    def __init__(self, file: IO[bytes], member: Member) -> None:
        super().__init__()
        self._file = file
        self._at = member.offset
        self._left = member.size

    def readable(self) -> bool:
        """Tell that this is for reading."""
        return True

    def read(self, count: int = -1, /) -> bytes:
        """Return up to `count` bytes, none at the end."""
        wanted = self._left if count < 0 else min(count, self._left)
        data = os.pread(self._file.fileno(), wanted, self._at)
        self._at += len(data)
        self._left -= len(data)
        return data

    def readinto(self, buffer: object, /) -> int:
        """Fill `buffer` with the next bytes and return how many."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


class _Headers:
    """An archive as tarfile sees it: it reads headers only, and none that claims to be huge is read into memory."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file = file
        self._path = path
        self.seek = file.seek
        self.tell = file.tell

    def read(self, count: int = -1, /) -> bytes:
        """Return header bytes."""
        if not 0 <= count <= _MAX_HEADER:
            raise InvalidDocumentError(f"archive '{self._path}' has a header larger than {_MAX_HEADER} bytes")
        return self._file.read(count)


def _scan(path: Path) -> tuple[Mapping[str, Member], Mapping[str, str]]:
    members: dict[str, Member] = {}
    links: dict[str, str] = {}
    with open_file(path) as file:
        _refuse_compressed(file, path)
        length = os.fstat(file.fileno()).st_size
        try:
            with tarfile.open(fileobj=_Headers(file, path), mode="r:") as archive:  # type: ignore[call-overload] # IO enough
                for count, entry in enumerate(archive):
                    if count >= MAX_MEMBERS:
                        raise InvalidDocumentError(f"archive '{path}' has more than {MAX_MEMBERS} members")
                    archive.members.clear()
                    _note(entry, length, path, members, links)
        except (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError) as error:
            raise InvalidDocumentError(f"archive '{path}' is not a tar archive: {error}") from error
    return MappingProxyType(members), MappingProxyType(links)


def _note(entry: tarfile.TarInfo, length: int, path: Path, members: dict[str, Member], links: dict[str, str]) -> None:
    """Note one entry; of entries of the same name the last counts."""
    name = _plain(entry.name)
    members.pop(name, None)
    links.pop(name, None)
    if entry.issym():
        links[name] = _plain(posixpath.join(posixpath.dirname(name), entry.linkname))
    elif entry.islnk():
        links[name] = _plain(entry.linkname)
    elif entry.isreg() and not entry.issparse():
        if entry.size < 0 or entry.offset_data + entry.size > length:
            raise InvalidDocumentError(f"archive '{path}' ends within '{name[:200]}'")
        members[name] = Member(offset=entry.offset_data, size=entry.size)


def _refuse_compressed(file: IO[bytes], path: Path) -> None:
    begin = file.read(6)
    file.seek(0)
    for magic, program in _COMPRESSED.items():
        if begin.startswith(magic):
            raise InvalidDocumentError(
                f"archive '{path}' is compressed as a whole", hint=f"unpack it first with {program}"
            )


def _plain(name: str) -> str:
    return posixpath.normpath("/" + name).lstrip("/")
