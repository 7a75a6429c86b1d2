"""Packages of artefacts: by a bill of materials that is kept beside an image, else by the image's own records.

What was found of an image is kept under its digest. An image that cannot be looked at is said to be so: no answer about
packages is given for it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from runtimeimg.budgets import MAX_DOCUMENT
from runtimeimg.cache import Cache
from runtimeimg.configgraph.model import Artefact, Variant
from runtimeimg.errors import InvalidDocumentError, NotFoundError, RuntimeimgError, UsageError
from runtimeimg.image import Image
from runtimeimg.oci import Digest, Location, Platform
from runtimeimg.stores import StoreOptions

KIND, _FORMAT = "graph", "packages 1"
_STORED = re.compile(r"(?:[0-9a-z]{32}-)?(.+?)(?:-([^a-zA-Z].*))?\Z")
"""A name in a store: its hash, the name, and the version from the first dash on that no letter follows."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Package:
    """A package; `kind` is that of its package URL, empty where nobody says it."""

    kind: str = ""
    namespace: str = ""
    name: str
    version: str = ""

    def __str__(self) -> str:
        place = "/".join(part for part in (self.kind, self.namespace, self.name) if part)
        return f"{'pkg:' if self.kind else ''}{place}" + (f"@{self.version}" if self.version else "")

    def matches(self, wanted: Package) -> bool:
        """Tell whether this is what is asked for; what `wanted` leaves empty may be anything."""
        return (
            self.name.lower() == wanted.name.lower()
            and wanted.kind in {"", self.kind}
            and wanted.namespace in {"", self.namespace}
            and wanted.version in {"", self.version}
        )


def parse(text: str) -> Package:
    """Return the package that a package URL or `NAME[@VERSION]` means; UsageError for what is neither."""
    if text.startswith("pkg:"):
        found = _of_purl(text)
        if found is None:
            raise UsageError(f"{text[:200]!r} is not a package URL", hint="write one such as pkg:deb/debian/openssl")
        return found
    head, at, version = text.rpartition("@") if "@" in text[1:] else (text, "", "")
    namespace, slash, name = head.rpartition("/")
    if not name.strip("@") or (at and not version) or (slash and not namespace):
        raise UsageError(f"{text[:200]!r} is not a name of a package", hint="write NAME, NAME@VERSION or a package URL")
    return Package(name=name, namespace=namespace, version=version)


def _of_purl(text: str) -> Package | None:
    """Return the package of a package URL (purl-spec); qualifiers and subpaths are not minded."""
    rest = text.removeprefix("pkg:").partition("#")[0].partition("?")[0].strip("/")
    head, at, version = rest.rpartition("@")
    head, version = (head, version) if at and "/" in head else (rest, "")
    kind, _, path = head.partition("/")
    namespace, _, name = path.strip("/").rpartition("/")
    if not kind or not name:
        return None
    return Package(kind=kind.lower(), namespace=unquote(namespace), name=unquote(name), version=unquote(version))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How images are looked at; with `offline` no registry is asked."""

    options: StoreOptions
    cache: Cache | None
    offline: bool = False


def packages(artefact: Artefact, ways: Ways) -> frozenset[Package]:
    """Return the packages of all variants of an artefact; what looking at one raises where that cannot be."""
    stored = {_stored(path) for path in artefact.paths}
    if not artefact.variants and not artefact.paths:
        raise NotFoundError("its image was never looked at")
    return frozenset(stored.union(*(_of_variant(artefact, item, ways) for item in artefact.variants)))


def _stored(path: str) -> Package:
    found = _STORED.match(path.rpartition("/")[2])
    assert found is not None
    return Package(name=found[1], version=found[2] or "")


def _of_variant(artefact: Artefact, variant: Variant, ways: Ways) -> frozenset[Package]:
    key = hashlib.sha256(f"{_FORMAT} {variant.manifest}".encode()).hexdigest()
    kept = ways.cache.get(KIND, key) if ways.cache is not None else None
    if kept is not None:
        return frozenset(
            Package(kind=one[0], namespace=one[1], name=one[2], version=one[3]) for one in json.loads(kept)
        )
    location = Location.parse(artefact.reference)
    if ways.offline and location.transport in {None, "docker"}:
        raise NotFoundError("its packages are not in the cache, and --offline asks no registry")
    found = _attached(location, variant, ways)
    if found is None:
        found = frozenset(_recorded(location, variant, ways))
    if ways.cache is not None:
        data = [[item.kind, item.namespace, item.name, item.version] for item in sorted(found)]
        ways.cache.put(KIND, key, json.dumps(data).encode())
    return found


def _attached(location: Location, variant: Variant, ways: Ways) -> frozenset[Package] | None:
    """Return what a bill of materials beside the image says, None where there is none."""
    if location.transport not in {"oci", "docker"}:
        return None
    from runtimeimg.check.sbom import FORMATS
    from runtimeimg.stores.artifacts import artifacts_of

    kept = artifacts_of(location, ways.options, "bill of materials")
    listed = kept.referrers(Digest.parse(variant.manifest))
    for form in FORMATS.values():
        for item in listed:
            if item.artifact_type == form.media_type:
                files = kept.files(item.digest, MAX_DOCUMENT)
                return frozenset(told(files.get(form.media_type, b"")))
    return None


def told(data: bytes) -> Iterator[Package]:
    """Yield the packages that a bill of materials lists (CycloneDX or SPDX as JSON), those with package URLs."""
    from runtimeimg.oci.documents import load_json

    document = load_json(data, "bill of materials")
    for item in _components(document.get("components"), 0):
        yield from _listed(item.get("purl"))
    for item in _objects(document.get("packages")):
        for reference in _objects(item.get("externalRefs")):
            if reference.get("referenceType") == "purl":
                yield from _listed(reference.get("referenceLocator"))


def _components(items: object, depth: int) -> Iterator[Mapping[str, Any]]:
    for item in _objects(items):
        yield item
        if depth < _DEPTH:
            yield from _components(item.get("components"), depth + 1)


_DEPTH = 20


def _objects(items: object) -> Iterable[Mapping[str, Any]]:
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []


def _listed(text: object) -> Iterator[Package]:
    found = _of_purl(text) if isinstance(text, str) and text.startswith("pkg:") else None
    if found is not None:
        yield found


def _recorded(location: Location, variant: Variant, ways: Ways) -> Iterator[Package]:
    """Yield the packages that an image's own records list."""
    from runtimeimg.check.opened import opened

    image = _opened(location, variant, ways.options)
    manifest = image.manifest.digest if image.manifest is not None else None
    if variant.manifest not in {manifest, image.config.digest}:
        raise InvalidDocumentError("its image is another one now", hint="build the graph anew")
    with opened(image, cache=ways.cache, account=ways.options.account) as facts:
        owners = facts.owners
        modules = (owners.of(file.path) for file in facts.view.walk())
        for item in {*owners.packages, *(module for module in modules if module is not None)}:
            yield Package(kind=item.kind, namespace=item.namespace, name=item.name, version=item.version)


def _opened(location: Location, variant: Variant, options: StoreOptions) -> Image:
    """Return the image of a variant: of a registry or a layout by its digest, whatever has its tag now."""
    from runtimeimg.stores import open_one
    from runtimeimg.stores.layout.layouts import open_blob_of

    if location.transport == "docker" and location.reference is not None:
        pinned = replace(location.reference, tag=None, digest=Digest.parse(variant.manifest))
        location = replace(location, reference=pinned)
    found = open_blob_of(location, Digest.parse(variant.manifest), options) if location.transport == "oci" else None
    if isinstance(found, Image):
        return found
    return open_one(location, Platform.parse(variant.platform) if variant.platform else None, options)


def reason(error: RuntimeimgError) -> str:
    """Return why an artefact could not be looked at, in a line."""
    return " ".join(error.message.split())
