"""The builder on a Docker Engine."""

from runtimeimg.builders.docker.builder import DockerBuilder

__all__ = ["DockerBuilder"]
