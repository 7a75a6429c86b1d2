"""A composer over images in memory, as in the tests of composition."""

from tests.compose.conftest import compose

__all__ = ["compose"]
