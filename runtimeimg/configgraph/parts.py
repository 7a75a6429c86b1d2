"""The parts of an Automaton, each with its short form: user, limits, capabilities, mounts, state, hooks and ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from runtimeimg.bundle.hooks import MAX_TIMEOUT
from runtimeimg.bundle.users import MAX_GROUPS
from runtimeimg.bundle.values import Mount
from runtimeimg.configgraph import fields
from runtimeimg.errors import UsageError
from runtimeimg.spec import checks
from runtimeimg.spec.fields import (
    Address,
    Argument,
    InnerPath,
    ObjectName,
    PortNumber,
    Principal,
    ServiceName,
    at,
    text_schema,
    whole_number_to_text,
)

SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")
Protocol = Literal["tcp", "udp", "sctp"]
Id = Annotated[int, Field(strict=True, ge=0, le=checks.MAX_ID)]
Limit = Annotated[int, Field(strict=True, ge=0, lt=1 << 64)]


class Part(BaseModel):
    """A map of which all keys are known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class User(Part):
    """Who the process runs as: `name` and `group` as an image says them, or numbers."""

    model_config = ConfigDict(
        json_schema_extra={
            "dependentRequired": {"uid": ["gid"], "gid": ["uid"], "group": ["name"], "additionalGids": ["uid"]}
        }
    )

    short_forms: ClassVar[tuple[Mapping[str, Any], ...]] = (
        text_schema(checks.OWNER),
        {"type": "integer", "minimum": 0, "maximum": checks.MAX_ID},
    )

    name: Principal | None = Field(default=None, description="Name or number, looked up in the image.")
    group: Principal | None = Field(default=None, description="Name or number of the group; the user's by default.")
    uid: Id | None = Field(default=None, description="Number of the user, with `gid`.")
    gid: Id | None = Field(default=None, description="Number of the group, with `uid`.")
    additional_gids: tuple[Id, ...] | None = Field(
        default=None, alias="additionalGids", max_length=MAX_GROUPS, description="Numbers of further groups."
    )
    umask: Annotated[int, Field(strict=True, ge=0, le=0o777)] | None = Field(
        default=None, description="Permissions that new files are not given; `0o022` by default."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, data: object) -> object:
        data = whole_number_to_text(data)
        if not isinstance(data, str):
            return data
        name, colon, group = checks.owner(data).partition(":")
        return {"name": name, "group": group} if colon else {"name": name}

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.group is not None and self.name is None:
            raise at(("group",), "is given without a name; write both, or 'gid' and 'uid'")
        if (self.uid is None) != (self.gid is None):
            there, missing = ("uid", "gid") if self.gid is None else ("gid", "uid")
            raise at((there,), f"is given without '{missing}'; write both, or 'name'")
        if self.name is not None and self.uid is not None:
            raise at(("uid",), "is given beside 'name'; keep one of the two")
        if self.additional_gids is not None and self.uid is None:
            raise at(("additionalGids",), "are given without 'uid' and 'gid'; write these too")
        return self


class Rlimit(Part):
    """A limit of the process (getrlimit(2))."""

    type: fields.RlimitType = Field(description="Which limit.", examples=["RLIMIT_NOFILE"])
    soft: Limit = Field(description="What holds.")
    hard: Limit = Field(description="What the process may raise it to.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.soft > self.hard:
            raise at(("soft",), f"'{self.soft}' is above 'hard', {self.hard}; lower it")
        return self


_ONE = {"type": "integer", "minimum": 0}
_PAIR = {"type": "object", "properties": {"soft": _ONE, "hard": _ONE}, "required": ["soft", "hard"]}
_LISTED = {
    "type": "object",
    "properties": {"type": text_schema(fields.RLIMIT_TEXT), "soft": _ONE, "hard": _ONE},
    "required": ["type", "soft", "hard"],
    "additionalProperties": False,
}
Rlimits = Annotated[
    tuple[Rlimit, ...],
    Field(max_length=len(fields.RLIMITS)),
    BeforeValidator(fields.limits),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": _LISTED},
                {
                    "type": "object",
                    "propertyNames": {"pattern": fields.RLIMIT_TEXT},
                    "additionalProperties": {"anyOf": [_ONE, {**_PAIR, "additionalProperties": False}]},
                },
            ]
        }
    ),
]
_Names = tuple[fields.Capability, ...]


class Capabilities(Part):
    """What the process may do (capabilities(7)); a list is for all five sets."""

    short_forms: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"type": "array", "items": text_schema(fields.CAPABILITY_TEXT)},
    )

    bounding: _Names = Field(default=(), description="What it can ever have.")
    effective: _Names = Field(default=(), description="What it has.")
    inheritable: _Names = Field(default=(), description="What programs keep that ask for it.")
    permitted: _Names = Field(default=(), description="What it may take.")
    ambient: _Names = Field(default=(), description="What programs keep.")

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, data: object) -> object:
        if not isinstance(data, list):
            return data
        found = []
        for index, item in enumerate(data):
            if not isinstance(item, str):
                raise at((index,), "is no text; write a capability such as 'CAP_NET_BIND_SERVICE'")
            try:
                found.append(fields.capability(item))
            except ValueError as error:
                raise at((index,), str(error)) from None
        return {name: list(dict.fromkeys(found)) for name in SETS}


class MountPart(Part):
    """A mount; the short form is that of `bundle --mount`."""

    short_forms: ClassVar[tuple[Mapping[str, Any], ...]] = (text_schema(r"(^|,)(destination|dst|target)=/"),)

    destination: fields.MountPlace = Field(description="Absolute path in the container.", examples=["/data"])
    type: fields.MountOption = Field(default="bind", description="`bind` where there is a source, else `tmpfs`.")
    source: fields.MountSource = Field(default="", description="What is mounted; of a bind mount, a path of the host.")
    options: tuple[fields.MountOption, ...] = Field(
        default=(), max_length=64, description="Options of mount(8).", examples=[["ro"]]
    )

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, data: object) -> object:
        """Fill in what `Mount.parse` fills in: type, source, `rbind`."""
        if isinstance(data, str):
            checks.no_control(data, "a mount")
            text = data
        else:
            if not isinstance(data, dict) or not isinstance(data.get("destination"), str):
                return data
            options = data.get("options", [])
            head = {key: data[key] for key in ("type", "source", "destination") if key in data}
            if data.keys() - {*head, "options"} or not isinstance(options, list):
                return data
            words = [*(f"{key}={value}" for key, value in head.items()), *options]
            if not all(isinstance(word, str) and "," not in word for word in (*head.values(), *words)):
                return data
            text = ",".join(words)
        try:
            found = Mount.parse(text)
        except UsageError as error:
            raise ValueError(error.message + (f"; {error.hint}" if error.hint else "")) from None
        if found.kind == "bind" and not found.source.startswith("/"):
            place = ("source",) if isinstance(data, dict) else ()
            raise at(place, f"{checks.shown(found.source)} is not an absolute path; a host has it somewhere")
        return {
            "destination": found.destination,
            "type": found.kind,
            "source": found.source,
            "options": list(found.options),
        }


class State(Part):
    """A volume that belongs to the automaton."""

    name: ObjectName = Field(description="Its name, of which there is one in an automaton.", examples=["orders"])
    path: fields.MountPlace = Field(description="Where it is mounted.", examples=["/var/lib/orders"])
    size: fields.ByteSize | None = Field(default=None, description="Room that it needs.", examples=["1Gi"])


class HookPart(Part):
    """A program of the host that the runtime calls."""

    path: InnerPath = Field(description="Absolute path of the program.", examples=["/usr/bin/tidy"])
    args: tuple[Argument, ...] = Field(default=(), max_length=fields.MAX_ITEMS, description="Arguments after its name.")
    env: fields.Env | None = Field(default=None, description="Its whole environment.")
    timeout: Annotated[int, Field(strict=True, gt=0, lt=MAX_TIMEOUT)] | None = Field(
        default=None, description="Seconds after which it is killed."
    )


_Calls = Annotated[tuple[HookPart, ...], Field(max_length=100)]


def _calls(stage: str, **further: Any) -> Any:
    from runtimeimg.configgraph.parameters import OF_AUTOMATON

    return Field(default=(), description=OF_AUTOMATON[f"hooks.{stage}"].meaning, **further)


class Hooks(Part):
    """Programs of the host that the runtime calls, by stage."""

    prestart: _Calls = _calls("prestart")
    create_runtime: _Calls = _calls("createRuntime", alias="createRuntime")
    create_container: _Calls = _calls("createContainer", alias="createContainer")
    start_container: _Calls = _calls("startContainer", alias="startContainer")
    poststart: _Calls = _calls("poststart")
    poststop: _Calls = _calls("poststop")


class Port(Part):
    """A port that the process listens on; the short forms are `8080` and `53/udp`."""

    short_forms: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"type": "integer", "minimum": 1, "maximum": 65535},
        text_schema(r"^[1-9][0-9]{0,4}/(tcp|udp|sctp)$"),
    )

    port: PortNumber = Field(description="Port in the container.", examples=[8080])
    protocol: Protocol = Field(default="tcp", description="`tcp`, `udp` or `sctp`.")
    host_port: PortNumber | None = Field(default=None, alias="hostPort", description="Port of the host.", examples=[80])
    service_name: ServiceName | None = Field(
        default=None, alias="serviceName", description="Name of the service behind it, a DNS label."
    )
    listening_addr: Address | None = Field(
        default=None, alias="listeningAddr", description="IP address of the host to listen on."
    )

    @property
    def key(self) -> str:
        """What tells it from the automaton's others, as an image exposes it."""
        return f"{self.port}/{self.protocol}"

    @property
    def place(self) -> tuple[int, str, str]:
        """What of the host it takes."""
        return self.host_port or 0, self.protocol, self.listening_addr or ""

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, data: object) -> object:
        if isinstance(data, int) and not isinstance(data, bool):
            return {"port": data}
        if not isinstance(data, str):
            return data
        number, slash, protocol = data.partition("/")
        if not (number.isascii() and number.isdigit() and len(number) <= 5) or not slash:
            hint = "write the number without quotes, such as 8080, or with its protocol, such as 53/udp"
            raise ValueError(f"{checks.shown(data)} is not a port; {hint}")
        if protocol not in get_args(Protocol):
            raise ValueError(f"{checks.shown(data)} has no protocol that is known; there are tcp, udp and sctp")
        return {"port": int(number), "protocol": protocol}


def distinct(values: Sequence[str], path: str, what: str) -> None:
    """Refuse a value that is there twice."""
    if repeated := checks.first_repeated(values):
        raise at((path, repeated[0]), f"{what} {checks.shown(values[repeated[0]])} is there twice; keep one")
