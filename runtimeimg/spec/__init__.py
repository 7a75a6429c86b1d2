"""The Build spec: what a user wrote, checked, with positions; nothing decided and no image looked at.

The models are loaded when first asked for, so that the small modules here can be used without them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtimeimg.spec.loader import LoadedSpec, load_spec, load_spec_text
    from runtimeimg.spec.models import BuildSpec, Runtime, Variant
    from runtimeimg.spec.parts import Directory, Expose, User

__all__ = [
    "BuildSpec",
    "Directory",
    "Expose",
    "LoadedSpec",
    "Runtime",
    "User",
    "Variant",
    "json_schema",
    "load_spec",
    "load_spec_text",
]

_MODULES = {
    **dict.fromkeys(("LoadedSpec", "load_spec", "load_spec_text"), "loader"),
    **dict.fromkeys(("Directory", "Expose", "User"), "parts"),
}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the Build spec, for editors."""
    from runtimeimg.spec import schema

    return schema.build()


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'models')}"), name)
    globals()[name] = value
    return value
