"""OCI layouts: `oci:DIR[:TAG]` (OCI image-spec, image-layout.md)."""

from runtimeimg.stores.layout.layouts import LayoutDestination, LayoutSource, named_entry, open_entry, parse_index

__all__ = ["LayoutDestination", "LayoutSource", "named_entry", "open_entry", "parse_index"]
