"""Archives: `oci-archive:FILE[:TAG]` and `docker-archive:FILE[:NAME]`."""

from runtimeimg.stores.archive.archives import ArchiveDestination, ArchiveSource

__all__ = ["ArchiveDestination", "ArchiveSource"]
