"""Lean runtime images from a short YAML Build spec: rendered, built or composed, and stamped with how they run."""

from __future__ import annotations

import importlib
from typing import Any

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


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `import runtimeimg` costs next to nothing."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'runtimeimg' has no attribute '{name}'")
    return getattr(importlib.import_module(_EXPORTS[name]), name)
