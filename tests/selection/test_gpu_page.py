"""docs/gpu-image.md and docs/choosing.md: every command is run and prints what the pages say; documents are valid."""

import re
import runpy
from pathlib import Path

import pytest

from runtimeimg.selection import mappingdocument, preferences

ROOT = Path(__file__).parents[2]
CHOOSING = (ROOT / "docs" / "choosing.md").read_text("utf-8")


@pytest.mark.registry
def test_the_walk_through_prints_what_it_says(registry: str, tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "update-gpu-docs.py"))
    page = (ROOT / "docs" / "gpu-image.md").read_text("utf-8")
    made = script["render"](page, tmp_path, registry)
    assert made == page, "run python scripts/update-gpu-docs.py"
    assert page.count("\n$ runtimeimg ") == 12
    assert "| linux/amd64/v4 | #1 " in page.partition("<!-- matrix -->")[2]


def test_the_rules_that_ship_are_those_of_the_page() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "update-choosing-docs.py"))
    assert script["render"](CHOOSING) == CHOOSING, "run python scripts/update-choosing-docs.py"


def test_the_documents_are_valid() -> None:
    first, second = re.findall(r"```yaml\n(.*?)```", CHOOSING, re.DOTALL)
    assert [item.weight for item in preferences.load(first.encode()).preferences] == [10, 1, -5]
    assert [item.weight for item in mappingdocument.load(second.encode())] == [10, 5]
