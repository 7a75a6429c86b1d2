"""Docker Engines, and podman behind the same API: the connection here, images in `images` (`docker-daemon:NAME`)."""

from runtimeimg.stores.engine.address import DEFAULT_ADDRESS, Address, engine_environ, find_address
from runtimeimg.stores.engine.connection import Engine, patience, quoted

__all__ = ["DEFAULT_ADDRESS", "Address", "Engine", "engine_environ", "find_address", "patience", "quoted"]
