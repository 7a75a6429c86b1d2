"""What an image may not have in a bundle unless the caller allows it, each refused by name.

These are the ways by which images have got hold of the host: runtimes that mounted, masked or changed into what a link
in the rootfs led to (CVE-2024-21626, CVE-2025-31133, CVE-2025-52565, CVE-2026-41579), that put volumes over /proc
(CVE-2019-16884), and that acted upon labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtimeimg.bundle import places
from runtimeimg.bundle.features import Runtime
from runtimeimg.bundle.paths import normal
from runtimeimg.bundle.setuid import setuid_files
from runtimeimg.bundle.values import Files
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.text import plain

KERNEL = ("/dev", "/proc", "/sys")
UNSAFE = ("bundle", "io.kubernetes.cri.container-type", "org.criu.config", "org.systemd.property.", "run.oci.")
"""Annotations that runc and crun are known to act upon; one that ends with a dot is all that begin with it."""
_MOST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Something that is refused: the name that allows it, where it is in config.json, what it is, what to do."""

    name: str
    where: str
    message: str
    fix: str = ""


def refused(
    config: Mapping[str, Any], labels: Mapping[str, str], files: Files, runtime: Runtime | None
) -> Iterator[Refusal]:
    """Yield what is refused of a config.json of an image with these labels and files."""
    yield from _links(config, files)
    yield from _working_dir(config, files)
    yield from acted_upon(config, labels, runtime)


def check(found: Iterator[Refusal], allow: frozenset[str]) -> None:
    """Raise InvalidDocumentError for what is refused and not allowed, the first few of each kind."""
    left = [item for item in found if item.name not in allow]
    if not left:
        return
    names = list(dict.fromkeys(item.name for item in left))
    lines = []
    for name in names:
        messages = [item.message for item in left if item.name == name]
        lines += messages[:_MOST]
        if len(messages) > _MOST:
            lines.append(f"and {len(messages) - _MOST} more of the kind")
    fixes = dict.fromkeys(item.fix for item in left if item.fix)
    allowing = " ".join(f"--allow {name}" for name in names)
    hint = "; ".join([*list(fixes)[:_MOST], f"where it is meant so: {allowing}"])
    raise InvalidDocumentError("; ".join(lines), hint=hint)


def unsafe_names(runtime: Runtime | None) -> tuple[str, ...]:
    """Return the annotations that a runtime acts upon: what it says itself, else what is known of runtimes."""
    said = runtime.features.names("potentiallyUnsafeConfigAnnotations") if runtime and runtime.features else None
    return UNSAFE if said is None else tuple(sorted(said))


def is_unsafe(key: str, names: tuple[str, ...]) -> bool:
    """Tell whether an annotation is among such names (runtime-spec, features.md)."""
    return any(key.startswith(name) if name.endswith(".") else key == name for name in names)


def acted_upon(config: Mapping[str, Any], labels: Mapping[str, str], runtime: Runtime | None) -> Iterator[Refusal]:
    """Yield the labels that the runtime would act upon."""
    names = unsafe_names(runtime)
    title = runtime.title if runtime and runtime.features else "runc or crun"
    there = config.get("annotations") or {}
    for key, value in labels.items():
        if there.get(key) == value and is_unsafe(key, names):
            yield Refusal(
                name="annotations",
                where=f"annotations[{key}]",
                message=f"label '{plain(key)[:120]}' of the image would be acted upon by {title}",
            )


def volumes(paths: Iterable[str]) -> Iterator[Refusal]:
    """Yield the volumes of an image that would take the place of the kernel's own files."""
    for path in paths:
        plainly = normal(path)
        if any(plainly == item or plainly.startswith(f"{item}/") for item in KERNEL):
            yield Refusal(
                name="volumes",
                where="mounts",
                message=f"volume '{plain(path)}' of the image would hide files of the kernel",
                fix=f"mount something else there: --mount destination={plain(plainly)}",
            )


def setuid(rootfs: Path) -> Iterator[Refusal]:
    """Yield the setuid and setgid files of a rootless bundle."""
    for path in setuid_files(rootfs):
        yield Refusal(
            name="setuid",
            where=path,
            message=f"'{plain(path)}' is setuid or setgid, and all files of a rootless bundle are yours",
            fix="nobody else may enter the bundle's folder then, and the process gains nothing by them",
        )


def _links(config: Mapping[str, Any], files: Files) -> Iterator[Refusal]:
    """Yield the links on the ways of what is mounted, masked or made read-only, each once."""
    told: set[str] = set()
    for where, path in dict.fromkeys(_touched(config)):
        found = places.led(path, files)
        if found.link is not None and found.link not in told:
            told.add(found.link)
            what = "is" if found.link == path else f"goes through '{plain(found.link)}',"
            yield Refusal(
                name="links",
                where=where,
                message=f"{_subject(where)} '{plain(path)}' {what} a link in the rootfs, to '{plain(found.target)}'",
                fix=f"mount at '{plain(found.path)}' itself" if where.startswith("mounts") else "",
            )


def _touched(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what the runtime will mount upon, mask or make read-only."""
    mounts = [str(item.get("destination")) for item in config.get("mounts") or ()]
    yield from ((f"mounts[{number}].destination", path) for number, path in enumerate(mounts))
    yield from (("", path) for path in KERNEL if path not in mounts)
    linux = config.get("linux") or {}
    for key in ("maskedPaths", "readonlyPaths"):
        yield from ((f"linux.{key}[{number}]", path) for number, path in enumerate(linux.get(key) or ()))


def _subject(where: str) -> str:
    if where.startswith("mounts"):
        return "mount target"
    return {"linux.maskedPaths": "masked path", "linux.readonlyPaths": "read-only path"}.get(
        where.partition("[")[0], "folder"
    )


def _working_dir(config: Mapping[str, Any], files: Files) -> Iterator[Refusal]:
    path = (config.get("process") or {}).get("cwd")
    if not isinstance(path, str):
        return
    end = places.led(path, files).path
    if end.startswith("/proc/"):
        via = "" if end == path.rstrip("/") else f", which is '{plain(end)}',"
        yield Refusal(
            name="workdir",
            where="process.cwd",
            message=f"working directory '{plain(path)}'{via} is below /proc",
            fix="give another: --set process.cwd=/",
        )
