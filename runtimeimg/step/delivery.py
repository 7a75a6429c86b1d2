"""Where a step's result goes: to a registry, or into the output directory from which the platform pushes it."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from runtimeimg import provenance as kept
from runtimeimg import stamp as stamping
from runtimeimg.build import base_facts
from runtimeimg.builders import BuildRequest, load_builder
from runtimeimg.errors import NotFoundError, RemoteError, RuntimeimgError, TransientError
from runtimeimg.image import Image
from runtimeimg.oci import Digest, Location, Reference
from runtimeimg.render import render_dockerfile
from runtimeimg.step.planning import Prepared, nameable
from runtimeimg.stores import StoreOptions, open_destination

_LAYOUT = ("blobs", "index.json", "oci-layout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a result goes: into `directory` as an OCI layout when there is one, else to the registry as `image`.

    `stores` says how that registry is reached. With `provenance` the Dockerfile and the plan are pushed there too.
    """

    image: Reference
    stores: StoreOptions
    directory: Path | None = None
    provenance: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was made: its name, the digest of its manifest, and the bytes of its config and layers as stored."""

    url: str
    digest: Digest
    size: int


def compose(prepared: Prepared, target: Target, stores: StoreOptions, *, options: Mapping[str, str]) -> Outcome:
    """Compose the image natively, stamp it and deliver it; `options` are the native builder's."""
    request = BuildRequest(
        plan=prepared.pinned,
        stores=stores,
        workspace=prepared.workspace,
        place=prepared.loaded.place,
        options=options,
    )
    builder = load_builder("native")
    builder.check(request)
    with builder.build(request) as image:
        return deliver(image, prepared, target, stores)


def deliver(image: Image, prepared: Prepared, target: Target, stores: StoreOptions) -> Outcome:
    """Stamp the image, keep its provenance, then write it: an error before the very last request leaves no image."""
    base = base_facts(prepared.pinned, stores, platform=image.platform)
    image = stamping.apply(image, stamping.stamp_of(prepared.plan, base_digest=base.digest))
    manifest = image.to_manifest()
    image = replace(image, manifest=manifest)
    if target.provenance:
        document = kept.Provenance(
            dockerfile=dockerfile_of(prepared), plan=kept.plan_to_json(prepared.plan, prepared.digests)
        )
        try:
            kept.push(target.image, manifest.descriptor, document, target.stores)
        except (NotFoundError, RemoteError, TransientError) as error:
            # Not every registry takes artifacts; one that takes nothing at all will not take the image either.
            target.stores.progress.line(f"provenance is not kept: {error}")
    if target.directory is None:
        open_destination(Location(transport="docker", reference=target.image), target.stores).write(image)
    else:
        replace_image(target.directory, image, target.stores)
    size = manifest.config.size + sum(layer.size for layer in manifest.layers)
    return Outcome(url=str(target.image), digest=manifest.digest, size=size)


def dockerfile_of(prepared: Prepared) -> str:
    """Return the Dockerfile.runtime of what is built, its images by digest."""
    return render_dockerfile(nameable(prepared.pinned))


def replace_image(directory: Path, image: Image, stores: StoreOptions) -> None:
    """Write `image` as the only one of the OCI layout in `directory`, in place of the layout or tarball there.

    The new layout is complete before the old is touched. Earlier steps may run as another user: what they wrote can
    be renamed, as the directory itself is open to all, but often not removed. Whoever reads the directory looks at
    `index.json` first, so a folder that must stay beside it harms nobody.
    """
    mark = secrets.token_hex(4)
    new, old = directory / f".new-{mark}", directory / f".old-{mark}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        open_destination(Location(transport="oci", path=str(new)), stores).write(image)
        blobs = directory / "blobs"
        if blobs.exists():
            blobs.rename(old)
        for name in _LAYOUT:
            (new / name).replace(directory / name)
        for tarball in directory.glob("*.tar"):
            tarball.unlink()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RuntimeimgError(f"output directory '{directory}' cannot be written: {reason}") from error
    finally:
        for folder in (new, old):
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)
