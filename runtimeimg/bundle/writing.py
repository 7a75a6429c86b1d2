"""Bundles written: a folder with rootfs and config.json that is there whole or not at all (runtime-spec, bundle.md)."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

from runtimeimg import remains
from runtimeimg.account import Account
from runtimeimg.bundle import assembly, configshape, layerfiles, refusals
from runtimeimg.bundle.conversion import convert
from runtimeimg.bundle.paths import normal
from runtimeimg.bundle.values import Bundle, BundleOptions, Files
from runtimeimg.cache import Cache
from runtimeimg.errors import NotFoundError, UsageError
from runtimeimg.hostfile import explained
from runtimeimg.image import Image
from runtimeimg.progress import Progress
from runtimeimg.stores.files import write_atomically
from runtimeimg.unpack import Root, unpack_into

CONFIG, ROOTFS = "config.json", "rootfs"


def write(
    image: Image,
    target: Path,
    options: BundleOptions | None = None,
    *,
    progress: Progress | None = None,
    cache: Cache | None = None,
    account: Account | None = None,
) -> Bundle:
    """Write the bundle of an image to the folder `target`, which must not be there unless it is empty.

    With `config_only` it is only config.json that is written, into a folder that may be there and have others. Raises
    UsageError when something is there already, what `plan_config` raises, and errors of the layers.
    """
    options = options or BundleOptions()
    _check_target(target, options)
    if options.config_only:
        return _write_config(image, target, options, cache, account)
    _check_early(image, options)
    with explained(target), remains.folder_beside(target.parent) as made:
        made.chmod(0o700)
        notes = _unpack(image, made / ROOTFS, options, progress, account)
        with Root(made / ROOTFS) as root:
            found = plan_config(image, root, options)
        (made / CONFIG).write_bytes(to_bytes(found.config))
        made.rename(target)
    return Bundle(path=target, config=found.config, rootfs=target / ROOTFS, notes=(*notes, *found.notes))


def plan_config(image: Image, files: Files, options: BundleOptions) -> assembly.Assembled:
    """Return the config.json of an image, checked; see `assembly.assemble` and `refusals`."""
    found = assembly.assemble(image, files, options)
    assembly.finish(found.config, options)
    for item in configshape.check(found.config):
        raise UsageError(f"config.json: {item.path}: {item.message}")
    refused = refusals.refused(found.config, image.config.labels, files, options.runtime)
    refusals.check(chain(refusals.volumes(_volumes(image, options)), refused), options.allow)
    return found


def _volumes(image: Image, options: BundleOptions) -> list[str]:
    """Return the image's volumes, but those in whose place the caller mounts something."""
    own = {mount.destination for mount in options.mounts}
    return [path for path in image.config.names("Volumes") if normal(path) not in own]


def to_bytes(config: dict[str, Any]) -> bytes:
    """Return a config.json as it is written: for people to read, and the same bytes for the same values."""
    return (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def _write_config(
    image: Image, target: Path, options: BundleOptions, cache: Cache | None, account: Account | None
) -> Bundle:
    with layerfiles.opened(image, cache, account) as files:
        found = plan_config(image, files, options)
    with explained(target):
        target.mkdir(mode=0o700, exist_ok=True)
    write_atomically(target / CONFIG, to_bytes(found.config))
    rootfs = target / ROOTFS
    return Bundle(
        path=target, config=found.config, rootfs=rootfs if rootfs.is_dir() else None, notes=tuple(found.notes)
    )


def _check_target(target: Path, options: BundleOptions) -> None:
    """Raise what keeps a bundle from being written, before anything is read."""
    if not target.parent.is_dir():
        raise NotFoundError(f"bundle '{target}' cannot be written: folder '{target.parent}' does not exist")
    if options.config_only:
        if (target / CONFIG).is_symlink() or (target / CONFIG).exists():
            raise UsageError(f"bundle '{target}' has a config.json already", hint="remove it, or name another folder")
        return
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise UsageError(
            f"bundle '{target}' exists already", hint="name a folder that is new or empty; nothing there is touched"
        )


class _NoFiles:
    """No files at all: for what can be said before anything is unpacked."""

    def lookup(self, path: str | bytes, *, follow: bool = False) -> None:
        """There is nothing."""

    def read(self, path: str | bytes, limit: int) -> None:
        """There is nothing."""


def _check_early(image: Image, options: BundleOptions) -> None:
    """Raise what is wrong whatever files there are, so that nothing is fetched for it."""
    from dataclasses import replace

    found = convert(image, _NoFiles(), replace(assembly.asked(options), user=True))
    labels = image.config.labels
    refusals.check(refusals.acted_upon({"annotations": found.annotations}, labels, options.runtime), options.allow)


def _unpack(
    image: Image, rootfs: Path, options: BundleOptions, progress: Progress | None, account: Account | None
) -> list[str]:
    """Unpack an image and return what could not be kept, for people."""
    rootless = options.rootless is not None
    done = unpack_into(image, rootfs, rootless=rootless, progress=progress, account=account)
    if rootless:
        refusals.check(refusals.setuid(rootfs), options.allow)
    return [f"left out of the rootfs: {what} ({count})" for what, count in sorted(done.left_out.items())]
