"""Images as values, and functions from image to image."""

from runtimeimg.image.values import Image, ImageIndex, Layer, Origin, choose_platform

__all__ = ["Image", "ImageIndex", "Layer", "Origin", "choose_platform"]
