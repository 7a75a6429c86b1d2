"""docs/indexes.md: every command is run and prints what the page says."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.registry
def test_the_commands_print_what_the_page_says(registry: str, tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "update-gpu-docs.py"))
    page = (ROOT / "docs" / "indexes.md").read_text("utf-8")
    assert script["render"](page, tmp_path, registry) == page, "run python scripts/update-gpu-docs.py"
    assert page.count("\n$ runtimeimg ") == 8
