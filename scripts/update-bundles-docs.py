"""Write the tables of docs/bundles.md anew from the code: `python scripts/update-bundles-docs.py`.

They stand between `<!-- table: NAME -->` and `<!-- end -->`.
"""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from runtimeimg.bundle import conversion, defaults, records, values, vouching

PAGE = Path(__file__).parents[1] / "docs" / "bundles.md"
PART = re.compile(r"(<!-- table: ([a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_LONG = 60


def table(*rows: tuple[str, ...]) -> str:
    """Return rows as a table, the first of them its head."""
    head, *rest = rows
    lines = [head, tuple("---" for _ in head), *rest]
    return "".join(f"| {' | '.join(row)} |\n" for row in lines)


def conversion_table() -> str:
    """Return the rules of the conversion."""
    rows = ((f"`{rule.field}`", f"`{rule.target}`", rule.kind, rule.meaning) for rule in conversion.RULES)
    return table(("of the image", "in config.json", "kind", "how"), *rows)


def defaults_table() -> str:
    """Return the defaults with their reasons."""
    rows = ((f"`{item.path}`", _value(item.value), _reason(item), item.change) for item in defaults.DEFAULTS)
    return table(("field", "default", "why", "changed by"), *rows)


def features_table() -> str:
    """Return the entries of a runtime's features and the fields that they vouch for."""
    rows = [
        (_paths(item.fields), f"`{item.entry}`", "is listed" if item.names else "is true") for item in vouching.ENTRIES
    ]
    rows.append(
        (
            _paths(("mounts[].options[]",)),
            f"`{vouching.MOUNT_OPTIONS}`",
            "is listed, unless it is the file system's own",
        )
    )
    rows.append(("`linux.cgroupsPath` of the form `slice:prefix:name`", f"`{vouching.SYSTEMD}`", "is true"))
    rows.append(("all others", "`ociVersionMin`, `ociVersionMax`", "came with a version up to the newest"))
    return table(("field", "entry of the features", "vouches where it"), *rows)


def allowed_table() -> str:
    """Return what is refused unless it is allowed."""
    return table(("`--allow`", "what"), *((f"`{name}`", what) for name, what in values.ALLOWED.items()))


def passed_table() -> str:
    """Return what runtimes are known to pass over."""
    rows = ((f"{name} {first} up to {end}", f"`{field}`") for name, first, end, field in records.PASSED_OVER)
    return table(("runtime, from and below", "field that it passes over"), *rows)


TABLES: dict[str, Callable[[], str]] = {
    "conversion": conversion_table,
    "defaults": defaults_table,
    "features": features_table,
    "allowed": allowed_table,
    "passed": passed_table,
}


def render(page: str) -> str:
    """Return `page` with its tables as the code has them now."""
    return PART.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n{found[3]}", page)


def _value(value: Any) -> str:
    text = json.dumps(value)
    if len(text) <= _LONG:
        return f"`{text}`"
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return "<br>".join(f"`{_item(key, item)}`" for key, item in items)


def _item(key: object, value: Any) -> str:
    if isinstance(value, dict) and "destination" in value:
        options = ",".join(value["options"])
        return f"{value['destination']}: {value['type']} {options}"
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{key}: {text}" if isinstance(key, str) else text


def _reason(item: defaults.Default) -> str:
    return item.reason + (f". Rootless: {item.rootless}" if item.rootless else "")


def _paths(paths: Iterable[str]) -> str:
    return ", ".join(f"`{path}`" for path in paths)


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text("utf-8")), "utf-8")
