"""Packages of languages: Python's installed distributions and Node's modules.

Sources: PyPA, "Recording installed projects"; npm, package.json.
"""

from __future__ import annotations

import csv
import json
import posixpath
import re
from collections.abc import Iterator
from email.parser import HeaderParser

from runtimeimg.check.packages.values import Package
from runtimeimg.compose.view import File, View

_DIST = re.compile(r"/(?:site|dist)-packages/[^/]+\.(?:dist|egg)-info\Z")
_MAX_RECORD, _MAX_MANIFEST = 16 << 20, 1 << 20


def pypi(view: View, folders: list[File]) -> Iterator[tuple[Package, tuple[str, ...]]]:
    """Yield the distributions that pip and others have noted, each with its files and what is compiled of them.

    Those that setuptools installed by itself have an .egg-info, with a list of files or the names of modules.
    """
    for folder in folders:
        if _DIST.search(folder.path) is None:
            continue
        wheel = folder.path.endswith(".dist-info")
        metadata = view.file(f"{folder.path}/{'METADATA' if wheel else 'PKG-INFO'}")
        said = HeaderParser().parsestr(_text(view, metadata, _MAX_MANIFEST))
        if not said["Name"]:
            continue
        package = Package(
            kind="pypi",
            name=re.sub(r"[-_.]+", "-", str(said["Name"])).lower(),
            version=str(said["Version"] or ""),
            license=str(said["License-Expression"] or ""),
        )
        files = _recorded(view, folder.path) if wheel else _installed(view, folder.path)
        yield package, (*files, *(file.path for file in view.names(folder)))


def _recorded(view: View, folder: str) -> list[str]:
    rows = csv.reader(_text(view, view.file(f"{folder}/RECORD"), _MAX_RECORD).splitlines())
    return [posixpath.normpath(posixpath.join(posixpath.dirname(folder), row[0])) for row in rows if row and row[0]]


def _installed(view: View, folder: str) -> list[str]:
    listed = _text(view, view.file(f"{folder}/installed-files.txt"), _MAX_RECORD).splitlines()
    if listed:
        return [posixpath.normpath(posixpath.join(folder, line)) for line in listed]
    top = posixpath.dirname(folder)
    names = _text(view, view.file(f"{folder}/top_level.txt"), _MAX_MANIFEST).split()
    inside = (file.path for name in names for file in view.walk(f"{top}/{name}") if file.is_file)
    return [*inside, *(f"{top}/{name}.py" for name in names)]


def _text(view: View, file: File | None, limit: int) -> str:
    return view.read(file, limit).decode("utf-8", "replace") if file is not None else ""


def npm(view: View, folder: File) -> Package | None:
    """Return the package whose folder this is, None for a folder that is none's; it must lie in a node_modules."""
    manifest = view.file(f"{folder.path}/package.json")
    if manifest is None or not _is_module(folder.path):
        return None
    try:
        data = json.loads(view.read(manifest, _MAX_MANIFEST))
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or not isinstance(name := data.get("name"), str) or not name:
        return None
    scope, slash, rest = name.partition("/")
    version, license_ = data.get("version"), data.get("license")
    return Package(
        kind="npm",
        namespace=scope if slash else "",
        name=rest if slash else name,
        version=version if isinstance(version, str) else "",
        license=license_ if isinstance(license_, str) else "",
    )


def _is_module(path: str) -> bool:
    parts = path.split("/")
    return len(parts) > 2 and (
        parts[-2] == "node_modules" or (parts[-2].startswith("@") and parts[-3] == "node_modules")
    )
