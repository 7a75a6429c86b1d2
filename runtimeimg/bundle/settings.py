"""`PATH=VALUE`: single fields of a config.json, typed as the specification has them.

`process.args=["/bin/app", "-v"]`, `process.args=/bin/app -v` (words as in a shell), `process.rlimits[0].soft=4096`,
`annotations.org.example.team=web` (the rest of the path is one key), `linux.resources=null` (taken out).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Self

from runtimeimg.bundle import shape
from runtimeimg.bundle.configshape import CONFIG
from runtimeimg.bundle.shape import Shape
from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.oci.documents import parse_json

_STEP = re.compile(r"([^.\[\]]+)((?:\[[0-9]{1,5}\])*)(?:\.|\Z)")
Step = str | int


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A field and its value; a value None takes the field out."""

    path: str
    steps: tuple[Step, ...]
    value: Any

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what `PATH=VALUE` sets; UsageError for a field that there is not, or a value that does not fit it."""
        path, equals, value = text.partition("=")
        if not equals or not path:
            raise UsageError(
                f"setting {text[:80]!r} is not of the form PATH=VALUE", hint="for example process.cwd=/app"
            )
        steps, found = _steps(path)
        return cls(path=path, steps=steps, value=_value(value, found, path))

    def apply(self, config: dict[str, Any]) -> None:
        """Set the field, making what it is in; UsageError for an item of a list that there is not."""
        value: Any = config
        for step, following in zip(self.steps, self.steps[1:], strict=False):
            value = self._into(value, step, [] if isinstance(following, int) else {})
        last = self.steps[-1]
        if self.value is not None:
            self._set(value, last, self.value)
        elif isinstance(last, int):
            if last < len(value):
                del value[last]
        else:
            value.pop(last, None)

    def _into(self, value: Any, step: Step, empty: Any) -> Any:
        """Return what is at a step, made where it is not there."""
        if isinstance(step, int):
            if step >= len(value):
                self._set(value, step, empty)
            return value[step]
        if not isinstance(value.get(step), (dict, list)):
            value[step] = empty
        return value[step]

    def _set(self, value: Any, step: Step, new: Any) -> None:
        if not isinstance(step, int) or step < len(value):
            value[step] = new
        elif step == len(value):
            value.append(new)
        else:
            raise UsageError(f"setting '{self.path}': the list has {len(value)} items, so [{step}] is none of it")


def _steps(path: str) -> tuple[tuple[Step, ...], Shape]:
    """Return the steps of a path, and the shape of what is there."""
    steps: list[Step] = []
    found, at = CONFIG, 0
    while at < len(path):
        if found.kind == "map":  # keys hold dots: annotations, sysctls
            if path.endswith("]") and found.item is not None and found.item.kind == "list":
                raise UsageError(f"setting '{path}' goes into a list of a map")
            steps.append(path[at:])
            return tuple(steps), found.item or shape.ANY
        match = _STEP.match(path, at)
        if match is None:
            raise UsageError(f"setting '{path[:120]}' is not a path", hint="for example process.rlimits[0].soft")
        name, numbers = match[1], [int(item) for item in re.findall("[0-9]+", match[2])]
        found = _field(found, name, path)
        steps.append(name)
        for number in numbers:
            if found.kind not in {"list", "any"}:
                raise UsageError(f"setting '{path[:120]}': '{name}' is not a list")
            found = found.item or shape.ANY
            steps.append(number)
        at = match.end()
        if at < len(path) and found.kind not in {"object", "map", "any"}:
            raise UsageError(f"setting '{path[:120]}': there is nothing in '{name}'")
    if path.endswith("."):
        raise UsageError(f"setting '{path[:120]}' ends with a dot")
    return tuple(steps), found


def _field(found: Shape, name: str, path: str) -> Shape:
    if found.kind == "any":
        return shape.ANY
    if name not in found.fields:
        known = tuple(found.fields)
        raise UsageError(
            f"setting '{path[:120]}': there is no field '{name[:60]}'",
            hint=shape.near(name, known) or f"there are {', '.join(known)}",
        )
    return found.fields[name]


def _value(text: str, found: Shape, path: str) -> Any:
    """Return a value as its field has it: texts as they are, lists of texts also as words, the rest as JSON."""
    if found.kind == "text":
        value: Any = text
    elif found.kind == "list" and found.item is not None and found.item.kind == "text" and not _is_json(text):
        value = _words(text, path)
    else:
        try:
            value = parse_json(text.encode("utf-8", "replace"), f"value of '{path}'")
        except InvalidDocumentError as error:
            raise UsageError(f"setting {error.message}", hint=_example(found)) from None
    if value is None:
        return None
    for item in shape.wrong(value, found, path):
        raise UsageError(f"setting '{item.path}': {item.message}", hint=_example(found))
    if "\0" in text:
        raise UsageError(f"setting '{path}' holds a NUL")
    return value


def _is_json(text: str) -> bool:
    return text.lstrip().startswith("[") or text.strip() == "null"


def _words(text: str, path: str) -> list[str]:
    import shlex

    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"setting '{path}': its words cannot be told apart: {error}".lower()) from None


def _example(found: Shape) -> str | None:
    return {
        "integer": "a whole number is wanted, such as 1024",
        "flag": "true or false is wanted",
        "list": 'a list is wanted, such as ["a", "b"]',
        "object": "an object is wanted, in JSON",
        "map": 'an object is wanted, such as {"key": "value"}',
    }.get(found.kind)
