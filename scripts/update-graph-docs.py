"""Write the tables of docs/graph-documents.md anew from the code: `python scripts/update-graph-docs.py`.

They stand between `<!-- table: NAME -->` and `<!-- end -->`.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from runtimeimg.configgraph.parameter import Parameter
from runtimeimg.configgraph.parameters import PARAMETERS

PAGE = Path(__file__).parents[1] / "docs" / "graph-documents.md"
PART = re.compile(r"(<!-- table: ([a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)
KINDS = {"artefact": "Artefact", "automaton": "Automaton", "host": "Host"}


def table(kind: str) -> str:
    """Return the parameters of a kind of document."""
    rows = [("parameter", "category", "stage", "default", "combines", "in config.json", "meaning")]
    rows += [_row(item) for item in PARAMETERS if item.kind == kind]
    head, *rest = rows
    return "".join(_line(cells) for cells in (head, ["---"] * len(head), *rest))


def _row(item: Parameter) -> tuple[str, ...]:
    meaning = item.meaning + (f" Set by {item.setter.rstrip(',')}." if item.setter else "")
    before = f"; of the image, `{item.image}`" if item.image else ""
    formerly = f" (`{item.formerly}`)" if item.formerly and item.formerly != item.path else ""
    return (
        f"`{item.path}`{formerly}",
        str(item.category),
        str(item.stage),
        (item.default or "-") + before,
        str(item.combine),
        f"`{item.target}`" if item.target else "-",
        meaning,
    )


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def render(page: str) -> str:
    """Return `page` with its tables as the code has them now."""
    return PART.sub(lambda found: f"{found[1]}\n{table(KINDS[found[2]])}\n{found[3]}", page)


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text("utf-8")), "utf-8")
