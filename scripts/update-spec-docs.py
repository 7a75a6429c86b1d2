"""Write the tables of docs/spec.md anew from the JSON Schema of the spec: `python scripts/update-spec-docs.py`.

A table stands between `<!-- keys: NAME -->` and `<!-- end -->`, NAME being a definition of the schema, or Build.
"""

import json
import re
from pathlib import Path
from typing import Any

from runtimeimg.spec import json_schema

PAGE = Path(__file__).parents[1] / "docs" / "spec.md"
TABLE = re.compile(r"(<!-- keys: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
FORMS = {"string": "text", "integer": "number", "array": "list", "object": "map"}


def render(page: str) -> str:
    """Return `page` with its tables as the models have them now."""
    schema = json_schema()
    return TABLE.sub(lambda found: found[1] + table(schema, found[2]) + found[3], page)


def table(schema: dict[str, Any], name: str) -> str:
    """Return the Markdown table of a definition's keys."""
    definition = schema if name == "Build" else schema["$defs"][name]
    long_form = next((form for form in definition.get("anyOf", ()) if "properties" in form), definition)
    required = long_form.get("required", ())
    rows = ["| key | form | meaning | example |", "|---|---|---|---|"]
    for key, value in long_form["properties"].items():
        must = " **Required.**" if key in required else ""
        examples = ", ".join(code(example) for example in value.get("examples", ()))
        rows.append(f"| `{key}` | {forms(value, schema)} | {value['description']}{must} | {examples} |")
    return "\n".join(rows) + "\n"


def forms(value: dict[str, Any], schema: dict[str, Any]) -> str:
    """Return the forms that a value may have, as `text or number`."""
    if "$ref" in value:
        return forms(schema["$defs"][value["$ref"].rpartition("/")[2]], schema)
    found: list[str] = []
    for item in value.get("anyOf", [value]):
        if "$ref" in item:
            found.append(forms(item, schema))
        elif "enum" in item or "const" in item:
            found.append("text")
        else:
            types = item["type"] if isinstance(item["type"], list) else [item["type"]]
            found += [FORMS[name] for name in types if name != "null"]
    return " or ".join(dict.fromkeys(found))


def code(example: object) -> str:
    """Return an example as it stands in YAML's flow style."""
    return f"`{example if isinstance(example, str) else json.dumps(example)}`"


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text("utf-8")), "utf-8")
