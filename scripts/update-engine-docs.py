"""Write the table of docs/engines.md anew from what a test run found: `scripts/test --engines` calls it.

    python scripts/update-engine-docs.py FOLDER

FOLDER holds a JSON file for each engine (tests/engines/conftest.py). The table stands between `<!-- table -->` and
`<!-- end -->`. Nothing is written unless every engine has its file.
"""

import json
import re
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "engines.md"
TABLE = re.compile(r"(<!-- table -->\n).*?(<!-- end -->)", re.DOTALL)
ENGINES = ("docker", "docker-overlay2", "docker-containerd", "podman")
NAMES = {"docker-overlay2": " overlay2", "docker-containerd": " containerd store"}


def main() -> None:
    """Read the results and write the page."""
    found = [json.loads((Path(sys.argv[1]) / f"{engine}.json").read_text()) for engine in ENGINES]
    notes: list[str] = []
    titles = [f"{one['name']} {one['version'].partition('+')[0]}{NAMES.get(one['engine'], '')}" for one in found]
    rows = ["| feature | " + " | ".join(titles) + " |", "|" + " --- |" * (len(titles) + 1)]
    for feature in found[0]["cells"]:
        cells = [cell(one["cells"].get(feature), notes) for one in found]
        rows.append(f"| {feature} | " + " | ".join(cells) + " |")
    rows += ["", *(f"{number}. {note}" for number, note in enumerate(notes, 1))]
    table = "\n".join(rows).rstrip() + "\n"
    PAGE.write_text(TABLE.sub(lambda match: match[1] + table + match[2], PAGE.read_text()))


def cell(result: dict[str, str] | None, notes: list[str]) -> str:
    """Return what a cell says: one that holds in another way than elsewhere leads to its note."""
    if result is None:
        return "not run"
    if not result["note"]:
        return result["outcome"]
    if result["note"] not in notes:
        notes.append(result["note"])
    said = "see" if result["outcome"] == "holds" else result["outcome"]
    return f"{said} ({notes.index(result['note']) + 1})"


if __name__ == "__main__":
    main()
