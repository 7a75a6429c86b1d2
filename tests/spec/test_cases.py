"""Every folder of tests/cases: a bad spec gives its exact message, a good one loads; the JSON Schema says the same.

`UPDATE_CASES=1` writes the messages anew. A bad case holds a file `schema-accepts`, with the reason, where a schema
cannot say what is wrong.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from runtimeimg.errors import InvalidDocumentError, RuntimeimgError
from runtimeimg.spec import json_schema, load_spec, yamlnodes

ROOT = Path(__file__).parents[2]
CASES = sorted(path for path in (ROOT / "tests" / "cases").iterdir() if path.is_dir() and path.name != "graph")
BAD = [path for path in CASES if path.name.startswith("bad-")]
GOOD = [path for path in CASES if path not in BAD]
# A Build for a cluster that says everything in paramValues has no spec.runtime: tests/strategy checks that one.
SAMPLES = [path for path in sorted((ROOT / "samples").glob("*/build.yaml")) if "  runtime:" in path.read_text()]
UPDATE = os.environ.get("UPDATE_CASES") == "1"


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    document = json_schema()
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document)


def outcome(error: RuntimeimgError) -> str:
    """Return what a user sees."""
    hint = f"hint: {error.hint}\n" if error.hint else ""
    return f"{error}\n{hint}exit code {error.exit_code}\n"


def builds(file: Path) -> list[Any]:
    """Return the Builds of a file as plain data, all documents where none is one; nothing where it is no YAML."""
    try:
        documents = yamlnodes.compose(file.read_bytes(), "build.yaml")
    except (OSError, InvalidDocumentError):
        return []
    data = [document.root.plain() for document in documents]
    return [item for item in data if isinstance(item, dict) and item.get("kind") == "Build"] or data


def test_there_are_enough_cases() -> None:
    assert len(BAD) >= 45
    assert len(GOOD) >= 12


@pytest.mark.parametrize("case", BAD, ids=lambda path: path.name)
def test_bad_spec(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(case)
    with pytest.raises(RuntimeimgError) as caught:
        load_spec("build.yaml")
    text = outcome(caught.value)
    if UPDATE:
        (case / "error.txt").write_text(text, "utf-8")
    assert text == (case / "error.txt").read_text("utf-8")
    assert caught.value.exit_code in {2, 3}


@pytest.mark.parametrize("case", BAD, ids=lambda path: path.name)
def test_schema_refuses_bad_spec(case: Path, schema: Draft202012Validator) -> None:
    documents = builds(case / "build.yaml")
    accepted = bool(documents) and all(schema.is_valid(document) for document in documents)
    assert accepted == (case / "schema-accepts").exists(), documents


@pytest.mark.parametrize("case", GOOD, ids=lambda path: path.name)
def test_good_spec(case: Path, schema: Draft202012Validator) -> None:
    assert not (case / "error.txt").exists()
    loaded = load_spec(case / "build.yaml")
    (document,) = builds(case / "build.yaml")
    schema.validate(document)
    assert loaded.spec.runtime.base


@pytest.mark.parametrize("file", SAMPLES, ids=lambda path: path.parent.name)
def test_sample(file: Path, schema: Draft202012Validator) -> None:
    load_spec(file)
    (document,) = builds(file)
    schema.validate(document)
