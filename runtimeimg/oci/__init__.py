"""OCI values and documents: digests, descriptors, platforms, references, configs, manifests and indexes."""

from runtimeimg.oci.descriptor import Descriptor
from runtimeimg.oci.digest import Digest
from runtimeimg.oci.documents import ImageConfig, Index, Manifest, parse_manifest
from runtimeimg.oci.platform import Platform
from runtimeimg.oci.reference import Location, Reference

__all__ = [
    "Descriptor",
    "Digest",
    "ImageConfig",
    "Index",
    "Location",
    "Manifest",
    "Platform",
    "Reference",
    "parse_manifest",
]
