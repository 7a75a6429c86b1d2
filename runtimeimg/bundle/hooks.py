"""Hooks as people write them: `STAGE=PATH,ARG,...`, or as JSON with `path`, `args`, `env` and `timeout`."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from runtimeimg.bundle.values import STAGES, Hook
from runtimeimg.errors import UsageError
from runtimeimg.oci.documents import load_json

_KEYS = ("path", "args", "env", "timeout")
MAX_TIMEOUT = 1 << 31


def parse(text: str) -> Hook:
    """Return the hook that a text says; UsageError when it makes no sense."""
    stage, equals, rest = text.partition("=")
    if not equals or not rest:
        raise UsageError(
            f"hook {text[:80]!r} is not of the form STAGE=PATH[,ARG...]",
            hint="""for environment and timeout: STAGE={"path": "/p", "args": [], "env": ["A=b"], "timeout": 5}""",
        )
    if stage not in STAGES:
        near = get_close_matches(stage, STAGES, 1)
        raise UsageError(
            f"hook {text[:80]!r}: there is no stage '{stage[:40]}'",
            hint=f"did you mean '{near[0]}'?" if near else f"stages are {', '.join(STAGES)}",
        )
    if rest.startswith("{"):
        return _checked(_long(stage, load_json(rest.encode("utf-8", "replace"), f"hook of {stage}")))
    path, *args = rest.split(",")
    return _checked(Hook(stage=stage, path=path, args=tuple(args)))


def _long(stage: str, data: Mapping[str, Any]) -> Hook:
    for key in data:
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, 1)
            hint = f"did you mean '{near[0]}'?" if near else f"keys are {', '.join(_KEYS)}"
            raise UsageError(f"hook of {stage} has an unknown key '{key[:40]}'", hint=hint)
    path, timeout = data.get("path"), data.get("timeout")
    if not isinstance(path, str):
        raise UsageError(f"hook of {stage} has no path")
    if timeout is not None and (type(timeout) is not int or not 0 < timeout < MAX_TIMEOUT):
        raise UsageError(f"hook '{path[:80]}': timeout {timeout!r} is not a number of seconds above 0")
    return Hook(stage=stage, path=path, args=_texts(data, "args", path), env=_texts(data, "env", path), timeout=timeout)


def _texts(data: Mapping[str, Any], key: str, path: str) -> tuple[str, ...]:
    value = data.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"hook '{path[:80]}': {key} is not a list of texts")
    return tuple(value)


def _checked(hook: Hook) -> Hook:
    if not hook.path.startswith("/"):
        raise UsageError(
            f"hook '{hook.path[:80]}' of {hook.stage} is not an absolute path", hint="runtimes take no other"
        )
    if any("\0" in item for item in (hook.path, *hook.args, *hook.env)):
        raise UsageError(f"hook of {hook.stage} holds a NUL")
    for item in hook.env:
        if "=" not in item[1:]:
            raise UsageError(f"hook '{hook.path[:80]}': variable {item[:80]!r} is not of the form NAME=VALUE")
    return hook
