"""Docker Engines, and podman behind the same API: the connection here, images in `images` (`docker-daemon:NAME`)."""

from runtimeimg.stores.engine.connection import DEFAULT_ADDRESS, Address, Engine, find_address, quoted

__all__ = ["DEFAULT_ADDRESS", "Address", "Engine", "find_address", "quoted"]
