"""Where a step's result goes: to a registry, or into the output directory from which the platform pushes it."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from runtimeimg import provenance as kept
from runtimeimg import stamp as stamping
from runtimeimg.build import base_facts, index_of
from runtimeimg.builders import BuildRequest, load_builder
from runtimeimg.errors import NotFoundError, RemoteError, RuntimeimgError, TransientError, UsageError
from runtimeimg.image import Image, ImageIndex
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
class Used:
    """An image of a registry that went in: its repository, and the digest of its manifest or index."""

    repository: str
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was made: its name, the digest of its manifest or index, the bytes of configs and layers as stored.

    `inputs` are `base` and `builder`, as far as they were in registries.
    """

    url: str
    digest: Digest
    size: int
    inputs: Mapping[str, Used] = field(default_factory=dict)

    @property
    def repository(self) -> str:
        """The name without the tag."""
        return Reference.parse(self.url).name


def compose(
    prepared: Prepared,
    target: Target,
    stores: StoreOptions,
    *,
    options: Mapping[str, str],
    cache: Path | None = None,
) -> Outcome:
    """Compose the image natively, stamp it and deliver it; `options` and `cache` are the native builder's."""
    if prepared.plan.run:
        raise UsageError(
            f"{prepared.loaded.place(prepared.plan.run[0].origin)}: the image is composed here, and nothing is run",
            hint="drop the command, or use a strategy that was amended for another builder (buildah, kaniko, buildkit)",
        )
    request = BuildRequest(
        plan=prepared.pinned,
        stores=stores,
        workspace=prepared.workspace,
        place=prepared.loaded.place,
        options=options,
        cache_dir=cache,
    )
    builder = load_builder("native")
    builder.check(request)
    with contextlib.ExitStack() as stack:
        images = [
            stack.enter_context(builder.build(replace(request, platform=platform))) for platform in prepared.platforms
        ]
        return deliver(images, prepared, target, stores)


def deliver(images: Sequence[Image], prepared: Prepared, target: Target, stores: StoreOptions) -> Outcome:
    """Keep the provenance, stamp the images and write them: an error before the very last request leaves no image.

    Those of several platforms go out as an index. The provenance is pushed before the image that names it in a label,
    and once more as an artifact about it.
    """
    document = kept.Provenance(
        dockerfile=dockerfile_of(prepared),
        # What the image is called has no part in it: the same inputs give the same bytes under every name.
        plan=kept.plan_to_json(replace(prepared.plan, name=None, outputs=()), prepared.digests),
    )
    label: Digest | None = None
    if target.provenance:
        with _or_not_kept(target.stores):
            label = kept.keep(target.image, document, images, target.stores)
    stamped = [_stamped(image, prepared, label, stores) for image in images]
    result = stamped[0] if len(stamped) == 1 else index_of(stamped, prepared.plan)
    top = (result.index if isinstance(result, ImageIndex) else result.to_manifest()).descriptor
    if label is not None:
        with _or_not_kept(target.stores):
            kept.push(target.image, top, document, target.stores)
    if target.directory is None:
        open_destination(Location(transport="docker", reference=target.image), target.stores).write(result)
        target.stores.progress.line(f"pushed {target.image} ({top.digest})")
    else:
        replace_image(target.directory, result, target.stores)
        where = f"the output directory '{target.directory}', from where it is pushed as {target.image}"
        target.stores.progress.line(f"wrote {top.digest} into {where}")
    blobs = [blob for image in stamped for blob in (image.to_manifest().config, *image.to_manifest().layers)]
    size = sum({blob.digest: blob.size for blob in blobs}.values())
    return Outcome(url=str(target.image), digest=top.digest, size=size, inputs=_inputs(prepared))


def _inputs(prepared: Prepared) -> dict[str, Used]:
    found = {}
    for role, location in (("base", prepared.plan.base), ("builder", prepared.plan.builder)):
        digest = prepared.digests.get(str(location))
        if location is not None and location.reference is not None and digest is not None:
            found[role] = Used(repository=location.reference.name, digest=digest)
    return found


def _stamped(image: Image, prepared: Prepared, kept_as: Digest | None, stores: StoreOptions) -> Image:
    base = base_facts(prepared.pinned, stores, platform=image.platform)
    image = stamping.apply(image, stamping.stamp_of(prepared.plan, base_digest=base.digest))
    # A base may have one of its own, which is not this image's.
    labels = {key: value for key, value in image.config.labels.items() if key != kept.LABEL}
    labels |= {kept.LABEL: str(kept_as)} if kept_as is not None else {}
    image = image.with_config(image.config.with_config(Labels=labels or None))
    return replace(image, manifest=image.to_manifest())


@contextlib.contextmanager
def _or_not_kept(stores: StoreOptions) -> Iterator[None]:
    """Say that there will be no provenance where it cannot be pushed.

    Not every registry takes artifacts; one that takes nothing at all will not take the image either.
    """
    try:
        yield
    except (NotFoundError, RemoteError, TransientError) as error:
        stores.progress.line(f"provenance is not kept: {error}")


def dockerfile_of(prepared: Prepared) -> str:
    """Return the Dockerfile.runtime of what is built, its images by digest."""
    return render_dockerfile(nameable(prepared.pinned))


def replace_image(directory: Path, image: Image | ImageIndex, stores: StoreOptions) -> None:
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
