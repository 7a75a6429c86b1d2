"""Packages of distributions: what dpkg and apk have noted (deb-control(5), dpkg(1); Alpine, apk spec)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping

from runtimeimg.check.packages.values import Package
from runtimeimg.compose.view import File, View

_STATUS, _STATUS_FOLDER, _INFO = "/var/lib/dpkg/status", "/var/lib/dpkg/status.d", "/var/lib/dpkg/info"
_APK = ("/lib/apk/db/installed", "/usr/lib/apk/db/installed")
_MAX_RECORD = 64 << 20
_SOURCE = re.compile(r"([a-z0-9][a-z0-9+.-]*)")


def dpkg(view: View, distribution: str) -> Iterator[tuple[Package, tuple[str, ...]]]:
    """Yield the packages that dpkg has noted, each with its files; of distroless images too, which have no lists."""
    packages = {}
    status = view.file(_STATUS)
    if status is not None:
        for fields in _stanzas(_text(view, status)):
            if fields.get("Status", "").endswith(" installed"):
                package = _deb(fields, distribution)
                if package is not None:
                    packages[fields["Package"], fields.get("Architecture", "")] = package
    for package, file in _lists(view, packages):
        lines = _text(view, file).splitlines() if file is not None else []
        yield package, tuple(line for line in lines if line.startswith("/"))
    folder = view.folder(_STATUS_FOLDER)
    for file in view.names(folder) if folder is not None else ():
        for fields in _stanzas(_text(view, file)) if file.is_file and not file.path.endswith(".md5sums") else ():
            package = _deb(fields, distribution)
            if package is not None:
                sums = view.file(f"{file.path}.md5sums")
                lines = _text(view, sums).splitlines() if sums is not None else []
                yield package, tuple("/" + line.split(None, 1)[1].lstrip("./") for line in lines if " " in line)


def _lists(view: View, packages: Mapping[tuple[str, str], Package]) -> Iterator[tuple[Package, File | None]]:
    """Yield each package with the list of its files; without one it has none (dpkg-query(1))."""
    found: list[tuple[Package, File | None]] = []
    for (name, architecture), package in packages.items():
        paths = (f"{_INFO}/{name}.list", f"{_INFO}/{name}:{architecture}.list")
        files = (view.file(path) for path in paths)
        found.append((package, next((file for file in files if file is not None), None)))
    view.fetch([file for _, file in found if file is not None and not view.is_kept("file", file)])
    yield from found


def _deb(fields: Mapping[str, str], distribution: str) -> Package | None:
    name = fields.get("Package")
    if not name:
        return None
    source = _SOURCE.match(fields.get("Source", ""))
    return Package(
        kind="deb",
        namespace=distribution,
        name=name,
        version=fields.get("Version", ""),
        architecture=fields.get("Architecture", ""),
        origin=source[1] if source is not None and source[1] != name else "",
    )


def apk(view: View, distribution: str) -> Iterator[tuple[Package, tuple[str, ...]]]:
    """Yield the packages that apk has noted, each with its files."""
    for path in _APK:
        file = view.file(path)
        if file is None:
            continue
        for block in _text(view, file).split("\n\n"):
            fields: dict[str, str] = {}
            files, folder = [], ""
            for line in block.splitlines():
                key, _, value = line.partition(":")
                if key == "F":
                    folder = value
                elif key == "R":
                    files.append("/" + posixpath.join(folder, value))
                else:
                    fields.setdefault(key, value)
            if fields.get("P"):
                yield (
                    Package(
                        kind="apk",
                        namespace=distribution,
                        name=fields["P"],
                        version=fields.get("V", ""),
                        architecture=fields.get("A", ""),
                        origin=fields["o"] if fields.get("o") not in {None, fields["P"]} else "",
                        license=fields.get("L", ""),
                    ),
                    tuple(files),
                )
        return


def distribution(view: View) -> str:
    """Return the distribution's id (os-release(5)), empty where none is told."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        file = view.file(path)
        if file is not None:
            found = re.search(r'^ID="?([a-z0-9._-]+)"?$', _text(view, file), re.MULTILINE)
            return found[1] if found is not None else ""
    return ""


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    for block in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        for line in block.splitlines():
            key, colon, value = line.partition(":")
            if colon and not line[:1].isspace():
                fields.setdefault(key, value.strip())
        if fields:
            yield fields


def _text(view: View, file: File) -> str:
    return view.read(file, _MAX_RECORD).decode("utf-8", "surrogateescape")
