"""Media types of OCI image-spec and of Docker's Image Manifest Version 2, Schema 2."""

from __future__ import annotations

from runtimeimg.errors import InvalidDocumentError

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"

INDEXES = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
CONFIGS = frozenset({OCI_CONFIG, DOCKER_CONFIG})

_COMPRESSION = {
    OCI_LAYER: "none",
    OCI_LAYER + "+gzip": "gzip",
    OCI_LAYER + "+zstd": "zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar": "none",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": "gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": "zstd",
    "application/vnd.docker.image.rootfs.diff.tar": "none",
    DOCKER_LAYER_GZIP: "gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": "zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": "gzip",
}


def layer_compression(media_type: str) -> str:
    """Return `none`, `gzip` or `zstd` for a layer's media type, or raise InvalidDocumentError."""
    try:
        return _COMPRESSION[media_type]
    except KeyError:
        raise InvalidDocumentError(f"layer media type {media_type!r} is not a file-system layer") from None


def is_layer(media_type: str) -> bool:
    """Tell whether blobs of this media type are file-system layers."""
    return media_type in _COMPRESSION


def oci_layer(compression: str) -> str:
    """Return the OCI media type of a layer compressed by `none`, `gzip` or `zstd`."""
    return OCI_LAYER if compression == "none" else f"{OCI_LAYER}+{compression}"
