"""Lean runtime images from a short YAML Build spec: rendered, built or composed, and stamped with how they run."""

from __future__ import annotations

TYPE_CHECKING = False  # nothing is loaded before the command line has taken over the signals
if TYPE_CHECKING:
    from runtimeimg.errors import RuntimeimgError as RuntimeimgError
    from runtimeimg.plan import BuildPlan as BuildPlan
    from runtimeimg.plan import Facts as Facts
    from runtimeimg.plan import resolve as resolve
    from runtimeimg.render import render_dockerfile as render_dockerfile
    from runtimeimg.run import RunOptions as RunOptions
    from runtimeimg.run import RunPlan as RunPlan
    from runtimeimg.run import read_graph as read_graph
    from runtimeimg.runtimegraph import RuntimeGraph as RuntimeGraph
    from runtimeimg.spec import BuildSpec as BuildSpec
    from runtimeimg.spec import load_spec as load_spec

__version__ = "0.1.0"

_EXPORTS = {
    "BuildPlan": "runtimeimg.plan",
    "BuildSpec": "runtimeimg.spec",
    "Facts": "runtimeimg.plan",
    "RunOptions": "runtimeimg.run",
    "RunPlan": "runtimeimg.run",
    "RuntimeGraph": "runtimeimg.runtimegraph",
    "RuntimeimgError": "runtimeimg.errors",
    "load_spec": "runtimeimg.spec",
    "read_graph": "runtimeimg.run",
    "render_dockerfile": "runtimeimg.render",
    "resolve": "runtimeimg.plan",
}

__all__ = ["__version__", *sorted(_EXPORTS)]  # noqa: PLE0604 - names are resolved on first use, below


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that `import runtimeimg` costs next to nothing."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'runtimeimg' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_EXPORTS[name]), name)
