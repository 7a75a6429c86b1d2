"""The parts of a Build spec: images, directories, users, ports, each in its short and its long form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from runtimeimg.spec import checks, fields
from runtimeimg.spec.fields import at, text_schema


class Open(BaseModel):
    """A map that may hold more than what is known of it."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=False)


class Closed(Open):
    """A map of which all keys are known."""

    model_config = ConfigDict(extra="forbid")


class Image(Open):
    """An image name; further keys are Shipwright's."""

    image: fields.ImageText = Field(description="Name of the image.", examples=["registry.example.com/web-build:1"])


class OutputImage(Open):
    """The name of the result; further keys are Shipwright's."""

    image: fields.OutputText = Field(
        description="Name that the runtime image gets.", examples=["registry.example.com/web:1"]
    )


class BaseImage(Closed):
    """The image to stand on."""

    image: fields.BaseText = Field(
        description="Name of the base image, or `scratch` for none.", examples=["debian:bookworm-slim", "scratch"]
    )


class DebugImage(Closed):
    """An image with a static shell."""

    image: fields.ImageText = Field(
        description="Name of an image whose `/bin/sh` is statically linked.", examples=["busybox:musl"]
    )


if TYPE_CHECKING:
    BaseName: TypeAlias = str
    DebugName: TypeAlias = str
else:
    BaseName = Annotated[BaseImage, AfterValidator(lambda value: value.image)]
    DebugName = Annotated[DebugImage, AfterValidator(lambda value: value.image)]


class Accepted(Closed):
    """A finding of `runtimeimg check` that is known and meant."""

    id: fields.RuleId = Field(description="The rule, as docs/findings.md has it.", examples=["SAFE-003"])
    path: fields.ShellLine | None = Field(
        default=None,
        description="Where it is accepted, a pattern of the shell; everywhere when left out.",
        examples=["/app/test/*.pem"],
    )
    reason: fields.ShellLine = Field(description="Why, for those who read the spec.", examples=["keys of the tests"])


class Directory(Closed):
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


class User(Closed):
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


class Expose(Closed):
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


def distinct_ports(items: tuple[Expose, ...]) -> tuple[Expose, ...]:
    """Refuse a port given twice, and a host port given twice on the same address."""
    if repeated := checks.first_repeated(item.port for item in items):
        raise at((repeated[0],), f"port {items[repeated[0]].port} is there twice; keep one")
    hosts = [(item.host_port, item.listening_addr) if item.host_port else index for index, item in enumerate(items)]
    if repeated := checks.first_repeated(hosts):
        raise at((repeated[0], "hostPort"), f"host port {items[repeated[0]].host_port} is there twice; choose another")
    return items
