"""SPDX 2.3 as JSON (ISO/IEC 5962), written by spdx-tools.

The image is a package that contains packages, which contain their files; files of no package are contained in the
image itself. SPDX wants a SHA-1 of every file; that of a symlink is its target's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence

from license_expression import ExpressionError, LicenseExpression, get_spdx_licensing
from spdx_tools.spdx.jsonschema.document_converter import DocumentConverter
from spdx_tools.spdx.model.actor import Actor, ActorType
from spdx_tools.spdx.model.checksum import Checksum, ChecksumAlgorithm
from spdx_tools.spdx.model.document import CreationInfo, Document
from spdx_tools.spdx.model.file import File
from spdx_tools.spdx.model.package import (
    ExternalPackageRef,
    ExternalPackageRefCategory,
    PackagePurpose,
    PackageVerificationCode,
)
from spdx_tools.spdx.model.package import Package as SpdxPackage
from spdx_tools.spdx.model.relationship import Relationship, RelationshipType
from spdx_tools.spdx.model.spdx_no_assertion import SpdxNoAssertion

from runtimeimg import __version__
from runtimeimg.check.packages import Package
from runtimeimg.check.sbom.contents import Contents, Entry
from runtimeimg.check.sbom.values import BASE, BUILDER, created, plain, serial

_DOCUMENT, _IMAGE = "SPDXRef-DOCUMENT", "SPDXRef-Image"
_NAMESPACE = "https://github.com/runtimeimg/runtimeimg/sbom"


def document(contents: Contents) -> bytes:
    """Return a bill of materials as SPDX."""
    made = Document(
        creation_info=CreationInfo(
            spdx_version="SPDX-2.3",
            spdx_id=_DOCUMENT,
            name=plain(contents.name),
            document_namespace=f"{_NAMESPACE}/{serial(contents, 'spdx')}",
            creators=[Actor(ActorType.TOOL, f"runtimeimg-{__version__}")],
            created=created(contents).replace(tzinfo=None),
        ),
        packages=[_image(contents), *(_package(contents, item) for item in contents.packages)],
        files=[_file(entry) for entries in (*contents.packages.values(), contents.unattributed) for entry in entries],
        relationships=[Relationship(_DOCUMENT, RelationshipType.DESCRIBES, _IMAGE), *_contained(contents)],
    )
    data = DocumentConverter().convert(made)  # type: ignore[no-untyped-call]  # it has no hints
    return json.dumps(data, indent=2, sort_keys=True).encode() + b"\n"


def _contained(contents: Contents) -> Iterator[Relationship]:
    for package, entries in contents.packages.items():
        yield Relationship(_IMAGE, RelationshipType.CONTAINS, _id("Package", package.purl))
        for entry in entries:
            yield Relationship(_id("Package", package.purl), RelationshipType.CONTAINS, _id("File", entry.path))
    for entry in contents.unattributed:
        yield Relationship(_IMAGE, RelationshipType.CONTAINS, _id("File", entry.path))


def _id(kind: str, text: str) -> str:
    return f"SPDXRef-{kind}-{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:20]}"


def _image(contents: Contents) -> SpdxPackage:
    return SpdxPackage(
        spdx_id=_IMAGE,
        name=plain(contents.name),
        download_location=SpdxNoAssertion(),
        version=str(contents.digest),
        files_analyzed=bool(contents.unattributed),
        verification_code=_code(contents.unattributed),
        checksums=[Checksum(ChecksumAlgorithm.SHA256, contents.digest.encoded)],
        primary_package_purpose=PackagePurpose.CONTAINER,
        comment=f"platform {contents.platform}",
    )


def _package(contents: Contents, package: Package) -> SpdxPackage:
    came = [name for name, has in ((BASE, package in contents.base), (BUILDER, contents.packages[package])) if has]
    purl = ExternalPackageRef(ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", plain(package.purl))
    scoped = package.kind == "npm" and package.namespace
    return SpdxPackage(
        spdx_id=_id("Package", package.purl),
        name=plain(f"{package.namespace}/{package.name}" if scoped else package.name),
        download_location=SpdxNoAssertion(),
        version=plain(package.version) or None,
        files_analyzed=bool(contents.packages[package]),
        verification_code=_code(contents.packages[package]),
        license_declared=_license(package.license),
        source_info=f"from the {' and the '.join(came)} image"
        + (f", source package {plain(package.origin)}" if package.origin else ""),
        external_references=[purl],
    )


def _code(entries: Sequence[Entry]) -> PackageVerificationCode | None:
    """Return what vouches for the files of a package (7.9, "Package verification code")."""
    joined = "".join(sorted(entry.sha1 for entry in entries))
    code = hashlib.sha1(joined.encode(), usedforsecurity=False).hexdigest()
    return PackageVerificationCode(code) if entries else None


def _license(text: str) -> LicenseExpression | SpdxNoAssertion:
    """Return the expression of a record's licence; what is none of SPDX's is not asserted."""
    try:
        return get_spdx_licensing().parse(text, validate=True) or SpdxNoAssertion() if text else SpdxNoAssertion()
    except (ExpressionError, ValueError):
        return SpdxNoAssertion()


def _file(entry: Entry) -> File:
    told = {"source": entry.source, "copy": entry.origin, "symlink to": entry.target}
    return File(
        name="." + plain(entry.path),
        spdx_id=_id("File", entry.path),
        checksums=[
            Checksum(ChecksumAlgorithm.SHA1, entry.sha1),
            Checksum(ChecksumAlgorithm.SHA256, entry.sha256),
        ],
        comment="; ".join(f"{key} {plain(value)}" for key, value in told.items() if value) or None,
    )
