"""Node: the script that is started, what it imports, native modules and the version that they are for.

Sources: Node.js documentation, "ECMAScript modules", "CommonJS modules", "Modules: Packages".
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Iterator

from runtimeimg.check import rules
from runtimeimg.check.commands import Command, copied_from, first_argument
from runtimeimg.check.facts import Facts, Findings, copied
from runtimeimg.check.libraries import Loaders, later
from runtimeimg.check.loader.objects import Closure
from runtimeimg.check.named import named_folders
from runtimeimg.compose.view import File, View
from runtimeimg.findings import Finding, Severity

WITH_VALUE = frozenset({"-r", "--require", "--import", "--loader", "-C", "--conditions"})
INLINE = frozenset({"-e", "-p", "--eval", "--print", "-i"})
_LIBRARY = re.compile(r"libnode\.so\.([0-9]+)\Z")
_MODULE = re.compile(rb"node_register_module_v([0-9]+)\0")
_STATIC = re.compile(
    r"""^\s*(?:import|export)\b(?:[^'"();]{0,4000}?\bfrom)?\s*["']([^"'\n]+)["']|^\s*(?:const|let|var)\b[^;\n]*?"""
    r"""=\s*require\(\s*["']([^"'\n]+)["']\s*\)""",
    re.MULTILINE,
)
_ESM = re.compile(
    r"^(?:import\s+[\w{*]|import\s*[\"']|export\s+(?:default|const|function|class|async|\{|\*))", re.MULTILINE
)
_BUILT_IN = frozenset(
    re.findall(
        r"\S+",
        "assert async_hooks buffer child_process cluster console constants crypto dgram diagnostics_channel dns domain "
        "events fs http http2 https inspector module net os path perf_hooks process punycode querystring readline repl "
        "stream string_decoder sys timers tls trace_events tty url util v8 vm wasi worker_threads zlib",
    )
)
_EXTERNALIZED = re.compile(rb"\0(/usr/share/nodejs/[A-Za-z0-9_./@-]{1,200}\.js)\0")
_OVERLAP = 512
_MAX_SCRIPTS, _MAX_SCRIPT, _MAX_MODULES = 300, 1 << 20, 5000
_DETECTS = 127
"""Module version of Node 22, which tells by itself that a file is an ECMAScript module (22.7)."""


def check(facts: Facts, loaders: Loaders, file: File, command: Command) -> Findings:
    """Yield what Node lacks to run a command."""
    word = first_argument(command.words[1:], WITH_VALUE, INLINE)
    process = loaders.of(file)
    own = None
    if process is not None:
        versions = (_LIBRARY.match(item.dynamic.soname or "") for item in process.libraries)
        own = next((int(match[1]) for match in versions if match is not None), None)
    if word is not None:
        path = facts.absolute(word)
        script = next(filter(None, map(facts.view.file, spelt(path))), None)
        if script is None:
            yield facts.found(
                rules.SCRIPT_MISSING,
                path,
                f"{command.role}: '{' '.join(command.words[:4])}' runs '{path}', which is not there",
                copied_from(facts, spelt(path)),
            )
            return
        yield from _imports(facts, script, own)
    if process is None:
        return
    yield from _own_files(facts, process)
    start = posixpath.dirname(facts.absolute(word)) if word is not None else facts.cwd
    modules = list(_native(facts, start))
    yield from later(facts, loaders, process, modules, Severity.WARNING)
    yield from _versions(facts, modules, own)


def _own_files(facts: Facts, process: Closure) -> Findings:
    for item in process.libraries:
        lacking = [path for path in externalized(facts.view, item.file) if facts.view.file(path) is None]
        if lacking:
            yield facts.found(
                rules.STANDARD_LIBRARY,
                item.at,
                f"'{item.at}' reads parts of Node from files that are not there: {', '.join(lacking[:3])}",
                copied_from(facts, lacking) or "copy /usr/share/nodejs as well",
            )


def externalized(view: View, library: File) -> list[str]:
    """Return the files that a distribution's libnode reads parts of Node from; nothing of any other library.

    Node's configure option --shared-builtin-... puts the paths into the library, behind the names of the parts.
    """
    if not library.path.rpartition("/")[2].startswith("libnode.so."):
        return []

    def made() -> bytes:
        part, found, step = view.part(library), dict[bytes, None](), 1 << 22
        for offset in range(0, library.size, step):
            found |= dict.fromkeys(match[1] for match in _EXTERNALIZED.finditer(part(offset, step + _OVERLAP)))
        return b"\n".join(found)

    return [os.fsdecode(path) for path in view.kept("elf", library, made, "externalized").split(b"\n") if path]


def spelt(path: str) -> list[str]:
    """Return the files that a path may mean (CommonJS, LOAD_AS_FILE and LOAD_AS_DIRECTORY)."""
    return [path, *(f"{path}.{ending}" for ending in ("js", "mjs", "cjs", "json", "node")), f"{path}/index.js",
            f"{path}/package.json"]  # fmt: skip


def _imports(facts: Facts, script: File, own: int | None) -> Findings:
    """Yield what a script, or what it imports of the application's own, imports and is not there."""
    waiting, seen, missing = [script], {script.path}, set[str]()
    while waiting and len(seen) <= _MAX_SCRIPTS:
        file = waiting.pop(0)
        if file.path.endswith((".json", ".node")) or file.size > _MAX_SCRIPT:
            continue
        text = facts.view.read(file, _MAX_SCRIPT).decode("utf-8", "replace")
        if (own is None or own < _DETECTS) and _ESM.search(text) and not _is_module(facts, file):
            yield facts.found(
                rules.SCRIPT_MISSING,
                file.path,
                f"'{file.path}' is an ECMAScript module, and no package.json beside or above it says so",
                _manifest(facts, file) or 'copy the package.json that has "type": "module"',
            )
            return
        for match in _STATIC.finditer(text):
            name = match[1] or match[2]
            found = _resolved(facts, file, name)
            if found is None and name not in missing:
                missing.add(name)
                yield _missing(facts, file, name)
            elif isinstance(found, File) and found.path not in seen:
                seen.add(found.path)
                waiting.append(found)
    yield from named_folders(facts, sorted(seen))


def _is_module(facts: Facts, file: File) -> bool:
    """Tell whether a file is taken as an ECMAScript module, by its ending or the nearest package.json."""
    if not file.path.endswith(".js"):
        return file.path.endswith(".mjs") or not file.path.endswith(".cjs")
    at = posixpath.dirname(file.path)
    while True:
        manifest = facts.view.file(posixpath.join(at, "package.json"))
        if manifest is not None:
            try:
                data = json.loads(facts.view.read(manifest, _MAX_SCRIPT))
            except (ValueError, RecursionError):
                return True  # a fault of its own
            return isinstance(data, dict) and data.get("type") == "module"
        if at in {"/", ""}:
            return False
        at = posixpath.dirname(at)


def _manifest(facts: Facts, file: File) -> str:
    """Return what to copy so that a module is one: the package.json of the builder image in the same place."""
    at = posixpath.dirname(file.path)
    while facts.builder is not None and at not in {"/", ""}:
        if facts.builder.file(f"{at}/package.json") is not None:
            return copied(f"{at}/package.json")
        at = posixpath.dirname(at)
    return ""


def _resolved(facts: Facts, file: File, name: str) -> File | bool | None:
    """Return the application's own file that an import means, True for a package that is there, None for neither."""
    top = name.partition("/")[0]
    if ":" in top or top in _BUILT_IN or name.startswith("#"):
        return True
    if name.startswith((".", "/")):
        return next(filter(None, map(facts.view.file, spelt(posixpath.join(posixpath.dirname(file.path), name)))), None)
    if name.startswith("@"):
        top = "/".join(name.split("/")[:2])
    at = posixpath.dirname(file.path)
    while True:
        if facts.view.find(posixpath.join(at, "node_modules", top)) is not None:
            return True
        if at in {"/", ""}:
            break
        at = posixpath.dirname(at)
    folders = [*facts.env.get("NODE_PATH", "").split(":"), "/usr/share/nodejs", "/usr/lib/node_modules"]
    return True if any(folder and facts.view.find(f"{folder}/{top}") is not None for folder in folders) else None


def _missing(facts: Facts, file: File, name: str) -> Finding:
    if name.startswith((".", "/")):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(file.path), name))
        fix = copied_from(facts, spelt(path))
        return facts.found(rules.SCRIPT_MISSING, path, f"'{file.path}' imports '{path}', which is not there", fix)
    return facts.found(
        rules.SCRIPT_MISSING,
        name,
        f"'{file.path}' imports the package '{name}', which is in no node_modules beside or above it",
        "copy node_modules of the builder image to beside the script",
    )


def _native(facts: Facts, start: str) -> Iterator[File]:
    """Yield native modules in the node_modules of a folder and of those above it."""
    at, count = start, 0
    while True:
        for file in facts.view.walk(posixpath.join(at, "node_modules")):
            if file.is_file and file.path.endswith(".node"):
                yield file
                count += 1
                if count >= _MAX_MODULES:
                    return
        if at in {"/", ""}:
            return
        at = posixpath.dirname(at)


def _versions(facts: Facts, modules: list[File], own: int | None) -> Findings:
    """Yield native modules for another version; those of Node-API (version 0 in the name) are for all."""
    for module in modules if own is not None else ():
        version = _module_version(facts.view, module)
        if version not in {0, own}:
            yield facts.found(
                rules.OTHER_VERSION,
                module.path,
                f"native module '{module.path}' is for Node's module version {version}, the image has {own}",
                "install the packages with the version of Node that the image has",
            )


def _module_version(view: View, module: File) -> int:
    """Return the module version that a native module is for, 0 where it does not say."""

    def made() -> bytes:
        found = _MODULE.search(view.read(module, _MAX_SCRIPT))
        return found[1][:9] if found is not None else b"0"

    return int(view.kept("elf", module, made, "module version"))
