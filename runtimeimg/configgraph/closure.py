"""What has to be there for something to run: its blobs, or the paths of a store, and which of them somebody lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from runtimeimg.configgraph.model import (
    Artefact,
    Automaton,
    HostNode,
    Instance,
    Kind,
    Layer,
    Node,
    Relation,
    Role,
    View,
    layer_id,
    name_of,
)
from runtimeimg.configgraph.variants import for_platform
from runtimeimg.configgraph.views import there
from runtimeimg.errors import InvalidDocumentError, NotFoundError
from runtimeimg.oci import Platform

_ORDER = {role: number for number, role in enumerate((Role.LAYER, Role.PATH, Role.UNKNOWN, Role.CONFIG))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A blob, or a path of a store; `missing` where none of those that were named has it."""

    name: str
    layer: Layer
    missing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How many blobs, their bytes together, and how many of them are of a size that nobody knows."""

    count: int
    size: int
    unknown: int

    @classmethod
    def of(cls, layers: Iterable[Layer]) -> Amount:
        """Return the amount of some blobs."""
        sizes = [item.size for item in layers]
        known = [size for size in sizes if size is not None]
        return cls(count=len(sizes), size=sum(known), unknown=len(sizes) - len(known))


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """The blobs that a node needs, layers first, in the order of their names within a role."""

    node: str
    blobs: tuple[Blob, ...]

    @property
    def needed(self) -> Amount:
        """All of it."""
        return Amount.of(blob.layer for blob in self.blobs)

    @property
    def missing(self) -> Amount:
        """What has to be moved."""
        return Amount.of(blob.layer for blob in self.blobs if blob.missing)


def closure(view: View, node: Node, have: Iterable[str] = (), platform: Platform | None = None) -> Closure:
    """Return what `node` needs; `have` are digests and paths that are there already.

    With a platform only the variants for it count. NotFoundError for an artefact without one, or never looked at.
    """
    known = frozenset(have)
    names = dict.fromkeys(needs(view, node, platform))
    layers = {name: _layer(view, name, node.id) for name in _with_references(view, names, node.id)}
    found = [Blob(name=name, layer=layer, missing=name not in known) for name, layer in layers.items()]
    found.sort(key=lambda item: (_ORDER.get(item.layer.role, len(_ORDER)), item.name))
    return Closure(node=node.id, blobs=tuple(found))


def needs(view: View, node: Node, platform: Platform | None = None) -> Iterator[str]:
    """Yield the blobs of what a node runs or is, some more than once; of paths without what they refer to."""
    match node:
        case Layer():
            yield name_of(node.id)
        case Artefact():
            if not is_known(node):
                raise NotFoundError(
                    f"artefact '{name_of(node.id)[:200]}' was never looked at, so that nobody knows its blobs",
                    hint="write a document of the kind Artefact about it, and build the graph anew",
                )
            if platform is None or not node.variants:
                yield from node.blobs
            else:
                yield from (*for_platform(node, platform).blobs, *node.paths)
        case Automaton():
            yield from needs(view, there(view, node.artefact, node.id), platform)
        case Instance():
            yield from _of_instance(view, node, platform)
        case HostNode():
            for item in view.into(node.id).get(Relation.PLACED_ON, ()):
                yield from needs(view, there(view, item, node.id), platform)


def is_known(node: Artefact) -> bool:
    """Tell whether an artefact was looked at: of a base or a builder image often nothing is known but its name."""
    return bool(node.variants or node.paths)


def _of_instance(view: View, node: Instance, platform: Platform | None) -> Iterator[str]:
    """Yield what an instance needs: of a placed one the variant that was chosen for its host."""
    automaton = there(view, node.automaton, node.id)
    assert isinstance(automaton, Automaton)
    artefact = there(view, automaton.artefact, automaton.id)
    assert isinstance(artefact, Artefact)
    chosen = [item for item in artefact.variants if node.variant and item.manifest == node.variant]
    if node.variant and not chosen and artefact.variants:
        raise InvalidDocumentError(
            f"{node.id!r} runs the variant {node.variant[:80]}, which '{artefact.id}' has not",
            hint="place the instances anew with 'runtimeimg graph place'",
        )
    yield from (*chosen[0].blobs, *artefact.paths) if chosen else needs(view, artefact, platform)


def _with_references(view: View, names: Iterable[str], source: str) -> Iterator[str]:
    """Yield names and whatever they refer to, each once."""
    waiting = list(names)
    seen = set(waiting)
    while waiting:
        name = waiting.pop()
        yield name
        new = [name_of(item) for item in _layer(view, name, source).references]
        waiting += [item for item in dict.fromkeys(new) if item not in seen]
        seen.update(new)


def _layer(view: View, name: str, source: str) -> Layer:
    node = there(view, layer_id(name), source)
    assert isinstance(node, Layer)
    return node


def had(view: View, node: Node) -> Iterator[str]:
    """Yield the blobs that a host has, or that whoever has all of an artefact, automaton or instance has."""
    names = node.blobs if isinstance(node, HostNode) else needs(view, node)
    yield from _with_references(view, dict.fromkeys(names), node.id)


HAVING = (Kind.HOST, Kind.ARTEFACT, Kind.AUTOMATON, Kind.INSTANCE)
"""Kinds of nodes that may have blobs."""
