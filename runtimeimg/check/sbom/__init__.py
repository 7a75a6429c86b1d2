"""Software bills of materials: the packages that an image's files came with, from the builder's and base's records."""

from __future__ import annotations

from runtimeimg.check.sbom.contents import Contents, Entry, contents_of
from runtimeimg.check.sbom.formats import FORMATS, Format, written

__all__ = ["FORMATS", "Contents", "Entry", "Format", "contents_of", "written"]
