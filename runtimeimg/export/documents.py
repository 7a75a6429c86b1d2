"""What all exported documents share: names, and YAML that every reader understands alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from runtimeimg.errors import UsageError
from runtimeimg.run.operated import NOTHING, Operated
from runtimeimg.run.plan import RunPlan

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*\Z")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})


class _Dumper(yaml.SafeDumper):
    """Quotes every string that YAML 1.1 or 1.2 could take for something else, and folds none."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        """Write equal values out each time."""
        return True


def _string(dumper: _Dumper, text: str) -> yaml.Node:
    plain = _PLAIN.match(text) and text.lower() not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _string)


def dump(documents: Iterable[Mapping[str, Any]]) -> str:
    """Return YAML documents with their keys in the order given; the same values always give the same text."""
    return yaml.dump_all(
        [_plain(document) for document in documents],
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=2**30,
    )


def _plain(value: Any) -> Any:
    """Return `value` without keys that are None or an empty list, tuples as lists."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if item is not None and item not in ([], ())}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def base_name(plan: RunPlan) -> str:
    """Return what the containers are called: the plan's name, else the last part of the image's, as a DNS label."""
    last = plan.image.partition("@")[0].rsplit("/", 1)[-1].partition(":")[0]
    return dns_label(plan.name or last, 40)


def dns_label(text: str, longest: int = 63) -> str:
    """Return `text` as a DNS label (RFC 1123): lower case letters, digits and inner dashes; `app` when none is left."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:longest].strip("-") or "app"


def literal(text: str) -> str:
    """Return `text` with each dollar doubled, so that it is given back as it was.

    By Compose's interpolation (compose-spec, "Interpolation") and by the kubelet's expansion of `$(NAME)` alike.
    """
    return text.replace("$", "$$")


def literals(argv: tuple[str, ...] | None) -> list[str] | None:
    """Return the words of a command line as `literal` has them, None for none."""
    return None if argv is None else [literal(item) for item in argv]


def volume_names(plan: RunPlan, operated: Operated = NOTHING) -> dict[str, str]:
    """Return a name for each volume path, its own among them; none for a place where something else is mounted."""
    names: dict[str, str] = {}
    for path in plan.volumes:
        if path in operated.places:
            continue
        if not path.startswith("/") or any(ord(character) < 32 for character in path):
            raise UsageError(f"volume {path!r} of image '{plan.image}' is not an absolute path")
        base = dns_label(path, 40)
        name, number = base, 2
        taken = {item.name for item in operated.state}
        while name in names.values() or name in taken:
            name, number = f"{base}-{number}", number + 1
        names[path] = name
    return names
