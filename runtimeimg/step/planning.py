"""The plan of a step: names looked up in registries, every image by digest, earlier steps' image where they left it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtimeimg.build import common_platforms
from runtimeimg.errors import NotFoundError, UsageError
from runtimeimg.image import Image
from runtimeimg.image.values import platforms_in
from runtimeimg.oci import Digest, Location, Platform, Reference
from runtimeimg.plan import BuildPlan, Facts, resolve
from runtimeimg.progress import Progress
from runtimeimg.spec import LoadedSpec
from runtimeimg.step.inputs import Inputs, read_inputs
from runtimeimg.stores import StoreOptions, open_image
from runtimeimg.strategy.data import from_item
from runtimeimg.strategy.steps import BUILT_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The plan of a step: `plan` as written, `pinned` with every image by digest, and those digests by name.

    `platforms` are those that it is carried out for.
    """

    loaded: LoadedSpec
    document: Mapping[str, Any]
    plan: BuildPlan
    pinned: BuildPlan
    digests: Mapping[str, Digest]
    workspace: Path
    platforms: tuple[Platform, ...] = ()


def prepare(inputs: Inputs, stores: StoreOptions, *, scratch: Path) -> Prepared:
    """Return the plan of what was given; `scratch` is an empty folder to stand for a source that is not there.

    The builder image is the one that the parameter names, else what earlier steps left in the output directory, else
    the spec's, else what they left in a registry.
    """
    loaded, document = read_inputs(inputs)
    if loaded.spec.spec.variants:
        raise UsageError(
            f"{loaded.place('spec.variants')}: a step makes one image, not an index of variants",
            hint="build variants with 'runtimeimg build', or give each a Build of its own",
        )
    called = inputs.naming.name
    named = from_item(inputs.builder_image, called("builder-image"))
    found = None if named or not inputs.built_directory else built_image(Path(inputs.built_directory))
    builder = named or (str(found) if found else "") or loaded.spec.builder_image or inputs.built_image
    if not builder and any(item.image is None and not item.workspace for item in loaded.spec.runtime.directories):
        raise UsageError(
            "the image to copy from is not known: no earlier step left one, and nothing names one",
            hint=f"set the parameter {called('builder-image')}, or spec.builder.image",
        )
    facts = Facts(builder_image=builder or None, output_images=(inputs.output_image,))
    plan = in_registry(resolve(loaded.spec, facts), found)
    pinned, digests, there = pin(plan, stores)
    # Shipwright does not promise that the source's folder is there; a spec may well do without.
    workspace = Path(inputs.source) if inputs.source and Path(inputs.source).is_dir() else scratch
    return Prepared(
        loaded=loaded,
        document=document,
        plan=plan,
        pinned=pinned,
        digests=digests,
        workspace=workspace.resolve(),
        platforms=_platforms(inputs, there, stores.progress),
    )


def _platforms(
    inputs: Inputs, there: Mapping[Location, tuple[Platform, ...]], progress: Progress
) -> tuple[Platform, ...]:
    """Return the platforms that were asked for; all that the images share where none were, and say what is left out."""
    shared = common_platforms(there)
    name = inputs.naming.name("platforms")
    text = from_item(inputs.platforms, name)
    if text not in {"", "all"}:
        wanted = tuple(dict.fromkeys(Platform.parse(item) for item in text.split(",")))
        for platform in wanted:
            if not any(item.matches(platform) for item in shared):
                raise NotFoundError(
                    f"platform {platform} of the parameter {name} is not among those of base and builder image",
                    hint=f"they share {', '.join(map(str, shared))}",
                )
        return wanted
    for location, platforms in there.items():
        missing = [str(item) for item in platforms if not any(item.matches(one) for one in shared)]
        if missing:
            progress.line(f"left out: {', '.join(missing)} of '{location}', which not all images are for")
    if len(shared) > 1:
        progress.line(f"platforms: {', '.join(map(str, shared))}")
    return shared


def built_image(directory: Path) -> Location | None:
    """Return the image that earlier steps left in the output directory: a layout or a single tarball; None if none."""
    if (directory / "index.json").is_file():
        return Location(transport="oci", path=str(directory))
    tarballs = sorted(directory.glob("*.tar")) if directory.is_dir() else []
    if not tarballs:
        return None
    if len(tarballs) > 1:
        raise UsageError(f"output directory '{directory}' holds {len(tarballs)} tarballs; one image is wanted")
    return Location(transport=archive_transport(tarballs[0]), path=str(tarballs[0]))


def archive_transport(path: Path) -> str:
    """Return `oci-archive` or `docker-archive`, by what the tarball holds."""
    import tarfile

    try:
        with tarfile.open(path) as archive:
            names = {name.removeprefix("./") for name in archive.getnames()}
    except (tarfile.TarError, OSError) as error:
        raise UsageError(f"tarball '{path}' cannot be read: {error}") from None
    return "oci-archive" if "oci-layout" in names else "docker-archive"


def in_registry(plan: BuildPlan, found: Location | None) -> BuildPlan:
    """Return the plan with all names looked up in registries: a pod has no Engine.

    Raises UsageError for files and folders: a spec comes with somebody's source, and the pod holds the logins and
    tokens of others. Only `found`, what earlier steps left, is read from there.
    """

    def fix(location: Location) -> Location:
        if location == found:
            return location
        if location.transport not in {None, "docker"} or location.reference is None:
            raise UsageError(f"image '{location}' is not in a registry, and a step reads no other place")
        return Location(transport="docker", reference=location.reference)

    return _mapped(plan, fix)


def pin(
    plan: BuildPlan, stores: StoreOptions, *, known: Mapping[str, Digest] | None = None
) -> tuple[BuildPlan, Mapping[str, Digest], Mapping[Location, tuple[Platform, ...]]]:
    """Return the plan with its images by digest, the digests by the names that they had, and what each is for.

    Images whose digests are `known` are not asked for.
    """
    digests: dict[str, Digest] = dict(known or {})
    platforms = {}
    for location in dict.fromkeys(item for item in (plan.base, *plan.images) if item is not None):
        if str(location) in digests:
            continue
        found = open_image(location, stores)
        document = found.manifest if isinstance(found, Image) else found.index
        if document is not None:
            digests[str(location)] = document.digest
        platforms[location] = platforms_in(found)

    def by_digest(location: Location) -> Location:
        digest = digests.get(str(location))
        if location.reference is None or digest is None:
            return location
        return replace(location, reference=replace(location.reference, tag=None, digest=digest))

    return _mapped(plan, by_digest), digests, platforms


def nameable(plan: BuildPlan) -> BuildPlan:
    """Return the plan with a name for the builder image that lies in a folder, which a Dockerfile cannot say."""
    stand_in = Location(transport="docker", reference=Reference.parse(BUILT_NAME))
    return _mapped(plan, lambda location: location if location.reference is not None else stand_in)


def _mapped(plan: BuildPlan, change: Callable[[Location], Location]) -> BuildPlan:
    def each(location: Location | None) -> Location | None:
        return None if location is None else change(location)

    copies = tuple(replace(copy, image=each(copy.image)) for copy in plan.copies)
    return replace(plan, base=each(plan.base), builder=each(plan.builder), copies=copies)
