"""Running an image from what is stamped into it."""

from runtimeimg.run.plan import ContextChoice, ContextMount, Daemon, RunOptions, RunPlan, read_graph
from runtimeimg.run.ports import Publish

__all__ = ["ContextChoice", "ContextMount", "Daemon", "Publish", "RunOptions", "RunPlan", "read_graph"]
