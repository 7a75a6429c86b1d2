"""The base's libc: what a copy put over it, and whether its parts still belong together."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from runtimeimg.check import rules
from runtimeimg.check.facts import Facts, Findings
from runtimeimg.check.libraries import LIBC_FAMILY
from runtimeimg.compose.view import File, View
from runtimeimg.findings import Severity

_MULTIARCH = ("-linux-gnu", "-linux-gnueabihf", "-linux-musl")
_LOADER = re.compile(r"ld(?:-linux[a-z0-9-]*|64)\.so\.[0-9]+\Z")
_RELEASE = re.compile(
    rb"(?:GNU C Library|ld\.so) \([^()\n]{0,100}\) (?:stable|development) release version ([0-9]+\.[0-9]+)"
)
"""What glibc's library and its loader say of themselves (the loader since 2.33)."""
_MAX_LIBC = 32 << 20


def libc_over_base(facts: Facts) -> Findings:
    """Yield libraries of libc that a copy put over the base's; where loader and library no longer fit it is an error.

    The very same file over the base's changes nothing.
    """
    if not facts.base_layers:
        return
    copied = [
        file
        for folder in _library_folders(facts)
        for file in facts.view.names(folder)
        if file.is_file and LIBC_FAMILY.match(posixpath.basename(file.path)) and facts.is_new(file)
    ]
    if not copied:
        return
    base = facts.view.below(facts.base_layers)
    for file in copied:
        before = base.file(file.path)
        if before is None or _same(facts.view, file, base, before):
            continue
        apart = _apart(facts, file)
        yield facts.found(
            rules.LIBC_OVER_BASE,
            file.path,
            f"'{file.path}' took the place of the base's"
            + (f": {apart}, and nothing that is linked starts" if apart else ""),
            "copy the libraries that are needed one by one, not the folder",
            severity=Severity.ERROR if apart else None,
        )


def _same(view: View, file: File, base: View, before: File) -> bool:
    return file.size == before.size and view.read(file, _MAX_LIBC) == base.read(before, _MAX_LIBC)


def _apart(facts: Facts, file: File) -> str:
    """Return how library and loader differ where this is one of them, and both say of which release they are."""
    name = posixpath.basename(file.path)
    library = file if name == "libc.so.6" else facts.view.file(f"{posixpath.dirname(file.path)}/libc.so.6")
    loader = file if _LOADER.match(name) else _loader(facts)
    if library is None or loader is None or file.path not in {library.path, loader.path}:
        return ""
    one, other = _release(facts.view, library), _release(facts.view, loader)
    return (
        f"'{library.path}' is of glibc {one}, the loader '{loader.path}' of {other}"
        if one and other and one != other
        else ""
    )


def _loader(facts: Facts) -> File | None:
    for folder in _library_folders(facts):
        for file in facts.view.names(folder):
            if _LOADER.match(posixpath.basename(file.path)):
                return facts.view.file(file.path)
    return None


def _release(view: View, file: File) -> str:
    found = _RELEASE.search(view.read(file, _MAX_LIBC))
    return found[1].decode() if found is not None else ""


def _library_folders(facts: Facts) -> Iterator[File]:
    seen: set[str] = set()
    for top in ("/lib", "/lib64", "/usr/lib", "/usr/lib64"):
        folder = facts.view.folder(top)
        if folder is None:
            continue
        inner = (item for item in facts.view.names(folder) if item.is_folder and item.path.endswith(_MULTIARCH))
        for item in (folder, *inner):
            if item.path not in seen:
                seen.add(item.path)
                yield item
