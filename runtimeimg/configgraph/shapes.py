"""The shapes of what documents set, as nodes keep it: so that whoever reads a saved graph need not ask of each value.

A shape is a type, a list of one shape, `Each` of the values of a map, or a map of shapes by key; a key with `!` must be
there. What values mean was checked when the graph was built, and is where it matters; keys that are not known here
may be anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Shape = Any


@dataclass(frozen=True, slots=True)
class Each:
    """A map of any keys to values of one shape."""

    shape: Shape


_ENV = Each(str)
AUTOMATON: Mapping[str, Shape] = {
    "process": {
        "args": [str],
        "env": _ENV,
        "cwd": str,
        "user": {"name": str, "group": str, "uid": int, "gid": int, "additionalGids": [int], "umask": int},
        "rlimits": [{"type!": str, "soft!": int, "hard!": int}],
        "capabilities": Each([str]),
        "noNewPrivileges": bool,
    },
    "root": {"readonly": bool},
    "mounts": [{"destination!": str, "type!": str, "source!": str, "options!": [str]}],
    "state": [{"name!": str, "path!": str, "size": str}],
    "hooks": Each([{"path!": str, "args": [str], "env": _ENV, "timeout": int}]),
    "hostname": str,
    "ports": [{"port!": int, "protocol": str, "hostPort": int, "serviceName": str, "listeningAddr": str}],
    "debug": bool,
    "replicas": int,
    "resources": _ENV,
    "placement": {"hosts": [str], "require": [str], "prefer": [str], "spread": str, "platform": str},
}
HOST: Mapping[str, Shape] = {"facts": Each(object), "labels": _ENV, "features": Each(Each(object))}
_NAMES = {str: "a text", int: "a whole number", bool: "true or false"}


def wrong(value: Any, shape: Shape, path: str = "") -> str:
    """Return what is not of its shape and what it should be, empty where all is."""
    if isinstance(shape, type):
        return "" if type(value) is shape or shape is object else f"'{path}' is not {_NAMES[shape]}"
    if isinstance(shape, list):
        return _wrong_item(value, shape[0], path)
    if not isinstance(value, Mapping):
        return f"'{path}' is not a map"
    if isinstance(shape, Each):
        return _wrong_value(value, shape.shape, path)
    return _wrong_field(value, shape, path)


def _wrong_item(value: Any, shape: Shape, path: str) -> str:
    if not isinstance(value, list | tuple):
        return f"'{path}' is not a list"
    for number, item in enumerate(value):
        if type(item) is not shape and (said := wrong(item, shape, f"{path}[{number}]")):
            return said
    return ""


def _wrong_value(value: Mapping[str, Any], shape: Shape, path: str) -> str:
    for key, item in value.items():
        if type(item) is not shape and (said := wrong(item, shape, f"{path}.{key}")):
            return said
    return ""


def _wrong_field(value: Mapping[str, Any], shape: Mapping[str, Shape], path: str) -> str:
    for key, inner in shape.items():
        name = key.removesuffix("!")
        if name in value:
            said = wrong(value[name], inner, f"{path}.{name}" if path else name)
            if said:
                return said
        elif name != key:
            return f"'{path}' has no '{name}'"
    return ""
