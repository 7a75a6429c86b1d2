"""docs/graph-documents.md: its tables are the code's, its example is valid, its short forms are what they say."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from runtimeimg.configgraph import reading

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "graph-documents.md"
HEAD = "apiVersion: runtimeimg.dev/v1\nkind: Automaton\nname: shop\nartefact: web\n"


def test_the_tables_are_up_to_date() -> None:
    page = PAGE.read_text("utf-8")
    script = runpy.run_path(str(ROOT / "scripts" / "update-graph-docs.py"))
    assert script["render"](page) == page, "run python scripts/update-graph-docs.py"
    assert page.count("| `") >= 60


def test_the_example_is_valid() -> None:
    example = re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[0]
    assert [item.kind for item in reading.load(example.encode())] == ["Artefact", "Automaton", "Host"]


def given(path: str, value: Any) -> Any:
    document = value
    for key in reversed(path.split(".")):
        document = {key: document}
    (found,) = reading.load((HEAD + yaml.safe_dump(document)).encode())
    return found.given


def forms() -> list[tuple[str, str, str]]:
    rows = re.findall(r"^\| `([a-z.A-Z]+)` \| (`.*`) \| (`.*`) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return [
        (path, one, other)
        for path, short, full in rows
        for one, other in zip(re.findall("`(.*?)`", short), re.findall("`(.*?)`", full), strict=False)
    ]


@pytest.mark.parametrize(("path", "short", "full"), forms())
def test_short_forms(path: str, short: str, full: str) -> None:
    several = path in {"mounts", "ports"}
    one, other = yaml.safe_load(short), yaml.safe_load(full)
    found = given(path, [one] if several else one), given(path, [other] if several else other)
    assert found[0] == found[1]


def test_there_are_short_forms() -> None:
    assert len(forms()) == 8
