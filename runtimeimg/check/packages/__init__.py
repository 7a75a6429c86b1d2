"""Which package each file of an image came with, by the image's own records."""

from __future__ import annotations

from runtimeimg.check.packages.owners import Owners
from runtimeimg.check.packages.values import Package

__all__ = ["Owners", "Package"]
