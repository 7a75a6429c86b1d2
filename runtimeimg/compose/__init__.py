"""The native composition: a plan's copies, straight from the builder's layers onto the base's manifest."""

from runtimeimg.compose.composition import Inputs, Settings, compose

__all__ = ["Inputs", "Settings", "compose"]
