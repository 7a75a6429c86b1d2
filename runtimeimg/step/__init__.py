"""What the steps of a strategy do in a pod; `runtimeimg step` is their command line."""

from runtimeimg.step.advice import advise
from runtimeimg.step.delivery import Outcome, Target, compose, deliver
from runtimeimg.step.handover import built_by, check_platform, hand_over, take_over
from runtimeimg.step.inputs import Inputs
from runtimeimg.step.planning import Prepared, prepare
from runtimeimg.step.results import ResultFiles

__all__ = [
    "Inputs",
    "Outcome",
    "Prepared",
    "ResultFiles",
    "Target",
    "advise",
    "built_by",
    "check_platform",
    "compose",
    "deliver",
    "hand_over",
    "prepare",
    "take_over",
]
