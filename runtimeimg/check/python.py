"""Python: its standard library, the modules that are started, native modules and the version that they are for.

Sources: Python documentation, "The initialization of the sys.path module search path", site, PEP 3149.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence

from runtimeimg.check import pythonimports as imports
from runtimeimg.check import rules
from runtimeimg.check.commands import Command
from runtimeimg.check.facts import Facts, Findings, copied
from runtimeimg.check.libraries import Loaders, later
from runtimeimg.check.pythonimports import Python
from runtimeimg.compose.view import File
from runtimeimg.findings import Severity

NAME = re.compile(r"python(?:3(?:\.([0-9]+))?)?\Z")
_TAGGED = re.compile(r"(.+)\.cpython-3([0-9]{1,2})[a-z]*-[A-Za-z0-9_-]+\.so\Z")
_LIBPYTHON = re.compile(r"libpython3\.([0-9]+)[a-z]*\.so")
_MAX_NATIVE, _MAX_SCRIPT = 5000, 64 << 10
_LISTED = 5


def check(facts: Facts, loaders: Loaders, file: File, command: Command) -> Findings:
    """Yield what Python lacks to run a command."""
    python = _python(facts, loaders, file, command)
    if python is None:
        return
    library = _library(facts, python)
    if library is None:
        place = f"{python.prefix}/lib/{python.name}"
        fix = copied(place) if facts.builder is not None and facts.builder.folder(place) is not None else ""
        yield facts.found(
            rules.STANDARD_LIBRARY,
            file.path,
            f"'{file.path}' is Python 3.{python.minor}, whose standard library '{place}' is not there",
            fix or "choose a base with Python, or copy the folder too",
        )
        return
    yield from _other_versions(facts, python)
    yield from imports.started(facts, python, library, command)
    process = loaders.of(file)
    modules = [module for folder in python.path for module in _native(facts, folder)]
    yield from _tags(facts, python, modules)
    if process is not None:
        fitting = [module for module in modules if _minor(module) in {None, python.minor}]
        yield from later(facts, loaders, process, fitting, Severity.WARNING)
        dynload = facts.view.folder(f"{library}/lib-dynload")
        if dynload is not None and facts.is_new(dynload):
            yield from later(facts, loaders, process, _native(facts, dynload.path), Severity.INFO)


def _python(facts: Facts, loaders: Loaders, file: File, command: Command) -> Python | None:
    minor = _version(loaders, file)
    if minor is None:
        return None
    word = command.words[0]
    asked = facts.absolute(word) if "/" in word else file.path
    venv = posixpath.dirname(posixpath.dirname(asked))
    settings = facts.view.file(f"{venv}/pyvenv.cfg")
    home = posixpath.dirname(file.path)
    prefix = facts.env.get("PYTHONHOME") or posixpath.dirname(home)
    own = f"{venv}/lib/python3.{minor}/site-packages" if settings is not None else None
    folders = [facts.absolute(item) for item in facts.env.get("PYTHONPATH", "").split(":") if item]
    folders += [own] if own is not None else []
    if settings is None or b"include-system-site-packages = true" in facts.view.read(settings, _MAX_SCRIPT):
        folders += [f"{prefix}/lib/python3.{minor}/site-packages", f"{prefix}/lib64/python3.{minor}/site-packages"]
        folders += ["/usr/lib/python3/dist-packages", f"/usr/local/lib/python3.{minor}/dist-packages"]
    return Python(minor=minor, prefix=prefix, venv=venv if settings is not None else None, path=tuple(folders))


def _version(loaders: Loaders, file: File) -> int | None:
    """Return the minor version of an interpreter: of its file's name, else of the library that it is made of."""
    match = NAME.match(posixpath.basename(file.path))
    if match is not None and match[1] is not None:
        return int(match[1])
    process = loaders.of(file)
    for item in process.objects if process is not None else ():
        for name in (item.dynamic.soname or "", *item.dynamic.needed):
            if (found := _LIBPYTHON.match(name)) is not None:
                return int(found[1])
    return None


def _library(facts: Facts, python: Python) -> str | None:
    """Return the folder of the standard library; None where there is neither that nor an archive of it."""
    for lib in ("lib", "lib64"):
        folder = f"{python.prefix}/{lib}/{python.name}"
        if any(facts.view.file(f"{folder}/encodings/__init__.{kind}") is not None for kind in ("py", "pyc")):
            return folder
    archive = f"{python.prefix}/lib/python3{python.minor}.zip"
    return archive if facts.view.file(archive) is not None else None


def _other_versions(facts: Facts, python: Python) -> Findings:
    """Yield packages of an environment that are in the folder of another version."""
    tops = [python.venv] if python.venv is not None else [python.prefix]
    tops += [top for item in facts.env.get("PYTHONPATH", "").split(":") if "/lib/python3." in item
             for top in [item.partition("/lib/python3.")[0]]]  # fmt: skip
    for top in dict.fromkeys(tops):
        folder = facts.view.folder(f"{top}/lib")
        found = {
            int(match[1]): item
            for item in (facts.view.names(folder) if folder is not None else ())
            if (match := re.fullmatch(r"python3\.([0-9]+)", posixpath.basename(item.path))) is not None
            and facts.view.folder(f"{item.path}/site-packages") is not None
        }
        others = [minor for minor in found if minor != python.minor]
        if others and python.minor not in found and facts.is_new(found[others[0]]):
            path = f"{found[others[0]].path}/site-packages"
            yield facts.found(
                rules.OTHER_VERSION,
                path,
                f"the packages in '{path}' are for Python 3.{others[0]}, the image's is 3.{python.minor}",
                f"choose a base with Python 3.{others[0]}, or a builder image with 3.{python.minor}",
            )


def _native(facts: Facts, folder: str) -> Iterator[File]:
    count = 0
    for file in facts.view.walk(folder):
        if file.is_file and file.path.endswith(".so"):
            yield file
            count += 1
            if count >= _MAX_NATIVE:
                return


def _minor(module: File) -> int | None:
    match = _TAGGED.match(module.path)
    return int(match[2]) if match is not None else None


def _tags(facts: Facts, python: Python, modules: Sequence[File]) -> Findings:
    """Yield native modules that are there for other versions only."""
    bases: dict[str, set[int]] = {}
    for module in modules:
        if (match := _TAGGED.match(module.path)) is not None:
            bases.setdefault(match[1], set()).add(int(match[2]))
    others = {base: minors for base, minors in bases.items() if python.minor not in minors}
    plain = {module.path.removesuffix(".so").removesuffix(".abi3") for module in modules}
    others = {base: minors for base, minors in others.items() if base not in plain}
    if others:
        first = next(iter(others))
        versions = ", ".join(f"3.{minor}" for minor in sorted({item for minors in others.values() for item in minors}))
        names = ", ".join(posixpath.basename(base) for base in list(others)[:_LISTED])
        yield facts.found(
            rules.OTHER_VERSION,
            first,
            f"{len(others)} native modules are for Python {versions}, the image's is 3.{python.minor}: {names}",
            "install the packages with the version of Python that the image has",
        )
