"""The build plan: a spec with nothing left to decide, and `resolve`, the pure function that makes it."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from runtimeimg.errors import UsageError
from runtimeimg.oci.reference import Location
from runtimeimg.runtimegraph import ENVD_LABEL, GRAPH_LABELS, ExposeItem, RuntimeGraph
from runtimeimg.spec import checks
from runtimeimg.spec.expansion import MAX_VALUE, TOO_LONG, Segment, Variable, longest, parse
from runtimeimg.spec.patterns import literal_path

if TYPE_CHECKING:
    from runtimeimg.spec import BuildSpec, Directory, Runtime

SCRATCH = "scratch"
DEFAULT_CONTEXT = "/workspace/context"
DEBUG_DIRECTORY = "/.debug"
DEBUG_LABEL = "dev.runtimeimg.debug"
DEBUG_PATH = f"{DEBUG_DIRECTORY}/bin"
"""Where the small shell of a debug variant lies; last on its PATH."""
CONTEXT_LABEL = "dev.runtimeimg.context"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DEBUG_ORIGIN = "spec.runtime.debug.image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the caller knows beside the spec: overrides of the command line and the state of the source.

    `labels`, `annotations` and `env` are added to the spec's, winning over them. `created` is an RFC 3339 time.
    Without `supervise` the image's entrypoint starts the main command alone; its labels still carry the daemons.
    `variant` is the name of the one variant of the spec that is meant. With `debug` the image gets the small shell of
    the spec's debug image; without, that is not looked at.
    """

    builder_image: str | None = None
    output_images: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    revision: str | None = None
    version: str | None = None
    created: str | None = None
    supervise: bool = True
    variant: str | None = None
    debug: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvVar:
    """An environment variable; `value` in segments, expanded in order against the base's environment."""

    name: str
    value: tuple[Segment, ...]
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One COPY: a source pattern out of an image or the workspace, to an absolute destination.

    `image` is None when the source lies in the workspace (then relative to it). `destination` ends in `/` when it
    must be a directory. `chown` is `user[:group]`, None to keep the owners of the source.
    """

    source: str
    destination: str
    image: Location | None
    chown: str | None
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A value with the dotted path of the spec that it came from."""

    value: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """Findings of a rule that are known and meant, at paths of a pattern or, by None, everywhere."""

    rule: str
    path: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedVariant:
    """What the entry of a variant tells in an index; `platform` as `Platform.parse` reads it, None for the build's."""

    name: str
    platform: str | None
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """What will be built. Everything is explicit; only what the images themselves hold is still unknown.

    `base` is None for scratch. `entrypoint` and `cmd` None keep the base's (an entrypoint without cmd clears the
    base's cmd, as in a Dockerfile). `builder_origin` is what named the builder image.
    """

    name: str | None
    base: Location | None
    builder: Location | None
    builder_origin: str = "spec.builder.image"
    outputs: tuple[str, ...]
    env: tuple[EnvVar, ...]
    labels: Mapping[str, str]
    run: tuple[Text, ...]
    copies: tuple[Copy, ...]
    work_dir: str | None
    ports: tuple[int, ...]
    volumes: tuple[str, ...]
    user: str | None
    stop_signal: str | None
    entrypoint: tuple[str, ...] | None
    cmd: tuple[str, ...] | None
    annotations: Mapping[str, str]
    graph: RuntimeGraph
    metadata: Mapping[str, str]
    """Labels of the stamp that are known before the build: created, revision, version."""
    supervise: bool = True
    """Whether the entrypoint starts the daemons beside the main command."""
    variants: tuple[PlannedVariant, ...] = ()
    """The variants of the spec, all of them; each has a plan of its own."""
    debug: Location | None = None
    """The image whose small shell is added; None where none is."""
    include: tuple[str, ...] = ()
    """What else is copied of the builder image, which is found out by looking into it."""
    accept: tuple[Accept, ...] = ()
    """Findings about the image that are known and meant."""

    def role(self, image: Location) -> str:
        """Return what messages call an image of the plan."""
        roles = {str(self.debug): "debug image", str(self.builder): "builder image", str(self.base): "base image"}
        return roles.get(str(image), "image")

    @property
    def images(self) -> tuple[Location, ...]:
        """The images that copies read, the builder first, each once."""
        found: dict[str, Location] = {}
        for copy in self.copies:
            if copy.image is not None:
                found.setdefault(str(copy.image), copy.image)
        if self.builder is not None and str(self.builder) in found:
            found = {str(self.builder): self.builder, **found}
        return tuple(found.values())

    @property
    def needs_shell(self) -> bool:
        """Whether the result needs `/bin/sh` of the base: daemons are started by a small script."""
        return self.supervise and bool(self.graph.daemons)


@dataclass(frozen=True, slots=True, kw_only=True)
class StampInstructions:
    """A stamp as Dockerfile instructions; `entrypoint` and `cmd` are None where the plan's own stay."""

    labels: Mapping[str, str]
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None


def resolve(spec: BuildSpec, facts: Facts | None = None) -> BuildPlan:
    """Return the plan of `spec` under `facts`; raise UsageError where they do not fit together. No I/O is done."""
    facts = _checked(facts or Facts())
    variants = tuple(
        PlannedVariant(name=item.name, platform=item.platform, annotations=item.annotations)
        for item in spec.spec.variants
    )
    if facts.variant is None:
        return _resolved(spec, facts, variants)
    chosen = spec.of_variant(facts.variant)
    try:
        return _resolved(chosen, facts, variants)
    except UsageError as error:
        raise UsageError(f"variant '{facts.variant}': {error.message}", hint=error.hint) from None


def _resolved(spec: BuildSpec, facts: Facts, variants: tuple[PlannedVariant, ...]) -> BuildPlan:
    runtime = spec.runtime
    if runtime.run and runtime.base == SCRATCH:
        raise UsageError(
            "spec.runtime.run: the base 'scratch' is empty and holds no shell to run anything",
            hint="choose another base, or do this in the builder image",
        )
    builder, builder_origin = _builder(spec, facts)
    user = None
    if runtime.user is not None:
        user = runtime.user.name + (f":{runtime.user.group}" if runtime.user.group else "")
    copies = [
        _copy(item, f"spec.runtime.{runtime.directories_key}[{index}]", builder, user)
        for index, item in enumerate(runtime.directories)
    ]
    labels = {**runtime.labels, **facts.labels}
    _refuse_reserved(labels)
    env = _env(runtime.env, facts.env)
    debug = _debug(runtime, facts, variants)
    if debug is not None:
        copies.append(_debug_copy(debug))
        labels[DEBUG_LABEL] = "true"
        env = _with_debug_path(env)
    if runtime.context is not None:
        labels[CONTEXT_LABEL] = runtime.context
    return BuildPlan(
        name=spec.name,
        base=None if runtime.base == SCRATCH else Location.parse(runtime.base),
        builder=builder,
        builder_origin=builder_origin,
        outputs=facts.output_images or ((spec.output_image,) if spec.output_image else ()),
        env=env,
        labels=MappingProxyType(labels),
        run=tuple(Text(value=line, origin=f"spec.runtime.run[{index}]") for index, line in enumerate(runtime.run)),
        copies=tuple(copies),
        work_dir=runtime.work_dir,
        ports=tuple(sorted({item.port for item in runtime.expose})),
        volumes=tuple(dict.fromkeys(runtime.volumes)),
        user=user,
        stop_signal=runtime.stop_signal,
        entrypoint=runtime.entrypoint,
        cmd=runtime.cmd,
        annotations=MappingProxyType({**runtime.annotations, **facts.annotations}),
        graph=_graph(spec),
        metadata=_metadata(facts),
        supervise=facts.supervise,
        variants=variants,
        debug=debug,
        include=tuple(dict.fromkeys(runtime.include)),
        accept=tuple(Accept(rule=item.id, path=item.path) for item in runtime.accept),
    )


def _refuse_reserved(labels: Mapping[str, str]) -> None:
    for key in labels:
        if key in GRAPH_LABELS or key == ENVD_LABEL:
            raise UsageError(
                f"label '{key}' is written by the stamp",
                hint="say what it should hold with spec.runtime.daemons and spec.runtime.expose",
            )


def _checked(facts: Facts) -> Facts:
    """Return `facts`, held to the rules of the spec's own fields."""
    groups: tuple[tuple[str, Callable[[str], str], Mapping[str, str]], ...] = (
        ("--env", checks.env_name, facts.env),
        ("--label", checks.label_key, facts.labels),
        ("--annotation", checks.label_key, facts.annotations),
    )
    for option, check_key, values in groups:
        for key, value in values.items():
            try:
                check_key(key)
                checks.label_value(value)
            except ValueError as error:
                raise UsageError(f"{option}: {error}") from None
    return facts


def _builder(spec: BuildSpec, facts: Facts) -> tuple[Location | None, str]:
    """Return the builder image and what named it."""
    candidates = (
        (facts.builder_image, "--builder-image"),
        (spec.builder_image, "spec.builder.image"),
        (spec.output_image, "spec.output.image"),
    )
    for name, origin in candidates:
        if name:
            return Location.parse(name), origin
    if spec.runtime.include or any(item.image is None and not item.workspace for item in spec.runtime.directories):
        raise UsageError(
            "spec.builder.image: the image to copy directories from is not given",
            hint="write spec.builder.image (or spec.output.image), or pass --builder-image",
        )
    return None, ""


def _env(spec: Mapping[str, str], facts: Mapping[str, str]) -> tuple[EnvVar, ...]:
    """Return the variables in the order written; those of the command line are literal and come last."""
    variables = [
        EnvVar(name=name, value=parse(value), origin=f"spec.runtime.env.{name}")
        for name, value in spec.items()
        if name not in facts
    ]
    variables += [EnvVar(name=name, value=(value,) if value else (), origin="--env") for name, value in facts.items()]
    sizes: dict[str, int] = {}
    for variable in variables:
        # Every builder expands them, and some of them without a bound: what would explode is not given to any.
        size = sizes[variable.name] = longest(variable.value, sizes)
        if size > MAX_VALUE:
            raise UsageError(f"{variable.origin}: {TOO_LONG}")
    return tuple(variables)


def _copy(item: Directory, origin: str, builder: Location | None, user: str | None) -> Copy:
    destination = item.destination if item.destination is not None else _same_place(item.source)
    if destination is None:
        raise UsageError(
            f"{origin}: a pattern in the middle of a path needs a destination",
            hint="write source:destination",
        )
    image = None if item.workspace else Location.parse(item.image) if item.image else builder
    return Copy(source=item.source, destination=destination, image=image, chown=item.chown or user, origin=origin)


def _same_place(source: str) -> str | None:
    """Return the destination of a source that has none: itself, or the folder around what a pattern finds.

    None when there are wildcards in the folder too.
    """
    path = literal_path(source)
    if path is not None:
        return path
    folder = literal_path(posixpath.dirname(source))
    return None if folder is None else folder.rstrip("/") + "/"


def _debug(runtime: Runtime, facts: Facts, variants: tuple[PlannedVariant, ...]) -> Location | None:
    """Return the image whose shell is added, None where none is asked for."""
    if not facts.debug:
        return None
    if runtime.debug_image is not None:
        return Location.parse(runtime.debug_image)
    if variants and facts.variant is None:
        return None  # each variant is asked for its own
    raise UsageError(
        "--debug: the spec does not say whose shell is to be added",
        hint="write spec.runtime.debug, for example {image: busybox:musl}",
    )


def _debug_copy(image: Location) -> Copy:
    return Copy(source="/bin", destination=DEBUG_PATH, image=image, chown=None, origin=_DEBUG_ORIGIN)


def _with_debug_path(env: tuple[EnvVar, ...]) -> tuple[EnvVar, ...]:
    """Return the variables with the debug shell last on PATH.

    The usual PATH is written out for a base that has none: builders do not agree on whether it is there for reference.
    """
    default = EnvVar(name="PATH", value=(Variable("PATH", "-", (DEFAULT_PATH,)),), origin=_DEBUG_ORIGIN)
    own = next((item for item in env if item.name == "PATH"), default)
    *before, last = own.value or ("",)
    after = f":{DEBUG_PATH}" if own.value else DEBUG_PATH
    path = replace(own, value=(*before, last + after) if isinstance(last, str) else (*before, last, after))
    return tuple(path if item is own else item for item in env) if own is not default else (*env, path)


def _graph(spec: BuildSpec) -> RuntimeGraph:
    expose = tuple(
        ExposeItem(
            port=item.port,
            host_port=item.host_port,
            service_name=item.service_name,
            listening_addr=item.listening_addr,
        )
        for item in spec.runtime.expose
    )
    return RuntimeGraph(daemons=spec.runtime.daemons, expose=expose)


def _metadata(facts: Facts) -> Mapping[str, str]:
    values = {
        "org.opencontainers.image.created": facts.created,
        "org.opencontainers.image.revision": facts.revision,
        "org.opencontainers.image.version": facts.version,
    }
    return MappingProxyType({key: value for key, value in values.items() if value})
