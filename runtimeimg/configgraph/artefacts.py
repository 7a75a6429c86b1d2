"""Artefact nodes: of documents, of references that are used directly, and of the bases and builders of all these."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from runtimeimg.configgraph.facts import Base, Facts
from runtimeimg.configgraph.model import Artefact, Kind, Layer, Origin
from runtimeimg.configgraph.reading import Written, problem
from runtimeimg.configgraph.resolve import Wanted
from runtimeimg.configgraph.spelling import spelling
from runtimeimg.errors import InvalidDocumentError, NotFoundError, SpecError
from runtimeimg.oci import Digest
from runtimeimg.spec import load_spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a Build spec says of the image that it makes."""

    output: str = ""
    base: str = ""
    builders: tuple[str, ...] = ()


def made(document: Written) -> Made:
    """Return what the Build spec of an Artefact says; SpecError for one that is not there, wrong, or without a name."""
    path = beside(document, document.given["build"])
    try:
        spec = load_spec(path).spec
    except NotFoundError as error:
        raise SpecError(
            [problem(document.origin, "build", f"{error.message}; write the path of a Build spec")]
        ) from None
    output = spec.output_image or ""
    if not output and "image" not in document.given:
        said = f"'{path}' does not say what its image is called; write spec.output.image there, or 'image' here"
        raise SpecError([problem(document.origin, "build", said)])
    runtimes = [spec, *(spec.of_variant(item.name) for item in spec.spec.variants)]
    bases = dict.fromkeys(item.runtime.base for item in runtimes)
    images = dict.fromkeys(
        name
        for item in runtimes
        for name in (item.builder_image, *(part.image for part in item.runtime.directories))
        if name and name != output and not name.startswith("dir:")
    )
    base = next(iter(bases))
    return Made(output=output, base="" if base == "scratch" else base, builders=tuple(images))


def beside(document: Written, path: str) -> str:
    """Return a path that a document names, as it is seen from here."""
    return os.path.normpath(Path(folder(document), path))


def folder(document: Written) -> str:
    """Return the folder that paths of a document are relative to."""
    return str(Path(document.origin.file).parent)


def wanted(document: Written, made_of: Made | None) -> Wanted:
    """Return what has to be opened for an Artefact of an image."""
    given = document.given
    return Wanted(
        name=document.name,
        image=given.get("image") or (made_of.output if made_of else ""),
        folder=folder(document),
        digest=given.get("digest", ""),
        sha256=given.get("sha256", ""),
        origin=document.origin,
        path=next(key for key in ("image", "imageName", "build") if key in document.lines),
    )


def artefact_id(name: str) -> str:
    """Return the id of the artefact of a document, or of a reference."""
    return f"{Kind.ARTEFACT}/{name}"


@dataclass(slots=True)
class Artefacts:
    """The artefacts of a graph as they are put together; `layers` are the nodes of their blobs by id."""

    nodes: dict[str, Artefact] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)
    _by_digest: dict[str, str] = field(default_factory=dict)
    _by_name: dict[str, str] = field(default_factory=dict)

    def add(self, node: Artefact, images: Iterable[str], layers: Iterable[Layer] = ()) -> None:
        """Add an artefact that was opened; `images` are what its document and its Build spec call it."""
        self.nodes[node.id] = node
        for layer in layers:
            self.layers.setdefault(layer.id, layer)
        for digest in (node.digest, *(variant.manifest for variant in node.variants)):
            if digest:
                self._by_digest.setdefault(digest, node.id)
        for text in (*images, node.reference):
            if text:
                self._by_name.setdefault(spelling(text), node.id)

    def named(self, image: str) -> str:
        """Return the id of the artefact that an image's name means, empty where there is none."""
        return self._by_name.get(spelling(image), "")

    def link(self, node_id: str, facts: Facts | None, made_of: Made | None) -> None:
        """Tell an artefact what it was built on and from; what has no node yet gets one."""
        node = self.nodes[node_id]
        base = self._base(facts.bases if facts else (), made_of)
        found = [self._of(item) for item in (facts.builders if facts else ())]
        found += [self._of(Base(name=name)) for name in (made_of.builders if made_of else ())]
        builders = tuple(dict.fromkeys(item for item in found if item and item not in {node_id, base}))
        self.nodes[node_id] = replace(node, base="" if base == node_id else base, builders=builders)

    def _base(self, bases: Sequence[Base], made_of: Made | None) -> str:
        """Return the artefact that an image was built on: what its labels say, else what its Build spec does."""
        ids = list(dict.fromkeys(filter(None, map(self._of, bases))))
        if len(ids) == 1:
            return ids[0]
        names = dict.fromkeys(item.name for item in bases if item.name)
        if len(names) == 1:  # the variants of an index have bases of different digests, which nobody knows as one
            return self._of(Base(name=next(iter(names))))
        return self._of(Base(name=made_of.base)) if made_of is not None and made_of.base else ""

    def _of(self, base: Base) -> str:
        """Return the id of what was built on: by its digest, else by its name; what is unknown gets a node."""
        digest = _digest(base.digest)
        if digest and digest in self._by_digest:
            return self._by_digest[digest]
        name = spelling(base.name) if base.name else ""
        if not digest and name in self._by_name:
            return self._by_name[name]
        text = "@".join(part for part in (name.partition("@")[0], digest) if part)
        if not text:
            return ""
        found = artefact_id(text)
        if found not in self.nodes:
            self.nodes[found] = Artefact(id=found, reference=text, digest=digest)
        return found


def node_of(document: Written, facts: Facts) -> Artefact:
    """Return the artefact of a document about an image."""
    return Artefact(
        id=artefact_id(document.name),
        reference=facts.reference,
        digest=facts.digest,
        origin=document.origin,
        index=facts.index,
        variants=facts.variants,
        given=document.given,
        lines=document.lines,
    )


def node_of_reference(image: str, facts: Facts, origin: Origin) -> Artefact:
    """Return the artefact of a reference that an automaton names itself."""
    return Artefact(
        id=artefact_id(image),
        reference=facts.reference,
        digest=facts.digest,
        origin=origin,
        index=facts.index,
        variants=facts.variants,
    )


def _digest(text: str) -> str:
    try:
        return str(Digest.parse(text)) if text else ""
    except InvalidDocumentError:
        return ""


def is_reference(text: str) -> bool:
    """Tell whether what an automaton runs is an image reference: it has a registry, a tag, or a transport."""
    return any(mark in text for mark in "/:@")


def spellings(names: Mapping[str, str]) -> dict[str, str]:
    """Return names by their one spelling."""
    return {spelling(image): name for name, image in names.items() if spelling(image)}
