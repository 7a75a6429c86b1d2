"""Every folder of tests/cases/graph: documents that make no graph, and the exact message that says why.

`UPDATE_CASES=1` writes the messages anew. Beside the documents stands a layout `images` with the tags `web` and `db`.
"""

import os
import shutil
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from runtimeimg.configgraph import documents, lock, reading
from runtimeimg.configgraph.build import build
from runtimeimg.configgraph.resolve import Ways
from runtimeimg.errors import RuntimeimgError
from runtimeimg.selection import hostdocument
from runtimeimg.spec import yamlnodes
from runtimeimg.stores import StoreOptions
from tests.configgraph.layouts import Layout

ROOT = Path(__file__).parents[1] / "cases" / "graph"
BAD = sorted(path for path in ROOT.iterdir() if path.name.startswith("bad-"))
UPDATE = os.environ.get("UPDATE_CASES") == "1"
SCHEMAS = {
    "Artefact": documents.artefact_schema(),
    "Automaton": documents.automaton_schema(),
    "Host": hostdocument.schema(),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    layout = Layout(tmp_path_factory.mktemp("images") / "images")
    layout.image("web")
    layout.image("db", layers=({"bin/db": "db"},))
    return layout.root


@pytest.fixture
def here(case: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the documents and the images, entered."""
    shutil.copytree(case, tmp_path, dirs_exist_ok=True)
    shutil.copytree(images, tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made() -> None:
    ways = Ways(options=StoreOptions(), lock=lock.read(Path("graph.lock")), offline=True)
    build(reading.read_all(sorted(Path().glob("*.yaml"))), ways)


def test_there_are_enough_cases() -> None:
    assert len(BAD) >= 50


@pytest.mark.parametrize("case", BAD, ids=lambda path: path.name)
@pytest.mark.usefixtures("here")
def test_bad_documents(case: Path) -> None:
    with pytest.raises(RuntimeimgError) as caught:
        made()
    hint = f"hint: {caught.value.hint}\n" if caught.value.hint else ""
    text = f"{caught.value}\n{hint}exit code {caught.value.exit_code}\n"
    if UPDATE:
        (case / "error.txt").write_text(text, "utf-8")
    assert text == (case / "error.txt").read_text("utf-8")


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_valid(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize("case", BAD, ids=lambda path: path.name)
def test_schemas_refuse_what_one_document_shows(case: Path) -> None:
    """A case holds `schema-accepts`, with the reason, where a schema alone cannot say what is wrong."""
    found = []
    for file in case.glob("*.yaml"):
        try:
            found += [item.root.plain() for item in yamlnodes.compose(file.read_bytes(), file.name)]
        except RuntimeimgError:
            found.append(None)
    ours = [item for item in found if isinstance(item, dict) and item.get("kind") != "Build"]
    accepted = bool(ours) and all(
        item.get("kind") in SCHEMAS and Draft202012Validator(SCHEMAS[item["kind"]]).is_valid(item) for item in ours
    )
    accepted = accepted and None not in found
    assert accepted == (case / "schema-accepts").exists(), found
