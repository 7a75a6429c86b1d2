"""Programs and their libraries: loaders, what is missing, versions, machines and levels."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from runtimeimg.check import rules
from runtimeimg.check.facts import Facts, Findings, copied
from runtimeimg.check.loader.glibc import Glibc
from runtimeimg.check.loader.making import is_for_other_libc, is_musl, loader_at
from runtimeimg.check.loader.objects import Closure, Loaded, Missing, fits
from runtimeimg.check.loader.walk import Loader, closure
from runtimeimg.compose.view import File
from runtimeimg.elfdynamic import Dynamic
from runtimeimg.findings import Finding, Severity

LIBC_FAMILY = re.compile(
    r"(?:ld-linux[a-z0-9-]*|ld64|ld-musl-[a-z0-9_]+|lib(?:c|m|dl|rt|pthread|resolv|util|anl|nsl|BrokenLocale|mvec|"
    r"nss_[a-z]+|thread_db|c_malloc_debug))(?:-[0-9.]+)?\.so(?:\.[0-9]+)?\Z"
)
"""Names of the libraries that belong to libc, and of its loader."""
_LISTED = 5


@dataclass(slots=True, kw_only=True)
class Loaders:
    """The loaders of an image by the paths that programs name them by, and the closures that were made."""

    facts: Facts
    closures: dict[str, Closure] = field(default_factory=dict)
    _known: dict[str, Loader | None] = field(default_factory=dict)

    def named(self, path: str) -> Loader | None:
        """Return the loader at a path, None where there is none."""
        if path not in self._known:
            facts = self.facts
            self._known[path] = loader_at(facts.objects, path, env=facts.env, cwd=facts.cwd, levels=facts.levels)
        return self._known[path]

    def of(self, program: File) -> Closure | None:
        """Return what is loaded for a program; None for one that is static, or whose loader is not there."""
        if program.path not in self.closures:
            dynamic = self.facts.objects.of(program)
            loader = self.named(dynamic.interpreter) if dynamic is not None and dynamic.interpreter else None
            if loader is None:
                return None
            self.closures[program.path] = closure(loader, program)
        return self.closures[program.path]


def programs(facts: Facts, loaders: Loaders, started: Iterable[File]) -> Findings:
    """Yield what keeps programs from being loaded, for those that the image starts."""
    files = list(started)
    facts.objects.fetch(files)
    said: set[tuple[str, str]] = set()
    for file in files:
        dynamic = facts.objects.of(file)
        if dynamic is None:
            continue
        if (other := _machine(facts, file, dynamic)) is not None:
            yield facts.found(rules.WRONG_MACHINE, file.path, other, "build for one platform, or name it by --platform")
            continue
        if dynamic.interpreter is not None and loaders.named(dynamic.interpreter) is None:
            yield _no_loader(facts, file, dynamic.interpreter)
            continue
        loaded = loaders.of(file)
        if loaded is not None:
            yield from _loading(facts, loaders, loaded, said, None)
        elif dynamic.isa_needed:
            yield from _levels(facts, [(file.path, dynamic)], said)


def later(facts: Facts, loaders: Loaders, process: Closure, modules: Iterable[File], severity: Severity) -> Findings:
    """Yield what keeps native modules from being loaded into a process of which `process` is what is in it already."""
    program = process.program
    loader = loaders.named(program.dynamic.interpreter or "")
    if loader is None:
        return
    facts.objects.fetch(files := list(modules))
    wanting: dict[str, list[Missing]] = {}
    for file in files:
        dynamic = facts.objects.of(file)
        if dynamic is None or not dynamic.loads or not fits(dynamic, program.dynamic):
            continue
        if is_for_other_libc(loader, dynamic):
            continue
        for missing in closure(loader, file, process.objects).missing:
            wanting.setdefault(missing.name, []).append(missing)
    for name, several in wanting.items():
        who = ", ".join(dict.fromkeys(item.parent.file.path for item in several[:_LISTED]))
        more = f" and {len(several) - _LISTED} more" if len(several) > _LISTED else ""
        yield facts.found(
            rules.LOADED_LATER,
            several[0].parent.file.path,
            f"'{name}', which {who}{more} would load, is not found",
            from_builder(facts, several[0]),
            severity=severity,
        )


def _machine(facts: Facts, file: File, dynamic: Dynamic) -> str | None:
    """Return why a program does not run on the image's platform."""
    wanted = facts.view.image.platform.architecture
    runs = {wanted, *({"386"} if wanted == "amd64" else {"arm"} if wanted == "arm64" else ())}
    if dynamic.architecture in runs:
        return None
    return f"'{file.path}' is for {dynamic.architecture}, the image for {facts.view.image.platform}"


def _no_loader(facts: Facts, file: File, wanted: str) -> Finding:
    musl = is_musl(wanted)
    others = [path for path in ("/lib/ld-musl-x86_64.so.1", "/lib/ld-musl-aarch64.so.1") if facts.view.file(path)]
    if musl:
        why = "it was made for musl (Alpine), the image has none"
        fix = "choose a base of the builder image's distribution, or link the program statically"
    elif others:
        why = "it was made for glibc, the image has musl (Alpine)"
        fix = "choose a base with glibc, or build the program on Alpine"
    else:
        why = "the image has no loader there"
        fix = "choose a base with a libc, or link the program statically"
    if facts.builder is not None and facts.builder.file(wanted) is not None and not others and not musl:
        fix += f"; the builder image has it: '{wanted}'"
    return facts.found(
        rules.LOADER_MISSING, file.path, f"'{file.path}' names the loader '{wanted}', which is not there: {why}", fix
    )


def _loading(
    facts: Facts, loaders: Loaders, loaded: Closure, said: set[tuple[str, str]], severity: Severity | None
) -> Findings:
    """Yield what is wrong with the libraries of one program; what was said of another is not said again."""
    for missing in loaded.missing:
        if ("missing", missing.name) not in said:
            said.add(("missing", missing.name))
            yield facts.found(
                rules.LIBRARY_MISSING,
                missing.parent.file.path,
                f"'{missing.name}', which '{missing.parent.file.path}' needs, is not found" + _because(facts, missing),
                from_builder(facts, missing),
                severity=severity,
            )
    loader = loaders.named(loaded.program.dynamic.interpreter or "")
    if isinstance(loader, Glibc):
        yield from _versions(facts, loaded, said, severity)
    yield from _levels(facts, [(item.file.path, item.dynamic) for item in loaded.objects], said)
    for item in loaded.libraries:
        if (closed := facts.closed(item.at, 4)) is not None and ("closed", item.at) not in said:
            said.add(("closed", item.at))
            yield facts.found(
                rules.USER_MAY_NOT,
                item.at,
                f"library '{item.at}' cannot be read by user {facts.identity.uid}: '{closed}' is closed to it",
                "change its mode in the builder image, or copy it with chown",
            )
    if loader is not None:
        yield from _notes(facts, loader, loaded, said)


def _because(facts: Facts, missing: Missing) -> str:
    """Return more on a library that is not found: what is in the way, or where else it lies."""
    if missing.reason:
        return f": {missing.reason}"
    if (lies := next(_lying(facts, missing.name), None)) is not None:
        return f": it lies at '{lies}', where the loader does not look"
    return ""


def _lying(facts: Facts, name: str) -> Iterator[str]:
    """Yield where a file of that name lies, in folders that hold libraries elsewhere."""
    base = posixpath.basename(name)
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(facts.view.image.platform.architecture, "x86_64")
    for folder in ("/usr/local/lib", "/usr/local/lib64", "/opt/lib", f"/usr/local/lib/{machine}-linux-gnu", "/app/lib",
                   "/app", f"/usr/lib/{machine}-linux-gnu", "/usr/lib64", "/usr/lib"):  # fmt: skip
        if facts.view.file(f"{folder}/{base}") is not None:
            yield f"{folder}/{base}"


def from_builder(facts: Facts, missing: Missing) -> str:
    """Return what to do about a library that is not found: where the builder image has it, or what else helps."""
    if (lies := next(_lying(facts, missing.name), None)) is not None and not missing.reason:
        return f"add to spec.runtime.env: LD_LIBRARY_PATH: '{posixpath.dirname(lies)}'"
    if facts.builder is None:
        return f"copy '{missing.name}' from the image that the program was built in"
    where = in_builder(facts, missing.name, missing.parent)
    return copied(where) if where is not None else "the builder image has it nowhere either: install it there first"


def in_builder(facts: Facts, name: str, asking: Loaded) -> str | None:
    """Return where the builder image's own loader would find a library, None where it does not."""
    if facts.builder is None:
        return None
    from runtimeimg.check.loader.objects import Objects

    interpreters = [item for item in (asking.dynamic.interpreter, *_LOADERS) if item]
    for path in interpreters:
        file = facts.builder.file(path)
        if file is None:
            continue
        loader = Glibc(Objects(facts.builder), file, env=facts.builder.image.config.env)
        return next((at for at in loader.search(name, asking, asking) if facts.builder.file(at) is not None), None)
    return None


_LOADERS = ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1", "/lib/ld-linux.so.2", "/lib/ld64.so.1",
            "/lib/ld-linux-armhf.so.3", "/lib64/ld64.so.2", "/lib/ld-linux-riscv64-lp64d.so.1")  # fmt: skip


def _versions(facts: Facts, loaded: Closure, said: set[tuple[str, str]], severity: Severity | None) -> Findings:
    """Yield versions that a library is asked for and does not define; one that defines none is not held to it."""
    by_name = {name: item for item in loaded.objects for name in (item.dynamic.soname, item.name) if name}
    for item in loaded.objects:
        for name, versions in item.dynamic.requires.items():
            library = by_name.get(name)
            if library is None or not library.dynamic.defines:
                continue
            lacking = [version for version in versions if version not in library.dynamic.defines]
            if lacking and ("version", f"{item.file.path} {name}") not in said:
                said.add(("version", f"{item.file.path} {name}"))
                yield facts.found(
                    rules.VERSION_MISSING,
                    item.file.path,
                    f"'{item.file.path}' needs {', '.join(lacking[:_LISTED])} of '{name}', which '{library.at}' does "
                    f"not define: it has up to {_highest(library.dynamic.defines, lacking[0])}",
                    "choose a base at least as new as the image that it was built in",
                    severity=severity,
                )


def _highest(defines: Sequence[str], like: str) -> str:
    """Return the newest version of the same family."""
    family = like.partition("_")[0] + "_"
    same = [item for item in defines if item.startswith(family) and item[len(family) :][:1].isdigit()]
    return max(same, key=lambda text: [int(part) for part in re.findall(r"\d+", text)], default="none")


def _levels(facts: Facts, several: Iterable[tuple[str, Dynamic]], said: set[tuple[str, str]]) -> Findings:
    variant = facts.view.image.platform.variant or ""
    has = int(variant[1]) if re.fullmatch(r"v[1-4]", variant) else 1
    for path, dynamic in several:
        if dynamic.isa_needed > has and "glibc-hwcaps" not in path and ("level", path) not in said:
            said.add(("level", path))
            yield facts.found(
                rules.CPU_LEVEL,
                path,
                f"'{path}' needs x86-64-v{dynamic.isa_needed}; the image is for {facts.view.image.platform}",
                f"say so: --platform linux/amd64/v{dynamic.isa_needed}",
            )


def _notes(facts: Facts, loader: Loader, loaded: Closure, said: set[tuple[str, str]]) -> Findings:
    """Yield libraries that files say they load by themselves, and that are not there."""
    there = {name for item in loaded.objects for name in (item.dynamic.soname, item.name)}
    degrees = {"required": Severity.WARNING, "recommended": Severity.INFO, "suggested": Severity.INFO}
    for item in loaded.objects:
        for note in item.dynamic.dlopen:
            if any(
                name in there or not isinstance(loader.find(name, item, loaded.program), str) for name in note.sonames
            ):
                continue
            if ("note", note.sonames[0]) in said:
                continue
            said.add(("note", note.sonames[0]))
            for_what = f" for {note.feature}" if note.feature else ""
            missing = Missing(name=note.sonames[0], parent=item)
            yield facts.found(
                rules.LOADED_LATER,
                item.file.path,
                f"'{item.file.path}' loads '{note.sonames[0]}'{for_what} by itself ({note.priority}), which is nowhere",
                from_builder(facts, missing),
                severity=degrees[note.priority],
            )
