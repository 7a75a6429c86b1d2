"""What a change touches: from images, blobs or packages up to the automatons, instances and hosts that need them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from runtimeimg.configgraph.model import Artefact, Instance, Kind, Layer, Relation, View, kind_of, layer_id, name_of
from runtimeimg.configgraph.spelling import spelling
from runtimeimg.configgraph.views import there
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.oci import Digest

_MANY = 2000
"""Automatons from which on all instances and hosts are gone through in their order, rather than each looked up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """An artefact and why it is touched: it `is`, `contains`, or was `built-on` or `built-from` what `via` names."""

    id: str
    how: str
    via: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """What is touched, each part in the order of the ids; `holding` are the hosts that have the blob asked for."""

    artefacts: tuple[Touched, ...]
    automatons: tuple[str, ...]
    instances: tuple[str, ...]
    hosts: tuple[str, ...]
    holding: tuple[str, ...] = ()


def impact(view: View, starts: Iterable[Touched], holding: Iterable[str] = ()) -> Impact:
    """Return what depends on artefacts, along whatever was built on or from them."""
    found: dict[str, Touched] = {}
    waiting = deque(sorted(starts, key=lambda item: item.id))
    while waiting:
        item = waiting.popleft()
        if item.id in found:
            continue
        found[item.id] = item
        into = view.into(item.id)
        for relation in (Relation.BUILT_ON, Relation.BUILT_FROM):
            waiting += [Touched(id=name, how=str(relation), via=item.id) for name in into.get(relation, ())]
    automatons = sorted({name for item in found for name in view.into(item).get(Relation.RUNS, ())})
    instances, hosts = _running(view, automatons)
    return Impact(
        artefacts=tuple(found[name] for name in sorted(found)),
        automatons=tuple(automatons),
        instances=tuple(instances),
        hosts=tuple(hosts),
        holding=tuple(sorted(set(holding))),
    )


def _running(view: View, automatons: list[str]) -> tuple[list[str], list[str]]:
    """Return the instances of automatons and the hosts that these are on."""
    if len(automatons) < _MANY:
        found = sorted(item for name in automatons for item in view.into(name).get(Relation.INSTANCE_OF, ()))
        nodes = (there(view, item, item) for item in found)
        return found, sorted({node.host for node in nodes if isinstance(node, Instance) and node.host})
    names = {f"{Kind.INSTANCE}/{name_of(item)}" for item in automatons}
    found = [item for item in view.ids(Kind.INSTANCE) if item.rpartition("/")[0] in names]
    kept = set(found)
    hosts = [host for host in view.ids(Kind.HOST) if not kept.isdisjoint(_placed(view, host))]
    return found, hosts


def _placed(view: View, host: str) -> tuple[str, ...]:
    return view.into(host).get(Relation.PLACED_ON, ())


def of_blob(view: View, name: str) -> tuple[list[Touched], tuple[str, ...]]:
    """Return the artefacts that a digest or store path is of, or that contain it, and the hosts that have it.

    Of a store path those that contain any path that refers to it count too. Nothing where the graph has no such blob.
    """
    found: dict[str, Touched] = {}
    holding: set[str] = set()
    waiting, seen = [layer_id(name)], {layer_id(name)}
    while waiting:
        node_id = waiting.pop()
        into = view.into(node_id)
        for item in into.get(Relation.CONTAINS, ()):
            found.setdefault(item, _of(view, item, name_of(node_id)))
        holding.update(into.get(Relation.HAS, ()))
        new = [item for item in into.get(Relation.REFERS_TO, ()) if item not in seen]
        seen.update(new)
        waiting += new
    return list(found.values()), tuple(holding)


def _of(view: View, artefact: str, blob: str) -> Touched:
    node = there(view, artefact, artefact)
    assert isinstance(node, Artefact)
    own = {node.digest, node.index, *(item.manifest for item in node.variants)}
    return Touched(id=artefact, how="is" if blob in own else "contains", via=blob)


def of_image(view: View, text: str) -> list[Touched]:
    """Return the artefacts that a name, an id or a reference of an image means; nothing where there are none."""
    for node_id in (text, f"{Kind.ARTEFACT}/{text}"):
        if node_id.startswith(f"{Kind.ARTEFACT}/") and view.get(node_id) is not None:
            return [Touched(id=node_id, how="is", via=text)]
    wanted = spelling(text)
    if not wanted:
        return []
    nodes = ((node_id, view.get(node_id)) for node_id in view.ids(Kind.ARTEFACT))
    return [
        Touched(id=node_id, how="is", via=text)
        for node_id, node in nodes
        if isinstance(node, Artefact) and node.reference and spelling(node.reference) == wanted
    ]


def is_blob(text: str) -> bool:
    """Tell whether a text is a digest or a path of a store."""
    try:
        Digest.parse(text)
    except InvalidDocumentError:
        return text.startswith("/")
    return True


def by_kind(found: Impact) -> Mapping[str, int]:
    """Return how many of each kind are touched."""
    return {
        "artefacts": len(found.artefacts),
        "automatons": len(found.automatons),
        "instances": len(found.instances),
        "hosts": len(found.hosts),
    }


def blob_of(view: View, text: str) -> str:
    """Return the digest or path that `text` means: itself, or that of a node of the kind layer; empty for neither."""
    name = name_of(text) if text.startswith(f"{Kind.LAYER}/") else text
    node = view.get(layer_id(name)) if is_blob(name) else None
    return name if isinstance(node, Layer) and kind_of(node.id) is Kind.LAYER else ""
