"""The configuration graph as values: nodes of five kinds and the typed edges between them.

    artefact/web          what runs: an image, its variants, their layers; or a path of a store with its closure
    layer/sha256:...      what is moved: a layer, a config, a manifest, an index; or a path of a store
    automaton/shop        what an operator wants to run: an artefact with its configuration
    instance/shop/0       one of an automaton's replicas, on a host or not yet
    host/node-1           a machine with resources and what it holds already

Nodes are frozen. Edges are not kept beside them: `edges` says which a node begins, so that there is one truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class Kind(StrEnum):
    """What a node is; its id begins with it."""

    ARTEFACT = "artefact"
    LAYER = "layer"
    AUTOMATON = "automaton"
    INSTANCE = "instance"
    HOST = "host"


class Relation(StrEnum):
    """What an edge says of its source."""

    CONTAINS = "contains"
    BUILT_ON = "built-on"
    BUILT_FROM = "built-from"
    REFERS_TO = "refers-to"
    RUNS = "runs"
    INSTANCE_OF = "instance-of"
    PLACED_ON = "placed-on"
    HAS = "has"


ENDS: Mapping[Relation, tuple[Kind, Kind]] = {
    Relation.CONTAINS: (Kind.ARTEFACT, Kind.LAYER),
    Relation.BUILT_ON: (Kind.ARTEFACT, Kind.ARTEFACT),
    Relation.BUILT_FROM: (Kind.ARTEFACT, Kind.ARTEFACT),
    Relation.REFERS_TO: (Kind.LAYER, Kind.LAYER),
    Relation.RUNS: (Kind.AUTOMATON, Kind.ARTEFACT),
    Relation.INSTANCE_OF: (Kind.INSTANCE, Kind.AUTOMATON),
    Relation.PLACED_ON: (Kind.INSTANCE, Kind.HOST),
    Relation.HAS: (Kind.HOST, Kind.LAYER),
}
"""The kinds of node that each relation leads from and to."""


@dataclass(frozen=True, slots=True)
class Edge:
    """`source` and `target` are ids of nodes."""

    source: str
    relation: Relation
    target: str


@dataclass(frozen=True, slots=True)
class Origin:
    """The document that a node comes from: a file, as it was given, and a line from 1; empty and 0 for none."""

    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


NO_ORIGIN = Origin()


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One image of an artefact: the only one, or an entry of its index.

    `platform` is that of the entry, else of the config, as `linux/arm64/v8`; `config` the digest of the image config;
    `layers` the digests of the layers, from the lowest; `runtime` what the config says of the process, under the names
    of the image specification (`Entrypoint`, `Env`, ...), and of itself (`os`, `author`, `created`, ...); `annotations`
    those of the index's entry.
    """

    manifest: str
    platform: str
    config: str
    layers: tuple[str, ...]
    runtime: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def blobs(self) -> tuple[str, ...]:
        """The digests of all that the variant is made of: manifest, config, each layer once."""
        return tuple(dict.fromkeys((self.manifest, self.config, *self.layers)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """What automatons run, or what such a thing was made from.

    `id` ends with the name of its document, or with a reference where no document is about it. `reference` says where
    it is, with its transport; `digest` is that of its manifest or index (of a store path: that of its closure), empty
    where nobody knows it. `base` and `builders` are ids. `paths` are the store paths of its closure, its own first.
    `given` and `lines` are what its document sets, as those of an Automaton.
    """

    id: str
    reference: str
    digest: str = ""
    origin: Origin = NO_ORIGIN
    index: str = ""
    """The digest of the index that the variants are entries of, empty for a single image."""
    variants: tuple[Variant, ...] = ()
    paths: tuple[str, ...] = ()
    base: str = ""
    builders: tuple[str, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def blobs(self) -> tuple[str, ...]:
        """The digests, or store paths, of all that the artefact is made of, each once."""
        found = [self.index] if self.index else []
        return tuple(dict.fromkeys((*found, *(blob for item in self.variants for blob in item.blobs), *self.paths)))

    def edges(self) -> Iterator[Edge]:
        """Yield the edges that begin here."""
        for blob in self.blobs:
            yield Edge(self.id, Relation.CONTAINS, layer_id(blob))
        if self.base:
            yield Edge(self.id, Relation.BUILT_ON, self.base)
        for builder in self.builders:
            yield Edge(self.id, Relation.BUILT_FROM, builder)


class Role(StrEnum):
    """What a blob is to the artefacts that contain it."""

    LAYER = "layer"
    CONFIG = "config"
    MANIFEST = "manifest"
    INDEX = "index"
    PATH = "store-path"
    UNKNOWN = "unknown"
    """A blob that a host has and that is of no artefact of the graph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What is moved as a whole; `size` in bytes as it is moved, None where nobody knows it."""

    id: str
    role: Role
    size: int | None = None
    media_type: str = ""
    references: tuple[str, ...] = ()
    """Ids of other store paths that this one cannot do without."""

    def edges(self) -> Iterator[Edge]:
        """Yield the edges that begin here."""
        for target in self.references:
            yield Edge(self.id, Relation.REFERS_TO, target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Automaton:
    """What an operator wants to run.

    `given` is what its document sets, in the shape of the document (`process`, `mounts`, `ports`, `placement`, ...) and
    valid; `lines` says in which line of the document's file each of it stands, by dotted path (`process.args`).
    `address` is a digest of the artefact's digest and the effective configuration: equal ones behave alike.
    """

    id: str
    artefact: str
    address: str
    replicas: int = 1
    given: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    origin: Origin = NO_ORIGIN

    def edges(self) -> Iterator[Edge]:
        """Yield the edges that begin here."""
        yield Edge(self.id, Relation.RUNS, self.artefact)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A replica: number `ordinal`, from 0, of an automaton.

    On a host once it is placed: `host` is its id, `variant` the digest of the manifest that runs there. `why` says how
    it came there, for people.
    """

    id: str
    automaton: str
    ordinal: int
    host: str = ""
    variant: str = ""
    why: str = ""

    def edges(self) -> Iterator[Edge]:
        """Yield the edges that begin here."""
        yield Edge(self.id, Relation.INSTANCE_OF, self.automaton)
        if self.host:
            yield Edge(self.id, Relation.PLACED_ON, self.host)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a host has or an instance asks for: processors in thousandths, memory in bytes, and others by name.

    None is no limit of a host, and nothing asked by an instance.
    """

    cpu: int | None = None
    memory: int | None = None
    others: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostNode:
    """A machine; `profile` is its document as `selection.hosts.Host.document` has it, `blobs` are digests or paths."""

    id: str
    profile: Mapping[str, Any]
    resources: Resources = field(default_factory=Resources)
    blobs: tuple[str, ...] = ()
    origin: Origin = NO_ORIGIN

    def edges(self) -> Iterator[Edge]:
        """Yield the edges that begin here."""
        for blob in self.blobs:
            yield Edge(self.id, Relation.HAS, layer_id(blob))


Node = Artefact | Layer | Automaton | Instance | HostNode


def kind_of(node_id: str) -> Kind:
    """Return the kind of a node by its id."""
    return Kind(node_id.partition("/")[0])


def name_of(node_id: str) -> str:
    """Return a node's id without its kind: `shop/0` of `instance/shop/0`."""
    return node_id.partition("/")[2]


def layer_id(blob: str) -> str:
    """Return the id of the node of a digest or a store path."""
    return f"{Kind.LAYER}/{blob}"


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes by id, in the order of their ids."""

    nodes: Mapping[str, Node]

    def edges(self) -> Iterator[Edge]:
        """Yield every edge, in the order of the nodes that they begin at."""
        for node in self.nodes.values():
            yield from node.edges()


class View(Protocol):
    """A graph that is asked: in memory, or a saved one of which only what is asked for is read."""

    def get(self, node_id: str) -> Node | None:
        """Return a node, None where the graph has none of that id."""
        ...

    def into(self, node_id: str) -> Mapping[Relation, tuple[str, ...]]:
        """Return the ids of the nodes whose edges end at a node, by relation, each in order."""
        ...

    def ids(self, kind: Kind) -> Iterator[str]:
        """Yield the ids of all nodes of a kind, in order."""
        ...
