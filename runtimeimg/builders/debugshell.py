"""What is wanted of a debug image: a statically linked shell in /bin that needs nothing else of its image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from runtimeimg import elf
from runtimeimg.builders.base import BuildRequest
from runtimeimg.builders.shell import SHELL
from runtimeimg.cache import Cache
from runtimeimg.compose.lookup import kept_link
from runtimeimg.compose.reading import Reader
from runtimeimg.compose.sources import FolderSource, ImageSource
from runtimeimg.errors import UsageError
from runtimeimg.image import Image, elfscan
from runtimeimg.stores import open_one
from runtimeimg.stores.missing import named

_HINT = "take one whose busybox is statically linked, for example busybox:musl or busybox:uclibc"


def check_debug_shell(request: BuildRequest) -> None:
    """Refuse a debug image whose shell would not run below /.debug; nothing is read where no shell is added."""
    location = request.plan.debug
    if location is None:
        return
    place = f"{request.place(request.plan.copies[-1].origin)}: debug image '{location}'"
    if location.transport == "dir":
        check_folder(Path(location.path or ""), place)
    else:
        with named(request.plan.role(location), location):
            image = open_one(location, request.platform, request.stores)
        _check(_program(image, request), place)


def check_folder(root: Path, shown: str) -> None:
    """Refuse a debug image whose files are in a folder; `shown` is what messages call it."""
    source = FolderSource(root, 1, strict=False)
    found = kept_link(source, SHELL)
    _check(None if found is None else elf.read(_front(source.pieces(found.node.inode))), shown)


def _check(program: elf.Elf | None, shown: str) -> None:
    if program is None:
        raise UsageError(f"{shown} has no shell at '{SHELL}' that is a program in its own folder", hint=_HINT)
    if program.needs_loader:
        raise UsageError(f"{shown}: its shell '{SHELL}' is not statically linked", hint=_HINT)


def _front(pieces: Iterable[bytes | memoryview]) -> bytes:
    data = b""
    for piece in pieces:
        data += piece
        if len(data) >= elf.HEAD:
            break
    return data[: elf.HEAD]


def _program(image: Image, request: BuildRequest) -> elf.Elf | None:
    """Return what the shell of an image is, None where it has none that could be taken elsewhere."""
    cache = None if request.no_cache else Cache.open(request.cache_dir)
    with Reader(cache=cache, account=request.stores.account) as reader:
        source = ImageSource(image, 1, reader)
        source.wanted.add(b"bin")
        reader.load(source.layers, {})
        found = kept_link(source, SHELL)
    if found is None:
        return None
    return elfscan.scan(image.layers, image.name).get(found.path.decode("utf-8", "surrogateescape"))
