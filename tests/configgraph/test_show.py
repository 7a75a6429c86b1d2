"""`graph show`: tables, JSON, DOT and Mermaid of graphs small and large, and pictures of the sample in a browser."""

import json
import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from runtimeimg.configgraph import saved
from runtimeimg.configgraph.folding import Folded, fold
from runtimeimg.configgraph.graphtexts import dot, mermaid
from runtimeimg.configgraph.layout import Arrow, Box
from runtimeimg.errors import NotFoundError
from tests.browser import Browser

from .layouts import Layout
from .test_bundles import run
from .test_pictures import HOSTILE, text_of

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def graph_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The graph of the sample's documents, their images in a layout in place of a registry."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    layout = Layout(tmp_path / "images")
    sample = Path(__file__).parents[2] / "samples" / "graph"
    folder = tmp_path / "documents"
    folder.mkdir()
    for path in sample.glob("*.yaml"):
        text = path.read_text()
        for name in re.findall(r"image: docker://\S+/([a-z]+):1", text):
            shared, own = {"lib/shared": "shared"}, {"bin/app": name}
            layout.image(name, layers=[shared, own])
        text = re.sub(r'docker://[^"\s]+/([a-z]+):1', rf"oci:{tmp_path}/images:\1", text)
        (folder / path.name).write_text(re.sub(r"build: \.\.", f"build: {sample.parent}", text))
    run("graph", "build", folder, "-o", tmp_path / "graph.json", "--lock", tmp_path / "graph.lock")
    run("graph", "place", "-g", tmp_path / "graph.json", "-o", tmp_path / "placed.json")
    return tmp_path / "placed.json"


def shown(graph_file: Path, *words: object) -> str:
    return run("graph", "show", *words, "-g", graph_file)[0]


def test_a_table_of_the_graph_and_of_a_node(graph_file: Path) -> None:
    text = shown(graph_file)
    assert "3 automatons" in text
    assert re.search(r"^  clinic +1 replica$", text, re.MULTILINE)
    assert re.search(r"^  links/\d +on (north|south)$", text, re.MULTILINE)
    text = shown(graph_file, "clinic")
    assert text.startswith("automaton/clinic\n")
    assert "runs (1)\n  artefact/clinic\n" in text
    assert "instances (1)\n  instance/clinic/0\n" in text
    assert "held" not in text
    with pytest.raises(NotFoundError, match="nobody"):
        shown(graph_file, "nobody")


def test_json_is_what_the_graph_has(graph_file: Path) -> None:
    whole = json.loads(shown(graph_file, "--format", "json"))
    assert whole["nodes"]["automaton"] == ["automaton/clinic", "automaton/links", "automaton/visits"]
    lines = {node["id"]: node for node in json.loads(graph_file.read_text())["nodes"]}
    for name in ("automaton/links", "host/north", "artefact/web"):
        assert json.loads(shown(graph_file, name, "--format", "json")) == lines[name]


def folded_of(names: tuple[str, ...]) -> Folded:
    boxes = tuple(Box(id=f"automaton/{name}", column="automaton", title=name, note=name) for name in names)
    arrows = [
        Arrow(source=one.id, target=other.id, relation=one.title or "runs", count=2) for one, other in pairwise(boxes)
    ]
    return Folded(boxes=boxes, arrows=tuple(arrows), of={})


AWKWARD = (*HOSTILE, '"]; click n1 "javascript:alert(1)"', "a\\", "\\N \\G", '\\"', "end", "subgraph x", "", "%% x")


@pytest.mark.dot
def test_graphviz_draws_a_graph_of_any_names() -> None:
    for folded, title in ((folded_of(AWKWARD), AWKWARD[5]), (folded_of(("one", "two")), "plain")):
        done = subprocess.run(["dot", "-Tsvg"], input=dot(folded, title), capture_output=True, text=True, check=True)
        assert done.stderr == ""
        root = ET.fromstring(done.stdout.split("?>", 1)[1].split("-->", 1)[-1])
        groups = [item for item in root.iter(f"{SVG}g") if item.get("class") == "node"]
        assert len(groups) == len(folded.boxes)
        assert {item.tag for item in root.iter()} <= {
            f"{SVG}{name}" for name in ("svg", "g", "title", "text", "path", "polygon", "a")
        }
    assert [item.text for item in groups[0].iter(f"{SVG}text")] == ["one", "one"]


@pytest.mark.dot
def test_graphviz_draws_the_sample(graph_file: Path) -> None:
    done = subprocess.run(
        ["dot", "-Tplain"], input=shown(graph_file, "--format", "dot"), capture_output=True, text=True, check=True
    )
    view = saved.open(graph_file)
    folded = fold(view)
    assert sum(line.startswith("node ") for line in done.stdout.splitlines()) == len(folded.boxes)
    assert sum(line.startswith("edge ") for line in done.stdout.splitlines()) == len(folded.arrows)


TEXT = r'[^"\n<>\x00-\x1f]+'
MERMAID_LINE = re.compile(
    rf'flowchart LR|  subgraph [a-z]+\["{TEXT}"\]|  end|    n\d+\["{TEXT}(<br/>{TEXT})?"\]|  n\d+ -->\|"{TEXT}"\| n\d+'
)


def test_mermaid_holds_nothing_but_boxes_and_arrows() -> None:
    """Drawn by Mermaid 11 by hand: every text came out as it is here, and nothing was run."""
    for names in (AWKWARD, ("one", "two")):
        lines = mermaid(folded_of(names)).splitlines()
        assert all(MERMAID_LINE.fullmatch(line) for line in lines)
        assert sum("-->" in line for line in lines) == len(names) - 1
    assert '  n1 -->|"one (2)"| n2' in lines


@pytest.mark.parametrize("output_format", ["svg", "html", "dot", "mermaid"])
def test_a_picture_goes_into_a_file(graph_file: Path, tmp_path: Path, output_format: str) -> None:
    target = tmp_path / "picture"
    assert run("graph", "show", "-g", graph_file, "--format", output_format, "-o", target)[0] == ""
    assert target.read_text() == shown(graph_file, "--format", output_format)


def test_a_picture_of_a_node_has_what_it_is_tied_to(graph_file: Path) -> None:
    ids = set(re.findall(r'data-id="([^"]*)"', shown(graph_file, "visits", "--format", "svg")))
    assert {"automaton/visits", "artefact/counter", "instance/visits/0", "host/south"} <= ids
    assert not {"automaton/links", "artefact/clinic"} & ids


def test_many_nodes_are_few_boxes_in_a_picture(graph_file: Path) -> None:
    ids = re.findall(r'data-id="([^"]*)"', shown(graph_file, "--format", "svg", "--boxes", "2"))
    columns = [item.split("/")[1] if item.startswith("group/") else item.split("/")[0] for item in ids]
    assert max(columns.count(name) for name in columns) <= 2
    assert any(item.startswith("group/") for item in ids)


@pytest.mark.chromium
def test_the_samples_pictures_in_a_browser(browser: Browser, graph_file: Path, made_clicks: Callable[..., str]) -> None:
    for output_format in ("svg", "html"):
        document = browser.load(shown(graph_file, "--format", output_format))
        assert browser.told == ""
        assert browser.asked_by_pages() == ["http://page.test/page.html"]
        assert 'data-id="automaton/clinic"' in document
    page = shown(graph_file, "--format", "html")
    document = browser.load(page, "#search=maxrampercentage=60")
    assert text_of(document, "count") == "1 found"
    assert 'class="box hit" data-id="automaton/clinic"' in document
    document = browser.load(made_clicks(page, "automaton/clinic"))
    assert "process.env" in text_of(document, "panel")
    assert re.search(r"CLINIC_NAME\s+Cats & Dogs", text_of(document, "panel"))
    assert re.search(r"automatons\.yaml:\d+", text_of(document, "panel"))


@pytest.fixture
def made_clicks() -> Callable[..., str]:
    """Return what makes a page click on a box of its own as soon as it is there."""

    def clicks(page: str, box: str) -> str:
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
        click = f"document.querySelector('[data-id=\"{box}\"]').dispatchEvent(new MouseEvent('click'))"
        return text.replace("</body>", f"<script>{click}</script></body>")

    return clicks
