"""Java: the runtime's own files, the archive that is started, and the version that its classes are for.

Sources: JVM specification, "The ClassFile Structure"; JAR file specification.
"""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Sequence

from runtimeimg.check import rules
from runtimeimg.check.commands import Command, copied_from
from runtimeimg.check.facts import Facts, Findings, copied
from runtimeimg.compose.view import File

_WITH_VALUE = frozenset(
    {"-cp", "-classpath", "--class-path", "-p", "--module-path", "--add-modules", "--upgrade-module-path"}
)
_VERSION = re.compile(rb'^JAVA_VERSION="(?:1\.)?([0-9]+)', re.MULTILINE)
_FIRST_MAJOR = 44
"""Major version of class files minus that of the Java that made them."""
_MAX_RELEASE, _MAX_MANIFEST, _MAX_JAR = 1 << 16, 1 << 16, 4 << 30


def check(facts: Facts, file: File, command: Command) -> Findings:
    """Yield what Java lacks to run a command."""
    home = posixpath.dirname(posixpath.dirname(file.path))
    yield from _own_files(facts, file, home)
    words = list(command.words[1:])
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word == "-jar" and words:
            yield from _archive(facts, home, command, words[0])
            return
        if word in _WITH_VALUE and words:
            words.pop(0)


def _own_files(facts: Facts, file: File, home: str) -> Findings:
    """Yield files of the runtime that are not there, among them those that links of distributions lead to."""
    wanted: tuple[Sequence[str], ...] = (
        (
            "lib/server/libjvm.so",
            "lib/amd64/server/libjvm.so",
            "jre/lib/amd64/server/libjvm.so",
            "lib/client/libjvm.so",
        ),
        ("lib/modules", "lib/rt.jar", "jre/lib/rt.jar", "modules"),
        ("lib/jvm.cfg", "lib/amd64/jvm.cfg", "jre/lib/amd64/jvm.cfg"),
        ("conf/security/java.security", "lib/security/java.security", "jre/lib/security/java.security"),
    )
    for names in wanted:
        if any(facts.view.file(f"{home}/{name}") is not None for name in names):
            continue
        path = f"{home}/{names[0]}"
        link = facts.view.find(path, follow=False)
        lead = f", a symlink to '{link.target}'," if link is not None and link.is_link else ""
        yield facts.found(
            rules.STANDARD_LIBRARY,
            path,
            f"'{file.path}' is Java in '{home}', which needs '{path}'{lead} and that is not there",
            _fix(facts, path) or "choose a base with the runtime, or copy all of it, with what its links lead to",
        )
    store = f"{home}/lib/security/cacerts"
    link = facts.view.find(store, follow=False)
    if link is not None and facts.view.find(store) is None:
        yield facts.found(
            rules.CERTIFICATES,
            store,
            f"the certificates of Java are '{store}', a symlink to '{link.target}', which is not there",
            _fix(facts, store),
        )


def _fix(facts: Facts, path: str) -> str:
    there = facts.builder.file(path) if facts.builder is not None else None
    return copied(posixpath.dirname(there.path)) if there is not None else ""


def _archive(facts: Facts, home: str, command: Command, word: str) -> Findings:
    path = facts.absolute(word)
    jar = facts.view.file(path)
    if jar is None:
        yield facts.found(
            rules.SCRIPT_MISSING,
            path,
            f"{command.role}: java runs '{path}', which is not there",
            copied_from(facts, [path]),
        )
        return
    release = facts.view.file(f"{home}/release")
    found = _VERSION.search(facts.view.read(release, _MAX_RELEASE)) if release is not None else None
    wanted = class_version(facts, jar)
    if found is not None and wanted is not None and wanted > int(found[1]):
        yield facts.found(
            rules.OTHER_VERSION,
            path,
            f"the classes of '{path}' are for Java {wanted}, the image's is {int(found[1])}",
            f"choose a base with Java {wanted}, or compile with --release {int(found[1])}",
        )


def class_version(facts: Facts, jar: File) -> int | None:
    """Return the version of Java that the main classes of an archive are for; None where that cannot be told."""
    if jar.size > _MAX_JAR:
        return None
    try:
        with zipfile.ZipFile(_Stream(facts, jar)) as archive:
            manifest = _read(archive, "META-INF/MANIFEST.MF", _MAX_MANIFEST).decode("utf-8", "replace")
            said = dict(re.findall(r"^(Main-Class|Start-Class): *([A-Za-z0-9_.$]+)", manifest, re.MULTILINE))
            versions = [
                int.from_bytes(head[6:8], "big") - _FIRST_MAJOR
                for name in said.values()
                for place in ("", "BOOT-INF/classes/")
                if (head := _read(archive, f"{place}{name.replace('.', '/')}.class", 8))[:4] == b"\xca\xfe\xba\xbe"
            ]
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, EOFError, OSError):
        return None
    return max(versions, default=None)


def _read(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    try:
        with archive.open(name) as file:
            return file.read(limit)
    except KeyError:
        return b""


class _Stream(io.RawIOBase):
    """A file of an image to be sought in."""

    def __init__(self, facts: Facts, file: File) -> None:
        super().__init__()
        self._part = facts.view.part(file)
        self._size = file.size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError("negative offset")
        self._at = start + offset
        return self._at

    def read(self, count: int = -1, /) -> bytes:
        data = self._part(self._at, self._size - self._at if count < 0 else count)
        self._at += len(data)
        return data
