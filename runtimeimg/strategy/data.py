r"""Values that travel through Tekton and the kubelet as data.

Both look for `$(name)` in the fields of a step, more than once and in what was just put in, and the kubelet makes one
`$` of `$$`; neither has an escape that the other leaves alone. So no `$` is ever in what is written here: documents
travel as JSON, in which `$` is `\u0024`, and a single value that needs it as a JSON string, quotes included.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from runtimeimg.errors import InvalidDocumentError, UsageError
from runtimeimg.spec.yamlnodes import compose

SEPARATOR = "--"
MAX_DATA = 100 * 1024
"""Bytes; Linux starts no program with more than 128 KiB in one argument or variable."""

_UNSAFE = re.compile("[$\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")
_PLAIN = re.compile(
    r"(?!(?:true|false|yes|no|on|off|null|y|n)\Z)[A-Z/$][A-Z0-9_./@$()\[\]*-]*(?::[\w./-]+)*\Z",
    re.IGNORECASE | re.ASCII,
)
_ARGUMENT = re.compile(r"--?[A-Za-z0-9_./@$()\[\]*=,-]*(?::[\w./=-]+)*\Z", re.ASCII)


def to_json(value: object) -> str:
    r"""Return `value` as JSON over several lines that no one between here and the step changes."""
    text = dump(value)
    if len(text.encode("utf-8", "surrogatepass")) > MAX_DATA:
        raise UsageError(
            f"the spec is larger than {MAX_DATA >> 10} KiB, too large to travel in a step",
            hint="keep it in the source (--spec-path) or in a ConfigMap (--spec-configmap)",
        )
    return text


def dump(value: object) -> str:
    r"""Return `value` as JSON that is YAML too, with the same meaning: no surrogate pairs, nothing unprintable."""
    return _UNSAFE.sub(_escape, json.dumps(value, indent=1, ensure_ascii=False))


def spec_to_json(text: str) -> str:
    """Return the Build in the YAML `text`, which must have been found valid, as `to_json` writes it.

    Only what makes the runtime image goes along: what else a Shipwright Build holds is not a step's business.
    """
    documents = [document.root.plain() for document in compose(text.encode("utf-8", "surrogatepass"), "<spec>")]
    build = next(item for item in documents if isinstance(item, Mapping) and item.get("kind") == "Build")
    spec = {key: build["spec"][key] for key in ("builder", "output", "runtime") if key in build["spec"]}
    return to_json({"apiVersion": build["apiVersion"], "kind": "Build", "spec": spec})


def to_item(text: str) -> str:
    """Return `text` as an item of a parameter: itself, or a JSON string where it could be taken for something else."""
    if text == SEPARATOR or text.startswith('"') or _UNSAFE.search(text) or not text.isprintable():
        return _UNSAFE.sub(_escape, json.dumps(text, ensure_ascii=False))
    return text


def from_item(text: str, name: str) -> str:
    """Return what an item of the parameter `name` says, or raise InvalidDocumentError."""
    if not text.startswith('"'):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, str):
        raise InvalidDocumentError(
            f"parameter '{name}': {_shown(text)} begins with a quote but is no JSON string",
            hint="write the value as a JSON string, or without the quote",
        )
    return value


def split_arrays(arguments: Sequence[str], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the arrays that `arguments` hold one after the other with a bare `--` between two.

    Raises UsageError unless there is exactly one separator between each two: an item that is itself a bare `--`
    could shift what follows into another array, so it must be written as a JSON string.
    """
    arrays: list[list[str]] = [[]]
    for argument in arguments:
        if argument == SEPARATOR:
            arrays.append([])
        else:
            arrays[-1].append(argument)
    if len(arrays) != len(names):
        raise UsageError(
            f"the parameters {', '.join(names)} hold {len(arrays) - len(names)} items too many that are a bare '--'"
            if len(arrays) > len(names)
            else f"the arrays {', '.join(names)} are not all given, with '--' between them",
            hint='write the item as a JSON string: "\\"--\\""',
        )
    return {name: tuple(from_item(item, name) for item in items) for name, items in zip(names, arrays, strict=True)}


def is_plain(text: str) -> bool:
    """Tell whether `text` is the same text in every version of YAML when it is written without quotes."""
    return bool(_PLAIN.match(text))


def quoted(text: str) -> str:
    """Return `text` as a YAML scalar on one line: plain where that is plainly the same, else in double quotes."""
    if is_plain(text):
        return text
    return flow(text)


def argument(text: str) -> str:
    """Return an argument as a YAML scalar on one line; options are plain where they can be."""
    return text if _ARGUMENT.match(text) else quoted(text)


def yaml_value(value: Any) -> str:
    """Return a text or a list of texts as YAML on one line."""
    return quoted(value) if isinstance(value, str) else flow(list(value))


def flow(value: Any) -> str:
    """Return a value as JSON on one line that is YAML too; what begins with `$` stays as it is."""
    return _UNPRINTABLE.sub(_escape, json.dumps(value, ensure_ascii=False))


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
