"""The Build spec as values: what a user wrote, checked and normalised, nothing decided yet.

The fields carry the descriptions and examples that the JSON Schema and docs/spec.md are made from. Short forms
become long forms before validation. Rules for single values live in `checks`; positions are added by the loader.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import AfterValidator, Field

from runtimeimg.errors import UsageError
from runtimeimg.spec import checks, fields
from runtimeimg.spec.fields import at
from runtimeimg.spec.parts import (
    Accepted,
    BaseName,
    Closed,
    DebugName,
    Directory,
    Expose,
    Image,
    Open,
    OutputImage,
    User,
    distinct_ports,
)

ApiVersion = Literal["shipwright.io/v1alpha1", "build.dev/v1alpha1", "shipwright.io/v1beta1", "runtimeimg.dev/v1"]
API_VERSIONS: tuple[str, ...] = get_args(ApiVersion)


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


class Runtime(Closed):
    """The runtime image."""

    base: BaseName = Field(description="What the runtime image stands on.")
    work_dir: fields.AbsolutePath | None = Field(
        default=None, alias="workDir", description="Working directory.", examples=["/app"]
    )
    env: fields.Env = Field(
        default_factory=_nothing,
        description="Environment. `$NAME`, `${NAME}`, `${NAME:-word}` and `${NAME:+word}` expand as in a Dockerfile; "
        "`\\$` is a dollar.",
        examples=[{"PATH": "/app/bin:$PATH"}],
    )
    labels: fields.Labels = Field(
        default_factory=_nothing, description="Labels; values are literal.", examples=[{"org.example.team": "web"}]
    )
    written_directories: tuple[Directory, ...] | None = Field(
        default=None,
        alias="directories",
        description="What to copy from the builder image, in this order.",
        examples=[["/workspace/source/dist", "/workspace/source/lib:/app/lib"]],
    )
    written_paths: tuple[Directory, ...] | None = Field(
        default=None, alias="paths", description="Another name of `directories`; give one of the two."
    )
    include: fields.Include = Field(
        default=(),
        description="What else is copied of the builder image: `auto` the libraries and interpreters' own files that "
        "the copies need and the base has not, `ca-certificates`, `tzdata`, `nss`, `locales`.",
        examples=["auto", ["auto", "ca-certificates"]],
    )
    accept: tuple[Accepted, ...] = Field(
        default=(), description="Findings of `runtimeimg check` that are known and meant, each with a reason."
    )
    run: tuple[fields.ShellLine, ...] = Field(
        default=(),
        description="Shell lines to run before the copies. They need a builder that runs programs, not the native one.",
        examples=[["useradd -r app"]],
    )
    user: User | None = Field(default=None, description="Who the process runs as, and who owns the copies.")
    entrypoint: fields.Command | None = Field(
        default=None,
        description="Program to start with its arguments; `[]` clears the base image's.",
        examples=[["java", "-jar", "app.jar"]],
    )
    written_cmd: fields.Command | None = Field(
        default=None,
        alias="cmd",
        description="Default arguments of the entrypoint, or the program where there is none; "
        "`[]` clears the base image's.",
        examples=[["--verbose"]],
    )
    written_args: fields.Command | None = Field(
        default=None, alias="args", description="Another name of `cmd`; give one of the two."
    )
    expose: Annotated[tuple[Expose, ...], AfterValidator(distinct_ports)] = Field(
        default=(), description="TCP ports that the image listens on.", examples=[[8080]]
    )
    daemons: tuple[fields.Program, ...] = Field(
        default=(),
        description="Programs to start beside the entrypoint, each a list of arguments.",
        examples=[[["redis-server", "--port", "6379"]]],
    )
    volumes: fields.Volumes = Field(default=(), description="Folders for data.", examples=[["/data"]])
    stop_signal: fields.StopSignal | None = Field(
        default=None,
        alias="stopSignal",
        description="Signal that stops the container: a name of Linux, with or without `SIG`, or a number.",
        examples=["SIGTERM"],
    )
    annotations: fields.Labels = Field(
        default_factory=_nothing,
        description="Annotations of the image's manifest, where the store has them.",
        examples=[{"org.opencontainers.image.licenses": "MIT"}],
    )
    context: fields.InnerPath | None = Field(
        default=None, description="Where `runtimeimg run` mounts the caller's folder.", examples=["/workspace/context"]
    )
    debug_image: DebugName | None = Field(
        default=None,
        alias="debug",
        description="Whose small shell `build --debug` adds; without that option it is not looked at.",
    )

    @property
    def directories(self) -> tuple[Directory, ...]:
        """What to copy, by whichever name it was written."""
        return self.written_directories or self.written_paths or ()

    @property
    def directories_key(self) -> str:
        """The name that was written: `directories` or `paths`."""
        return "paths" if self.written_paths is not None else "directories"

    @property
    def cmd(self) -> tuple[str, ...] | None:
        """The default arguments, by whichever name they were written."""
        return self.written_cmd if self.written_args is None else self.written_args


_MAPS = ("env", "labels", "annotations")
_OTHER_NAMES = {
    "written_directories": "written_paths",
    "written_paths": "written_directories",
    "written_cmd": "written_args",
    "written_args": "written_cmd",
}


class Overrides(Runtime):
    """What is different in a variant of the runtime image."""

    base: BaseName | None = Field(default=None, description="What the runtime image stands on.")  # type: ignore[assignment]

    def over(self, runtime: Runtime) -> Runtime:
        """Return `runtime` with what is written here: keys of maps are added, anything else is replaced."""
        changes: dict[str, object] = {}
        for name in self.model_fields_set:
            value = getattr(self, name)
            if name in _OTHER_NAMES:
                changes[_OTHER_NAMES[name]] = None
            changes[name] = MappingProxyType({**getattr(runtime, name), **value}) if name in _MAPS else value
        return runtime.model_copy(update=changes)


class Variant(Closed):
    """A runtime image of its own in the index, beside the others."""

    name: fields.ObjectName = Field(description="Name of the variant, for messages and `--variant`.", examples=["gpu"])
    platform: fields.PlatformText | None = Field(
        default=None,
        description="Platform that the entry tells, amd64 levels included; that of the build when left out.",
        examples=["linux/amd64/v3"],
    )
    annotations: fields.Labels = Field(
        default_factory=_nothing,
        description="Annotations of the entry, by which it is chosen.",
        examples=[{"com.example.gpu": "a100"}],
    )
    builder: Image | None = Field(
        default=None, description="The image that the files come from, in place of `spec.builder`."
    )
    runtime: Overrides | None = Field(
        default=None,
        description="What is different from `spec.runtime`: keys of `env`, `labels` and `annotations` are added, "
        "anything else is replaced.",
        examples=[{"env": {"CUDA_VISIBLE_DEVICES": "all"}}],
    )


def _distinct_variants(items: tuple[Variant, ...]) -> tuple[Variant, ...]:
    """Refuse a name given twice, and two entries between which nobody could choose."""
    if repeated := checks.first_repeated(item.name for item in items):
        raise at((repeated[0], "name"), f"variant {items[repeated[0]].name!r} is there twice; keep one")
    told = [(item.platform, tuple(sorted(item.annotations.items()))) for item in items]
    if repeated := checks.first_repeated(told):
        second, first = (items[index].name for index in repeated)
        raise at(
            (repeated[0],),
            f"variant {second!r} has the platform and annotations of {first!r} and would never be chosen; "
            "give it an annotation of its own",
        )
    return items


class Metadata(Open):
    """The object's metadata; further keys are Kubernetes's."""

    name: fields.ObjectName | None = Field(default=None, description="Name of the Build.", examples=["web"])


class Spec(Open):
    """The spec; further keys (`source`, `strategy`...) are Shipwright's and left alone."""

    builder: Image | None = Field(
        default=None, description="The image that the files come from; `output` when left out."
    )
    output: OutputImage | None = Field(default=None, description="The runtime image.")
    runtime: Runtime = Field(description="What the runtime image holds and how it starts.")
    variants: Annotated[tuple[Variant, ...], AfterValidator(_distinct_variants)] = Field(
        default=(),
        description="Images to build in its place, each an entry of one index, in this order.",
        examples=[[{"name": "plain"}, {"name": "gpu", "annotations": {"com.example.gpu": "a100"}}]],
    )


class BuildSpec(Open):
    """A Build: which files of a builder image go on which base image, and how the result starts."""

    runtime_key_prefix: ClassVar[str] = "spec.runtime"

    api_version: ApiVersion = Field(
        alias="apiVersion",
        description="Version of the format; all of them are read alike.",
        examples=["shipwright.io/v1alpha1"],
    )
    kind: Literal["Build"] = Field(description="Always `Build`.")
    metadata: Metadata | None = Field(default=None, description="The object's metadata.")
    spec: Spec = Field(description="The spec.")

    @property
    def name(self) -> str | None:
        """metadata.name."""
        return self.metadata.name if self.metadata else None

    @property
    def builder_image(self) -> str | None:
        """spec.builder.image."""
        return self.spec.builder.image if self.spec.builder else None

    @property
    def output_image(self) -> str | None:
        """spec.output.image."""
        return self.spec.output.image if self.spec.output else None

    @property
    def runtime(self) -> Runtime:
        """spec.runtime."""
        return self.spec.runtime

    def of_variant(self, name: str) -> BuildSpec:
        """Return the spec of one variant alone; UsageError where there is none of that name."""
        found = next((item for item in self.spec.variants if item.name == name), None)
        if found is None:
            known = ", ".join(f"'{item.name}'" for item in self.spec.variants)
            raise UsageError(
                f"the spec has no variant {checks.shown(name)}", hint=f"it has {known}" if known else "it has none"
            )
        changes: dict[str, object] = {"variants": ()}
        if found.builder is not None:
            changes["builder"] = found.builder
        if found.runtime is not None:
            changes["runtime"] = found.runtime.over(self.spec.runtime)
        return self.model_copy(update={"spec": self.spec.model_copy(update=changes)})
