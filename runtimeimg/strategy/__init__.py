"""Tekton and Shipwright documents: a runtime image as steps of a build strategy. Pure: texts in, texts out."""

from runtimeimg.strategy.amend import Amended, Amendment, amend
from runtimeimg.strategy.convert import Converted, convert
from runtimeimg.strategy.documents import DEFAULT_IMAGE, cluster_strategy, step_action, task
from runtimeimg.strategy.removal import Removed, remove, take_out

__all__ = [
    "DEFAULT_IMAGE",
    "Amended",
    "Amendment",
    "Converted",
    "Removed",
    "amend",
    "cluster_strategy",
    "convert",
    "remove",
    "step_action",
    "take_out",
    "task",
]
