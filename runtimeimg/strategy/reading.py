"""What a strategy or Task says that an amendment must know: its image, source and user, the results it writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runtimeimg.errors import UsageError
from runtimeimg.strategy.dialect import Dialect
from runtimeimg.strategy.editing import entries_of
from runtimeimg.strategy.steps import NOT_ROOT

_IMPORT = re.compile(r"(?:import-cache|cache-from|cache-image|cacheFrom)[^\n]*")
_OUTPUT_NAMES = ("IMAGE", "image", "OUTPUT_IMAGE", "output-image", "APP_IMAGE", "image-url")


def output_parameter(document: Mapping[str, Any]) -> str:
    """Return the variable of the parameter by which a Task names its image."""
    names = _names(document, "params")
    for name in _OUTPUT_NAMES:
        if name in names:
            return f"$(params.{name})"
    raise UsageError(
        "the Task's parameter that names the image cannot be told",
        hint="pass it, for example --output-image '$(params.TARGET)'",
    )


def workspace(document: Mapping[str, Any]) -> str:
    """Return the path of a Task's source, empty where there is no telling."""
    spaces = _names(document, "workspaces")
    name = "source" if "source" in spaces else spaces[0] if len(spaces) == 1 else None
    return f"$(workspaces.{name}.path)" if name else ""


def results_written(steps: str, dialect: Dialect) -> tuple[str, ...]:
    """Return how the steps, as text, spell the files of the results of an image, each spelling once.

    What an earlier step leaves there is the builder image's, and often belongs to root.
    """
    found: dict[str, None] = {}
    for path in (dialect.result_digest, dialect.result_size, dialect.result_url):
        if name := path.removeprefix("$(results.").removesuffix(".path)"):
            spelt = rf"""\$\(results(?:\.{name}|\[(?:"{name}"|'{name}')\])\.path\)|/tekton/results/{name}(?![\w-])"""
            found |= dict.fromkeys(match[0] for match in re.finditer(spelt, steps))
    return tuple(found)


def cache_imports(document: Mapping[str, Any], steps_key: str, output: str) -> list[str]:
    """Return the steps that import a cache from the output image, by their names.

    Docker, buildah and BuildKit have options for it; the image may come by a variable of the step's environment.
    """
    found = []
    for step in entries_of(document["spec"], steps_key):
        texts = [text for text in _texts(step) if not text.startswith("#")]
        names = [output, *(f"${{{one}}}" for one in _variables(step, output)), *_variables(step, output)]
        for match in (match for text in texts for match in _IMPORT.finditer(text)):
            if any(name in match[0] for name in names):
                found.append(str(step.get("name")))
                break
    return found


def _variables(step: Mapping[str, Any], value: str) -> list[str]:
    """Return the variables of a step that hold a value."""
    items = [item for item in entries_of(step, "env") if isinstance(item, Mapping)]
    return [str(item.get("name")) for item in items if item.get("value") == value]


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else []
    return [text for item in items for text in _texts(item)]


def run_as(document: Mapping[str, Any], text: str | None) -> tuple[int | None, int | None]:
    """Return the user and group of our steps: those asked for; not root's where all steps run as root."""
    if text is not None:
        return user_of(text)
    context = document["spec"].get("securityContext") or document["spec"].get("stepTemplate") or {}
    context = context.get("securityContext", context) if isinstance(context, Mapping) else {}
    root = isinstance(context, Mapping) and context.get("runAsUser") == 0
    return (NOT_ROOT, NOT_ROOT) if root else (None, None)


def user_of(text: str) -> tuple[int, int]:
    """Return the numbers of `UID[:GID]`; UsageError for root's and for what is none."""
    match = re.fullmatch(r"([1-9][0-9]{0,9})(?::([0-9]{1,10}))?", text)
    if match is None:
        raise UsageError(f"--run-as {text!r} is not a number of a user, or user:group, other than root's")
    return int(match[1]), int(match[2] or match[1])


def _names(document: Mapping[str, Any], key: str) -> list[Any]:
    return [item.get("name") for item in entries_of(document["spec"], key) if isinstance(item, Mapping)]
