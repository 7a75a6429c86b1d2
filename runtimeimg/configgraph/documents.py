"""The documents of a configuration graph as pydantic models: Artefact and Automaton (a Host is one of selection's).

    apiVersion: runtimeimg.dev/v1               apiVersion: runtimeimg.dev/v1
    kind: Artefact                              kind: Automaton
    name: web                                   name: shop
    image: registry.example.com/web:1           artefact: web
                                                process: {env: {LOG: info}}
                                                ports: [{port: 8080, hostPort: 80}]
                                                replicas: 2
                                                placement: {spread: host}

What each field means stands in `parameters`; docs/graph-documents.md is made from there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from runtimeimg.configgraph import fields, parameters
from runtimeimg.configgraph.parts import Capabilities, Hooks, MountPart, Port, Rlimits, State, User, distinct
from runtimeimg.configgraph.refusals import refusals
from runtimeimg.spec import checks, jsonschema
from runtimeimg.spec.fields import AbsolutePath, ImageText, ObjectName, PlatformText, Program, at
from runtimeimg.spec.problems import Guide

API_VERSION = "runtimeimg.dev/v1"
_FORMS = ("image", "imageName", "build", "store")


def _of(path: str, default: Any = None, **further: Any) -> Any:
    """Return the field of a parameter of an Automaton."""
    return Field(default=default, description=parameters.OF_AUTOMATON[path].meaning, **further)


def _from(path: str, **further: Any) -> Any:
    """Return the field of a parameter of an Artefact."""
    return Field(**{"default": None, **further}, description=parameters.OF_ARTEFACT[path].meaning)


class Closed(BaseModel):
    """A map of which all keys are known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Store(Closed):
    """A path of a store, the way of Nix, with its closure."""

    kind: Literal["store"] = Field(default="store", description="`store`.")
    path: fields.StorePath = _from("store.path", default=..., examples=["/nix/store/HASH-web-1.0"])
    drv: fields.StorePath | None = _from("store.drv")
    contents: tuple[fields.StorePath, ...] = _from("store.contents", default=(), max_length=fields.MAX_ITEMS)
    closure: fields.FilePath | None = _from("store.closure", examples=["web.closure"])
    paths: tuple[fields.StorePath, ...] | None = _from("store.paths", max_length=50_000)
    database: fields.FilePath | None = _from("store.database")

    @model_validator(mode="after")
    def _one_closure(self) -> Self:
        given = [name for name in ("closure", "paths", "database") if getattr(self, name) is not None]
        if len(given) > 1:
            raise at((given[1],), f"is another source of the closure than '{given[0]}'; keep one of the two")
        return self


class ArtefactModel(Closed):
    """What automatons run: an image, what a Build spec makes, or a path of a store."""

    api_version: Literal["runtimeimg.dev/v1"] = Field(alias="apiVersion", description="Version of the document.")
    kind: Literal["Artefact"] = Field(description="`Artefact`.")
    name: ObjectName = _from("name", default=..., examples=["web"])
    image: ImageText | None = _from("image", examples=["registry.example.com/web:1"])
    image_name: ImageText | None = Field(default=None, alias="imageName", description="Another word for `image`.")
    build: fields.FilePath | None = _from("build", examples=["build.yaml"])
    store: Store | None = Field(default=None, description="A path of a store, in place of an image.")
    digest: fields.DigestText | None = _from("digest")
    image_digest: fields.DigestText | None = Field(
        default=None, alias="imageDigest", description="Another word for `digest`."
    )
    sha256: fields.Sha256 | None = _from("sha256")
    contents: tuple[fields.StorePath, ...] | None = _from("store.contents", max_length=fields.MAX_ITEMS)

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        given = [name for name in _FORMS if getattr(self, "image_name" if name == "imageName" else name) is not None]
        if not given:
            raise ValueError("says nothing of what it is; write one of 'image', 'build' and 'store'")
        if len(given) > 1 and self.store is not None:
            raise at(("store",), f"is given beside '{given[0]}'; an artefact is one of the two, so keep one")
        if self.store is not None and (self.digest or self.image_digest):
            raise at(("digest",), "is of an image, and this is a path of a store; remove one of the two")
        if self.contents is not None and self.store is None:
            raise at(("contents",), "are paths of a store, and this is an image; remove them, or write 'store'")
        return self


class Root(Closed):
    """The root file system."""

    readonly: fields.Flag | None = _of("root.readonly")


class LinuxResources(Closed):
    """Limits, of which none is set in a document."""


class Linux(Closed):
    """What the bundle sets of a Linux container; nothing of it is set in a document."""

    resources: LinuxResources | None = Field(default=None, description="Encapsulated.")


class Process(Closed):
    """The process."""

    args: Program | None = _of("process.args", examples=[["/app/bin/web", "--port", "8080"]])
    env: fields.Env | None = _of("process.env", examples=[{"LOG": "info"}])
    cwd: AbsolutePath | None = _of("process.cwd", examples=["/app"])
    user: User | None = _of("process.user", examples=["1000:1000"])
    rlimits: Rlimits | None = _of("process.rlimits")
    capabilities: Capabilities | None = _of("process.capabilities", examples=[["CAP_NET_BIND_SERVICE"]])
    no_new_privileges: fields.Flag | None = _of("process.noNewPrivileges", alias="noNewPrivileges")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        distinct([item.type for item in self.rlimits or ()], "rlimits", "limit")
        return self


class Placement(Closed):
    """Where instances run."""

    hosts: fields.HostPins | None = _of("placement.hosts", examples=[["node-1"]])
    require: tuple[fields.Requirement, ...] = _of(
        "placement.require", (), max_length=fields.MAX_ITEMS, examples=[["gpu.vendor=nvidia"]]
    )
    prefer: tuple[fields.Preference, ...] = _of(
        "placement.prefer", (), max_length=fields.MAX_ITEMS, examples=[["zone=a:10"]]
    )
    spread: fields.HostPin | None = _of("placement.spread", examples=["host"])
    platform: PlatformText | None = _of("placement.platform", examples=["linux/amd64"])


class AutomatonModel(Closed):
    """What an operator wants to run: an artefact with its configuration, on how many instances, and where."""

    api_version: Literal["runtimeimg.dev/v1"] = Field(alias="apiVersion", description="Version of the document.")
    kind: Literal["Automaton"] = Field(description="`Automaton`.")
    name: ObjectName = _of("name", ..., examples=["shop"])
    artefact: ImageText = _of("artefact", ..., examples=["web"])
    process: Process | None = Field(default=None, description="The process.")
    root: Root | None = Field(default=None, description="The root file system.")
    mounts: tuple[MountPart, ...] = _of("mounts", (), max_length=fields.MAX_ITEMS)
    state: tuple[State, ...] = _of("state", (), max_length=fields.MAX_ITEMS)
    hooks: Hooks | None = Field(default=None, description="Programs of the host that the runtime calls.")
    hostname: fields.HostName | None = _of("hostname", examples=["shop"])
    ports: tuple[Port, ...] = _of("ports", (), max_length=fields.MAX_ITEMS, examples=[[8080]])
    debug: fields.Flag | None = _of("debug")
    replicas: Annotated[int, Field(strict=True, ge=0, le=fields.MAX_REPLICAS)] | None = _of("replicas", examples=[2])
    resources: fields.Resources | None = _of("resources", examples=[{"cpu": "500m", "memory": "256Mi"}])
    placement: Placement | None = Field(default=None, description="Where instances run.")
    linux: Linux | None = Field(default=None, description="Encapsulated: the bundle sets all of it.")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        distinct([item.destination for item in self.mounts], "mounts", "destination")
        distinct([item.name for item in self.state], "state", "name")
        distinct([item.path for item in self.state], "state", "path")
        distinct([item.key for item in self.ports], "ports", "port")
        mounted = {item.destination for item in self.mounts}
        for index, item in enumerate(self.state):
            if item.path in mounted:
                raise at(("state", index, "path"), f"{checks.shown(item.path)} is a mount's place too; choose another")
        taken: dict[tuple[int, str, str], int] = {}
        for index, port in enumerate(self.ports):
            if port.host_port and taken.setdefault(port.place, index) != index:
                raise at(("ports", index, "hostPort"), f"host port {port.host_port} is there twice; choose another")
        return self


ARTEFACT_GUIDE = Guide(
    model=ArtefactModel,
    examples={
        "apiVersion": API_VERSION,
        "kind": "Artefact",
        "name": "web",
        "image": "registry.example.com/web:1",
        "build": "build.yaml",
        "store": "{path: /nix/store/HASH-web-1.0}",
        "path": "/nix/store/HASH-web-1.0",
    },
    meant={"reference": "image", "spec": "build", "imagedigest": "digest", "derivation": "drv"},
    pairs=(("image", "imageName"), ("digest", "imageDigest")),
)
AUTOMATON_GUIDE = Guide(
    model=AutomatonModel,
    examples={
        "apiVersion": API_VERSION,
        "kind": "Automaton",
        "name": "shop",
        "artefact": "web",
        "process": "{args: [/app/bin/web]}",
        "env": "{NAME: value}",
        "root": "{readonly: true}",
        "hooks": "{poststop: [{path: /usr/bin/tidy}]}",
        "resources": "{cpu: 500m, memory: 256Mi}",
        "placement": "{spread: host}",
        "destination": "/data",
        "path": "/data",
        "port": "8080",
        "type": "RLIMIT_NOFILE",
        "args": "[/app/bin/web]",
    },
    wanted={
        "user": "a user such as 'app' or '1000:1000', or a map with uid and gid",
        "ports": "a port number such as 8080, or a map with a port",
        "mounts": "a map with a destination",
        "capabilities": "a list such as [CAP_NET_BIND_SERVICE], or a map of sets",
    },
    meant={
        "image": "artefact",
        "artifact": "artefact",
        "command": "args",
        "entrypoint": "args",
        "environment": "env",
        "workdir": "cwd",
        "workingdir": "cwd",
        "expose": "ports",
        "volumes": "state",
        "containerport": "port",
        "protocol": "protocol",
        "ulimits": "rlimits",
        "requests": "resources",
        "nodeselector": "require",
    },
    refused=refusals(),
    commands=frozenset({"args"}),
)


def artefact_schema() -> dict[str, Any]:
    """Return the JSON Schema of an Artefact."""
    example = {"apiVersion": API_VERSION, "kind": "Artefact", "name": "web", "image": "registry.example.com/web:1"}
    found = jsonschema.build(ArtefactModel, "Artefact", [example])
    found["anyOf"] = [{"required": [name]} for name in _FORMS]
    return found


def automaton_schema() -> dict[str, Any]:
    """Return the JSON Schema of an Automaton."""
    example = {
        "apiVersion": API_VERSION,
        "kind": "Automaton",
        "name": "shop",
        "artefact": "web",
        "process": {"env": {"LOG": "info"}},
        "ports": [{"port": 8080, "hostPort": 80}],
        "replicas": 2,
        "placement": {"spread": "host"},
    }
    found = jsonschema.build(AutomatonModel, "Automaton", [example])
    del found["properties"]["linux"], found["$defs"]["Linux"], found["$defs"]["LinuxResources"]
    for part in (Capabilities, MountPart, Port, User):
        definition = found["$defs"][part.__name__]
        found["$defs"][part.__name__] = jsonschema.with_short_forms(part.short_forms, definition)
    return found
