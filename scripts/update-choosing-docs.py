"""Write the table of rules of docs/choosing.md anew from those that ship: python scripts/update-choosing-docs.py."""

import re
from pathlib import Path

from runtimeimg.selection.mapping import DEFAULT

PAGE = Path(__file__).parents[1] / "docs" / "choosing.md"
TABLE = re.compile(r"(<!-- mapping -->\n).*?(<!-- end -->)", re.DOTALL)


def render(page: str) -> str:
    """Return the page with its table as the rules say."""
    rows = ["| annotation | fact | compare | require | weight |", "| --- | --- | --- | --- | --- |"]
    rows += [
        f"| `{rule.annotation}` | `{rule.fact}` | `{rule.compare}` | `{rule.require}` | {rule.weight} |"
        for rule in DEFAULT
    ]
    return TABLE.sub(lambda match: match[1] + "\n".join(rows) + "\n" + match[2], page)


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text("utf-8")), "utf-8")
