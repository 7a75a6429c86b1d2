"""`bundle check`: what is wrong with a bundle by itself, and what its runtime does not vouch for; as findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from runtimeimg.budgets import MAX_DOCUMENT
from runtimeimg.bundle import configshape, layerfiles, refusals
from runtimeimg.bundle.features import Runtime
from runtimeimg.bundle.paths import at, normal
from runtimeimg.bundle.rules import LINK, PROC, RECORDED, ROOTFS, SCHEMA, SETUID, SILENT, UNKNOWN, UNSAFE, WORKDIR
from runtimeimg.bundle.setuid import setuid_files
from runtimeimg.bundle.values import BundleOptions, Files
from runtimeimg.bundle.vouching import unvouched
from runtimeimg.bundle.writing import CONFIG, plan_config
from runtimeimg.cache import Cache
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.findings import Finding, Place, Rule
from runtimeimg.hostfile import read_file
from runtimeimg.image import Image
from runtimeimg.oci.documents import load_json
from runtimeimg.unpack import Root

_REFUSED: Mapping[str, Rule] = {"links": LINK, "workdir": WORKDIR, "annotations": UNSAFE, "setuid": SETUID}
_MOST = 20
"""Setuid files of a bundle that are named."""


Checked = tuple[Mapping[str, Any], tuple[Finding, ...]]
"""A config.json, and what is to be said of it."""


def check_folder(folder: Path, runtime: Runtime) -> Checked:
    """Return the config.json of a bundle in a folder, and the findings; NotFoundError where there is none."""
    config = load_json(read_file(folder / CONFIG, MAX_DOCUMENT), f"'{folder / CONFIG}'")
    artifact = str(folder / CONFIG)
    with ExitStack() as stack:
        rootfs = _rootfs(folder, config)
        files = stack.enter_context(Root(rootfs)) if rootfs is not None else None
        found = [*_of_config(config, files, runtime, artifact)]
        if rootfs is None:
            found.append(_finding(ROOTFS, artifact, "root.path", "there is no directory there"))
        elif at(config, "linux.uidMappings") and _others_enter(folder):
            found += [
                _finding(SETUID, artifact, path, "it is setuid or setgid, and others may enter the bundle's folder")
                for path in list(setuid_files(rootfs))[:_MOST]
            ]
    return config, tuple(found)


def check_image(image: Image, runtime: Runtime, options: BundleOptions, cache: Cache | None = None) -> Checked:
    """Return the config.json that an image would have for a runtime, and the findings; nothing is unpacked for it."""
    from dataclasses import replace

    from runtimeimg.bundle.values import ALLOWED

    allowing = replace(options, runtime=runtime, allow=frozenset(ALLOWED))
    with layerfiles.opened(image, cache) as files:
        config = plan_config(image, files, allowing).config
        return config, tuple(_of_config(config, files, runtime, image.name))


def _of_config(config: dict[str, Any], files: Files | None, runtime: Runtime, artifact: str) -> Iterator[Finding]:
    wrong = configshape.check(config)
    for item in wrong:
        yield _finding(UNKNOWN if item.unknown else SCHEMA, artifact, item.path, item.message)
    yield from _told(runtime, artifact)
    for field in unvouched(config, runtime):
        yield _finding(field.rule, artifact, field.path, field.message, field.fix)
    if any(not item.unknown for item in wrong):
        return  # what follows reads fields, which must be what they should
    for number, mount in enumerate(config.get("mounts") or ()):
        if _hides_proc(mount):
            place, kind = f"mounts[{number}].destination", mount.get("type", "")
            yield _finding(PROC, artifact, place, f"'{kind}' is mounted at '{mount['destination']}'")
    if files is not None:
        for refusal in refusals.refused(config, config.get("annotations") or {}, files, runtime):
            yield _finding(_REFUSED[refusal.name], artifact, refusal.where, refusal.message, refusal.fix)


def _hides_proc(mount: Mapping[str, Any]) -> bool:
    place = normal(mount["destination"])
    if place.startswith("/proc/"):
        return True
    return place == "/proc" and mount.get("type") != "proc" and mount.get("source") != "/proc"


def _told(runtime: Runtime, artifact: str) -> Iterator[Finding]:
    """Yield what there is to say of a runtime that does not tell its features."""
    if runtime.features is None:
        yield _finding(
            SILENT,
            artifact,
            "",
            f"{runtime.title} cannot tell its features, and nothing is on record of this version: nothing vouches for "
            "any field",
            "try the bundle out, or check it against the features document of a newer version",
        )
    elif not runtime.told:
        yield _finding(
            RECORDED,
            artifact,
            "",
            f"{runtime.title} cannot tell its features; what is said here of it is from our record of that version",
        )


def _rootfs(folder: Path, config: Mapping[str, Any]) -> Path | None:
    """Return the directory that root.path names, None where there is none."""
    root = config.get("root")
    path = root.get("path") if isinstance(root, Mapping) else None
    if not isinstance(path, str) or "\0" in path:
        return None
    found = folder / path
    return found if found.is_dir() else None


def _others_enter(folder: Path) -> bool:
    try:
        return bool(folder.stat().st_mode & 0o077)
    except OSError as error:
        raise InvalidDocumentError(f"bundle '{folder}' cannot be looked at: {error.strerror}") from error


def _finding(rule: Rule, artifact: str, inside: str, message: str, fix: str = "") -> Finding:
    return Finding(rule=rule, where=Place(artifact=artifact, inside=inside), message=message, fix=fix)
