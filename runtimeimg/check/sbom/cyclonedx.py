"""CycloneDX 1.6 as JSON (ECMA-424), written by cyclonedx-python-lib.

A package is a component, with the paths of its files as its occurrences; a file of no package is a component itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.component_evidence import ComponentEvidence, Occurrence
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from runtimeimg import __version__
from runtimeimg.check.packages import Package
from runtimeimg.check.sbom.contents import Contents, Entry
from runtimeimg.check.sbom.values import BASE, BUILDER, created, plain, serial


def document(contents: Contents) -> bytes:
    """Return a bill of materials as CycloneDX."""
    licenses = LicenseFactory()
    image = Component(
        type=ComponentType.CONTAINER,
        name=plain(contents.name),
        version=str(contents.digest),
        bom_ref=str(contents.digest),
        properties=[Property(name="runtimeimg:platform", value=contents.platform)],
    )
    made_by = Component(type=ComponentType.APPLICATION, name="runtimeimg", version=__version__, bom_ref="runtimeimg")
    metadata = BomMetaData(timestamp=created(contents), component=image)
    metadata.tools.components.add(made_by)
    bom = Bom(
        serial_number=serial(contents, "cyclonedx"),
        metadata=metadata,
        components=[
            *(_package(licenses, contents, item, files) for item, files in contents.packages.items()),
            *(_file(entry) for entry in contents.unattributed),
        ],
    )
    bom.register_dependency(image, bom.components)
    return JsonV1Dot6(bom).output_as_string(indent=2).encode() + b"\n"


def _package(licenses: LicenseFactory, contents: Contents, package: Package, files: tuple[Entry, ...]) -> Component:
    return Component(
        type=ComponentType.LIBRARY,
        name=plain(package.name),
        group=plain(package.namespace) if package.kind == "npm" and package.namespace else None,
        version=plain(package.version) or None,
        bom_ref=plain(package.purl),
        purl=PackageURL.from_string(plain(package.purl)),
        licenses=[licenses.make_from_string(plain(package.license))] if package.license.strip() else None,
        properties=_properties(contents, package, files),
        evidence=ComponentEvidence(occurrences=[_occurrence(entry) for entry in files]) if files else None,
    )


def _occurrence(entry: Entry) -> Occurrence:
    """Return where a file is; without references of their own the library puts them in no order that stays."""
    return Occurrence(location=plain(entry.path), bom_ref=f"file:{plain(entry.path)}")


def _properties(contents: Contents, package: Package, files: tuple[Entry, ...]) -> Iterator[Property]:
    if package in contents.base:
        yield Property(name="runtimeimg:from", value=BASE)
    if files:
        yield Property(name="runtimeimg:from", value=BUILDER)
    if package.origin:
        yield Property(name="runtimeimg:source-package", value=plain(package.origin))


def _file(entry: Entry) -> Component:
    told = {"source": entry.source, "copy": entry.origin, "target": entry.target}
    return Component(
        type=ComponentType.FILE,
        name=plain(entry.path),
        bom_ref=f"file:{plain(entry.path)}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=entry.sha256)] if not entry.target else None,
        properties=[Property(name=f"runtimeimg:{key}", value=plain(value)) for key, value in told.items() if value],
    )
