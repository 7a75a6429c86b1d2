"""The build pipeline: plan, builder, stamp, destinations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from runtimeimg import stamp as stamping
from runtimeimg.builders import Builder, BuildRequest, load_builder
from runtimeimg.builders.chosen import with_chosen_images
from runtimeimg.builders.debugshell import check_debug_shell
from runtimeimg.cache import Cache
from runtimeimg.errors import NotFoundError, RemoteError, TransientError, UnavailableError, UsageError
from runtimeimg.image import Image, ImageIndex
from runtimeimg.image.compress import Compression
from runtimeimg.image.indexes import Entry, assembled, entry_of
from runtimeimg.image.values import REFERENCE_DIGEST, image_entries, platforms_in
from runtimeimg.oci import Digest, ImageConfig, Location, Platform, Reference
from runtimeimg.plan import BuildPlan
from runtimeimg.stores import StoreOptions, Written, open_destination, open_once, open_one
from runtimeimg.stores.copying import packed
from runtimeimg.stores.growing import TakesEarly
from runtimeimg.stores.missing import named

FILE_TRANSPORTS = ("oci", "oci-archive", "docker-archive")
ENGINE_TRANSPORTS = (None, "docker-daemon")


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFacts:
    """What is known of the base image: its config, and the digest of its manifest where it has one."""

    config: ImageConfig | None = None
    digest: Digest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is built of one plan: an image for each platform, and what their entries tell in an index.

    `name` is that of the variant, empty where the spec has none. Without `platforms` it is the request's.
    """

    request: BuildRequest
    builder: Builder
    platforms: tuple[Platform, ...] = ()
    name: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build made: the images in order, each with the name of its variant, and what each destination holds."""

    builder: str
    images: tuple[Image, ...]
    names: tuple[str, ...]
    written: tuple[Written, ...]


def build(
    request: BuildRequest,
    builder: Builder,
    destinations: Sequence[Location],
    *,
    platforms: Sequence[Platform] = (),
    graph_format: str = "runtimegraph",
) -> Built:
    """Build one plan for each platform, see `build_all`."""
    part = Part(request=request, builder=builder, platforms=tuple(platforms))
    return build_all([part], destinations, graph_format=graph_format)


def build_all(
    parts: Sequence[Part],
    destinations: Sequence[Location],
    *,
    graph_format: str = "runtimegraph",
    indexed: bool = False,
    look: Callable[[Part, Image], None] = lambda _part, _image: None,
) -> Built:
    """Build all parts, stamp the images and write them to every destination, tags last.

    Nothing is written before all images are built and `look` was called with each, and nothing is built before every
    destination was asked whether it can be written. Layers may be on their way to the first registry meanwhile; they
    are called off where that comes to nothing. Several images give an index, and with `indexed` one does, too. How
    things are stored and what they are called is as the first part says.
    """
    for part in parts:
        part.builder.check(part.request)
    first = parts[0].request
    targets = [open_destination(location, first.stores) for location in destinations]
    for target in targets:
        target.check()
    with ExitStack() as stack:
        remote = next((target for target in targets if isinstance(target, TakesEarly)), None)
        early = stack.enter_context(remote.early()) if remote is not None else None
        parts = [replace(part, request=replace(part.request, early=early)) for part in parts]
        made = [(part, image) for part in parts for image in images_of(part, stack, graph_format)]
        for part, image in made:
            look(part, image)
        alone = len(made) == 1 and not indexed
        for line in _shadowed(made):
            first.stores.progress.line(line)
        written = tuple(
            target.write(_packed(made, location, stack, alone=alone))
            for target, location in zip(targets, destinations, strict=True)
        )
    return Built(
        builder=", ".join(dict.fromkeys(part.builder.name for part in parts)),
        images=tuple(image for _, image in made),
        names=tuple(part.name for part, _ in made),
        written=written,
    )


def images_of(part: Part, stack: ExitStack, graph_format: str = "runtimegraph") -> Iterator[Image]:
    """Build a part for each of its platforms, stamped; the images can be read until `stack` is left."""
    request = part.request
    for platform in part.platforms or (request.platform,):
        asked = replace(request, plan=with_included(request, platform), platform=platform)
        check_debug_shell(asked)
        if part.builder.name != "native":
            asked = with_chosen_images(asked)
        image = stack.enter_context(part.builder.build(asked))
        base = base_facts(request.plan, request.stores, platform=platform)
        stamp = stamping.stamp_of(request.plan, base_digest=base.digest, graph_format=graph_format)
        image = stamping.apply(image, stamp)
        yield image.told_for(platform) if platform is not None else image


def with_included(request: BuildRequest, platform: Platform | None) -> BuildPlan:
    """Return a request's plan with copies for what it includes."""
    if not request.plan.include:
        return request.plan
    from runtimeimg.check.including import included

    cache = None if request.no_cache else Cache.open(request.cache_dir)
    return included(request.plan, platform, request.stores, cache)


def _packed(
    made: Sequence[tuple[Part, Image]], location: Location, stack: ExitStack, *, alone: bool
) -> Image | ImageIndex:
    """Return what is written to a destination: the only image, or an index of all."""
    request = made[0][0].request
    outputs = request.plan.outputs
    name = str(Reference.parse(outputs[0]).tagged) if outputs else request.plan.name or ""
    compression = Compression.parse(request.options.get("compression", "gzip"), request.options.get("level"))
    cache = None if request.no_cache else Cache.open(request.cache_dir)
    fit = [
        (part, stack.enter_context(packed(image, location, request.stores, compression, cache=cache)))
        for part, image in made
    ]
    if alone:
        return replace(fit[0][1], name=name) if outputs else fit[0][1]
    entries = [_entry(part, image) for part, image in fit]
    return assembled(entries, _shared([part.request.plan.annotations for part, _ in made]), name=name)


def _shadowed(made: Sequence[tuple[Part, Image]]) -> Iterator[str]:
    """Say which images nobody will ever choose: they tell what one before them tells."""
    first: dict[tuple[object, ...], str] = {}
    for part, image in made:
        told = (image.platform, *sorted(part.annotations.items()))
        name = part.name or str(image.platform)
        if told in first:
            yield f"note: '{name}' is never chosen: '{first[told]}' comes before it and tells the same"
        first.setdefault(told, name)


def _entry(part: Part, image: Image | ImageIndex) -> Entry:
    return entry_of(image).marked(None, part.annotations)


def _shared(maps: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return what all these maps hold alike."""
    return {key: value for key, value in maps[0].items() if all(other.get(key) == value for other in maps)}


def shared_platforms(plan: BuildPlan, options: StoreOptions) -> tuple[Platform, ...]:
    """Return the platforms that the base and every image that is copied from are for; see `common_platforms`."""
    there = {}
    for source in dict.fromkeys((plan.base, *plan.images)):
        if source is not None and source.transport != "dir":
            with named(plan.role(source), source):
                there[source] = platforms_in(open_once(source, options, exact=False))
    return common_platforms(there)


def common_platforms(there: Mapping[Location, Sequence[Platform]]) -> tuple[Platform, ...]:
    """Return the platforms that all these images are for, in the order of the first; of no image this machine's.

    NotFoundError lists what there is where they share none.
    """
    first, *others = there.values() or [(Platform.host(),)]
    shared = tuple(item for item in first if all(any(one.matches(item) for one in other) for other in others))
    if not shared:
        held = "; ".join(f"'{name}' is for {', '.join(map(str, found)) or 'none'}" for name, found in there.items())
        raise NotFoundError("base and builder image have no platform in common", hint=held)
    return shared


def index_of(images: Sequence[Image], plan: BuildPlan) -> ImageIndex:
    """Return an index of images for different platforms, in the order given."""
    return assembled([entry_of(image) for image in images], plan.annotations, name=plan.name or "")


def map_images(found: Image | ImageIndex, change: Callable[[Image], Image]) -> Image | ImageIndex:
    """Return `found` with `change` done to it, or to every image of an index.

    Other entries stay as they are, but for attestations of an image that changed: what they attest is not in it any
    more.
    """
    if isinstance(found, Image):
        return change(found)
    changed: dict[Digest, Image] = {}
    replaced: set[str] = set()
    entries = []
    for entry in found.index.manifests:
        child = found.open_manifest(entry) if entry in image_entries(found) else None
        if isinstance(child, Image):
            image = change(child)
            manifest = image.to_manifest()
            replaced |= {str(entry.digest)} - {str(manifest.digest)}
            changed[manifest.digest] = replace(image, manifest=manifest)
            entry = replace(manifest.descriptor, platform=entry.platform, annotations=entry.annotations)  # noqa: PLW2901
        entries.append(entry)
    kept = [entry for entry in entries if entry.annotations.get(REFERENCE_DIGEST) not in replaced]
    index = found.index.evolve(manifests=[entry.to_json() for entry in kept])
    original = found.open_manifest
    return replace(found, index=index, open_manifest=lambda entry: changed.get(entry.digest) or original(entry))


def base_facts(
    plan: BuildPlan, options: StoreOptions, *, platform: Platform | None = None, required: bool = True
) -> BaseFacts:
    """Return what is known of the plan's base image.

    With `required` off, a base that cannot be read now gives empty facts instead of an error.
    """
    if plan.base is None:
        return BaseFacts(config=ImageConfig.from_json({"os": "linux", "architecture": Platform.host().architecture}))
    try:
        with named(plan.role(plan.base), plan.base):
            image = open_one(plan.base, platform, options, exact=False)
    except (NotFoundError, UnavailableError, RemoteError, TransientError):
        if required:
            raise
        return BaseFacts()
    return BaseFacts(config=image.config, digest=image.manifest.digest if image.manifest else None)


def choose_builder(name: str, request: BuildRequest, destinations: Sequence[Location]) -> Builder:
    """Return the builder called `name`; `auto` chooses one that the plan, the target and this machine allow.

    A plan with `run` needs docker, buildkit or buildah, in that order of what answers. Without, the native builder
    composes the image, unless it goes to an Engine alone and all images are the Engine's to find.
    """
    if name != "auto":
        return load_builder(name)
    if not request.plan.run and not (_engine_alone(request.plan, destinations) and _answers("docker", request)):
        return load_builder("native")
    for candidate in ("docker", "buildkit", "buildah"):
        if _answers(candidate, request):
            return load_builder(candidate)
    raise UnavailableError(
        "the spec has 'run' steps, and nothing that could carry them out answers here",
        hint="start a Docker Engine or install buildah, or drop spec.runtime.run to compose the image natively",
    )


def engine_answers(options: StoreOptions) -> bool:
    """Tell whether a Docker Engine answers."""
    from runtimeimg.stores.engine import Engine

    try:
        Engine.connect(options).close()
    except UnavailableError:
        return False
    return True


def default_destinations(plan: BuildPlan, options: StoreOptions, *, push: bool) -> tuple[Location, ...]:
    """Return where a build goes when nothing was said: registry with `push`, else the Engine, else a layout here."""
    if not plan.outputs:
        raise UsageError("the image has no name", hint="write spec.output.image, or pass -t NAME or -o DESTINATION")
    names = [Location.parse(name).reference for name in plan.outputs]
    if push:
        return tuple(Location(transport="docker", reference=name) for name in names)
    if engine_answers(options):
        return tuple(Location(transport="docker-daemon", reference=name) for name in names)
    first = names[0]
    assert first is not None
    folder = f"./{first.repository.rsplit('/', 1)[-1]}.oci"
    return (Location(transport="oci", path=folder, tag=first.tag or "latest"),)


def _engine_alone(plan: BuildPlan, destinations: Sequence[Location]) -> bool:
    images = [*plan.images, *([plan.base] if plan.base else [])]
    return all(item.transport in ENGINE_TRANSPORTS for item in destinations) and all(
        item.transport in (*ENGINE_TRANSPORTS, "docker", "dir") for item in images
    )


def _answers(name: str, request: BuildRequest) -> bool:
    try:
        load_builder(name).check(request)
    except UnavailableError:
        return False
    return True
