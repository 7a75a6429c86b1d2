"""The Build spec as values: what a user wrote, checked and normalised, nothing decided yet.

The fields carry the descriptions and examples that the JSON Schema and docs/spec.md are made from. Short forms
become long forms before validation. Rules for single values live in `checks`; positions are added by the loader.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from runtimeimg.spec import checks, fields
from runtimeimg.spec.fields import at, text_schema

ApiVersion = Literal["shipwright.io/v1alpha1", "build.dev/v1alpha1", "shipwright.io/v1beta1", "runtimeimg.dev/v1"]
API_VERSIONS: tuple[str, ...] = get_args(ApiVersion)


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=False)


class _Closed(_Model):
    """A map of which all keys are known."""

    model_config = ConfigDict(extra="forbid")


class Image(_Model):
    """An image name; further keys are Shipwright's."""

    image: fields.ImageText = Field(description="Name of the image.", examples=["registry.example.com/web-build:1"])


class OutputImage(_Model):
    """The name of the result; further keys are Shipwright's."""

    image: fields.OutputText = Field(
        description="Name that the runtime image gets.", examples=["registry.example.com/web:1"]
    )


class BaseImage(_Closed):
    """The image to stand on."""

    image: fields.BaseText = Field(
        description="Name of the base image, or `scratch` for none.", examples=["debian:bookworm-slim", "scratch"]
    )


class DebugImage(_Closed):
    """An image with a static shell."""

    image: fields.ImageText = Field(
        description="Name of an image that holds a static shell.", examples=["busybox:stable"]
    )


if TYPE_CHECKING:
    BaseName: TypeAlias = str
    DebugName: TypeAlias = str
else:
    BaseName = Annotated[BaseImage, AfterValidator(lambda value: value.image)]
    DebugName = Annotated[DebugImage, AfterValidator(lambda value: value.image)]


class Directory(_Closed):
    """Something to copy; the short form is `source` or `source:destination`."""

    short_forms: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {
            "type": "string",
            "pattern": r"^(/[^:]*(:/[^:]*)?|\$\(workspace\)(/[^:]*)?:/[^:]*)$",
            "not": {"pattern": r"(^|/)\.\.([/:]|$)|" + checks.CONTROL},
        },
    )

    written_source: fields.Source = Field(
        alias="source",
        description="Path to copy from, in the builder image; `*`, `?` and `[...]` match as in Go's filepath.Match. "
        "`$(workspace)/...` is a path of the local source tree instead.",
        examples=["/workspace/source/dist", "$(workspace)/static"],
    )
    destination: fields.Destination | None = Field(
        default=None,
        description="Path to copy to; the same place when left out. Needed with `$(workspace)`. "
        "A trailing slash makes it a folder to copy into.",
        examples=["/app/lib"],
    )
    image: fields.ImageText | None = Field(
        default=None, description="Another image to copy from.", examples=["registry.example.com/tools:1"]
    )
    chown: fields.Owner | None = Field(
        default=None,
        description="Owner of the copies, `user` or `user:group`, names or numbers.",
        examples=["1000:1000"],
    )

    @property
    def source(self) -> str:
        """The normalised path: absolute in an image, or relative to the source tree when `workspace`."""
        if self.workspace:
            return self.written_source[len(checks.WORKSPACE) :].lstrip("/") or "."
        return self.written_source

    @property
    def workspace(self) -> bool:
        """Whether the source is in the local source tree."""
        return self.written_source == checks.WORKSPACE or self.written_source.startswith(checks.WORKSPACE + "/")

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, data: object) -> object:
        if not isinstance(data, str):
            return data
        source, colon, destination = data.partition(":")
        if not colon:
            return {"source": data}
        if ":" in destination:
            raise ValueError(
                f"{checks.shown(data)} holds more than one colon; write {{source: ..., destination: ...}} instead"
            )
        if not destination:
            raise ValueError(f"{checks.shown(data)} has nothing after its colon; write a destination or remove it")
        return {"source": source, "destination": destination}

    @model_validator(mode="after")
    def _workspace_rules(self) -> Directory:
        if self.workspace and self.destination is None:
            raise ValueError(
                f"{checks.shown(self.written_source)} has no destination; a local path has no same place in the image, "
                f"write {self.written_source + ':/app'!r} or the like"
            )
        if self.workspace and self.image is not None:
            raise at(
                ("image",),
                f"{checks.shown(self.image)} is another source than {checks.WORKSPACE!r}; keep one of the two",
            )
        return self


class User(_Closed):
    """Who the process runs as; the short form is `user`, `user:group` or a number."""

    short_forms: ClassVar[tuple[Mapping[str, Any], ...]] = (
        text_schema(checks.OWNER),
        {"type": "integer", "minimum": 0, "maximum": checks.MAX_ID},
    )

    name: fields.Principal = Field(description="Name or number of the user.", examples=["app", "1000"])
    group: fields.Principal | None = Field(
        default=None, description="Name or number of the group.", examples=["app", "1001"]
    )

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, data: object) -> object:
        data = fields.whole_number_to_text(data)
        if not isinstance(data, str):
            return data
        name, colon, group = data.partition(":")
        return {"name": name, "group": group} if colon else {"name": name}


class Expose(_Closed):
    """A port; the short form is its number."""

    short_forms: ClassVar[tuple[Mapping[str, Any], ...]] = ({"type": "integer", "minimum": 1, "maximum": 65535},)

    port: fields.PortNumber = Field(description="TCP port of the image.", examples=[8080])
    host_port: fields.PortNumber = Field(
        default=0, alias="hostPort", description="Port of the host that `runtimeimg run` gives it.", examples=[443]
    )
    service_name: fields.ServiceName = Field(
        default="", alias="serviceName", description="Name of the service behind it, a DNS label.", examples=["https"]
    )
    listening_addr: fields.Address = Field(
        default="", alias="listeningAddr", description="IP address of the host to listen on.", examples=["127.0.0.1"]
    )

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, data: object) -> object:
        if isinstance(data, int) and not isinstance(data, bool):
            return {"port": data}
        if isinstance(data, str):
            raise ValueError(f"{checks.shown(data)} is a text; write the number without quotes, such as 8080")  # noqa: TRY004
        return data


def _distinct_ports(items: tuple[Expose, ...]) -> tuple[Expose, ...]:
    """Refuse a port given twice, and a host port given twice on the same address."""
    if repeated := checks.first_repeated(item.port for item in items):
        raise at((repeated[0],), f"port {items[repeated[0]].port} is there twice; keep one")
    hosts = [(item.host_port, item.listening_addr) if item.host_port else index for index, item in enumerate(items)]
    if repeated := checks.first_repeated(hosts):
        raise at((repeated[0], "hostPort"), f"host port {items[repeated[0]].host_port} is there twice; choose another")
    return items


class Runtime(_Closed):
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
    expose: Annotated[tuple[Expose, ...], AfterValidator(_distinct_ports)] = Field(
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
        default=None, alias="debug", description="Adds a small shell and marks the image as debuggable."
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


class Metadata(_Model):
    """The object's metadata; further keys are Kubernetes's."""

    name: fields.ObjectName | None = Field(default=None, description="Name of the Build.", examples=["web"])


class Spec(_Model):
    """The spec; further keys (`source`, `strategy`...) are Shipwright's and left alone."""

    builder: Image | None = Field(
        default=None, description="The image that the files come from; `output` when left out."
    )
    output: OutputImage | None = Field(default=None, description="The runtime image.")
    runtime: Runtime = Field(description="What the runtime image holds and how it starts.")


class BuildSpec(_Model):
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
