"""Registries: `docker://HOST/NAME[:TAG|@DIGEST]` (OCI distribution-spec)."""

from runtimeimg.stores.registry.pull import RegistrySource
from runtimeimg.stores.registry.push import RegistryDestination

__all__ = ["RegistryDestination", "RegistrySource"]
