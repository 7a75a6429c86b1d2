"""docs/spec.md says what the models say, and its example loads."""

import re
import runpy
from pathlib import Path

from runtimeimg.spec import load_spec_text

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "spec.md").read_text("utf-8")


def test_tables_are_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "update-spec-docs.py"))
    assert script["render"](PAGE) == PAGE, "run python scripts/update-spec-docs.py"


def test_example_loads() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert load_spec_text(example.encode()).spec.name == "web"
