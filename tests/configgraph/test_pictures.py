"""Pictures of graphs: where boxes come to lie, what SVG says, and how the page behaves in a real browser."""

import html
import random
import re
import xml.etree.ElementTree as ET
from itertools import combinations

import pytest

from runtimeimg.configgraph.drawing import page, svg
from runtimeimg.configgraph.layout import BOX_HEIGHT, BOX_WIDTH, Arrow, Box, lay_out
from tests.browser import Browser

COLUMNS = ("host", "instance", "automaton", "artefact", "base", "layer")
HOSTILE = (
    "<script>document.title='owned'</script>",
    "</script><img src=x onerror=document.title='owned'>",
    "\"'><svg onload=document.title='owned'>",
    "{{ title }}&amp;&lt;b&gt;",
    "new\nline\x1b[31m\u202e\ufffe\u2028",
)
BOXES = (
    Box(id="host/one", column="host", title="one", note="linux/amd64, 4 CPUs"),
    Box(id="instance/shop/0", column="instance", title="shop 0"),
    Box(id="automaton/shop", column="automaton", title="shop", note="2 replicas"),
    Box(id="artefact/web", column="artefact", title="web", note="registry.example.com/web:1"),
    Box(id="layer/sha256:aa", column="layer", title="aa", note="12 MB"),
    Box(id="group/layers", column="layer", title="30 layers", count=30),
)
ARROWS = (
    Arrow(source="instance/shop/0", target="host/one", relation="placed-on"),
    Arrow(source="instance/shop/0", target="automaton/shop", relation="instance-of"),
    Arrow(source="automaton/shop", target="artefact/web", relation="runs"),
    Arrow(source="artefact/web", target="layer/sha256:aa", relation="contains"),
    Arrow(source="artefact/web", target="group/layers", relation="contains", count=30),
    Arrow(source="artefact/web", target="base/nowhere", relation="built-on"),
)
NODES = (
    {
        "id": "host/one",
        "kind": "host",
        "box": "host/one",
        "facts": [["platform", "linux/amd64"]],
        "edges": {"placed here": ["instance/shop/0"]},
    },
    {
        "id": "automaton/shop",
        "kind": "automaton",
        "box": "automaton/shop",
        "facts": [["replicas", "2"]],
        "parameters": [["process.args", '["/bin/shop"]', "Required", "automaton", "shop.yaml:7"]],
        "edges": {"runs": ["artefact/web"]},
    },
    {
        "id": "artefact/web",
        "kind": "artefact",
        "box": "artefact/web",
        "facts": [["reference", "registry.example.com/web:1"]],
        "edges": {},
    },
)


def drawn(boxes=BOXES, arrows=ARROWS):
    return lay_out(boxes, arrows, COLUMNS)


def test_boxes_stand_in_the_columns_of_their_kinds_and_none_lies_on_another() -> None:
    picture = drawn()
    lefts = {box.column: left for box, left, _ in picture.boxes}
    assert [lefts[name] for name in COLUMNS if name in lefts] == sorted(lefts.values())
    assert [column.name for column in picture.columns] == ["host", "instance", "automaton", "artefact", "layer"]
    for (_, left, top), (_, other, above) in combinations(picture.boxes, 2):
        assert abs(left - other) >= BOX_WIDTH or abs(top - above) >= BOX_HEIGHT
    for _, left, top in picture.boxes:
        assert 0 <= left <= picture.width - BOX_WIDTH
        assert 0 <= top <= picture.height - BOX_HEIGHT
    assert {item.target for item in picture.arrows} == {item.target for item in ARROWS} - {"base/nowhere"}


def test_the_order_of_what_is_given_makes_no_difference() -> None:
    chance = random.Random(4)
    boxes = [Box(id=f"{name}/{n}", column=name, title=str(n)) for name in COLUMNS for n in range(12)]
    arrows = [
        Arrow(source=chance.choice(boxes).id, target=chance.choice(boxes).id, relation="contains") for _ in range(80)
    ]
    first = lay_out(boxes, arrows, COLUMNS)
    for _ in range(5):
        chance.shuffle(boxes)
        chance.shuffle(arrows)
        assert lay_out(boxes, arrows, COLUMNS) == first


def test_what_is_joined_comes_to_lie_side_by_side() -> None:
    """Pairs that are given crosswise are drawn without a crossing."""
    boxes = [Box(id=f"{name}/{n}", column=name, title=str(n)) for name in ("automaton", "artefact") for n in range(6)]
    arrows = [Arrow(source=f"automaton/{n}", target=f"artefact/{5 - n}", relation="runs") for n in range(6)]
    tops = {box.id: top for box, _, top in lay_out(boxes, arrows, COLUMNS).boxes}
    assert all(tops[item.source] == tops[item.target] for item in arrows)


def test_an_empty_picture_is_one() -> None:
    assert ET.fromstring(svg(lay_out((), (), COLUMNS), "nothing")).tag.endswith("svg")


def test_the_svg_has_each_box_and_arrow_with_its_whole_text() -> None:
    text = svg(drawn(), "the shop")
    root = ET.fromstring(text)
    space = {"s": "http://www.w3.org/2000/svg"}
    assert {item.get("data-id") for item in root.findall(".//s:g[@class='box']", space)} == {box.id for box in BOXES}
    assert "artefact/web contains group/layers (30)" in [item.text for item in root.iter(f"{{{space['s']}}}title")]
    assert "layers (31)" in [item.text for item in root.iter(f"{{{space['s']}}}text")]
    assert len(root.findall(".//s:path", space)) == len(ARROWS) - 1


def test_hostile_texts_are_text() -> None:
    boxes = [Box(id=f"automaton/{name}", column="automaton", title=name, note=name) for name in HOSTILE]
    arrows = [Arrow(source=one.id, target=other.id, relation="runs") for one, other in combinations(boxes, 2)]
    text = svg(lay_out(boxes, arrows, COLUMNS), HOSTILE[1])
    root = ET.fromstring(text)
    assert {item.tag.rpartition("}")[2] for item in root.iter()} == {"svg", "title", "rect", "text", "g", "path"}
    assert not re.search("[\x1b\u202e\ufffe\u2028]", text)


def text_of(document: str, name: str) -> str:
    found = re.search(rf'<(\w+) id="{name}"[^>]*>(.*?)</\1>', document, re.DOTALL)
    assert found is not None
    return html.unescape(re.sub(r"<[^>]+>", " ", found[2]))


@pytest.mark.chromium
def test_the_page_loads_without_errors_and_asks_the_network_for_nothing(browser: Browser) -> None:
    document = browser.load(page(drawn(), "the shop", NODES))
    assert browser.told == ""
    assert browser.asked_by_pages() == ["http://page.test/page.html"]
    assert document.count('class="box"') == len(BOXES)
    assert "open a node" in text_of(document, "panel")


@pytest.mark.chromium
def test_the_search_finds_a_node_by_anything_that_is_known_of_it(browser: Browser) -> None:
    document = browser.load(page(drawn(), "the shop", NODES), "#search=BIN/SHOP")
    assert browser.told == ""
    assert text_of(document, "count") == "1 found"
    assert re.findall(r'class="box hit" data-id="([^"]*)"', document) == ["automaton/shop"]
    assert "automaton/shop" in text_of(document, "panel")


CLICKS = """
<script>
const note = (text) => document.body.append(Object.assign(document.createElement("p"), {textContent: "noted " + text}));
const panel = () => [...document.querySelectorAll("#panel h2, #panel td")].map((item) => item.textContent).join("|");
const click = (found) => found.dispatchEvent(new MouseEvent("click"));
click(document.querySelector('[data-id="automaton/shop"]'));
note(panel() + " " + location.hash);
click(document.querySelector("#panel button"));
note(panel());
const search = document.getElementById("search");
search.value = "linux";
search.dispatchEvent(new Event("input"));
note(document.getElementById("count").textContent + " " + location.hash);
click(document.querySelector('[data-id="group/layers"]'));
note(document.querySelectorAll(".opened").length);
</script>
"""


@pytest.mark.chromium
def test_a_click_opens_a_nodes_parameters_and_leads_on(browser: Browser) -> None:
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page(drawn(), "the shop", NODES))
    document = browser.load(text.replace("</body>", CLICKS + "</body>"))
    noted = [html.unescape(item) for item in re.findall("<p>noted (.*?)</p>", document)]
    assert noted == [
        'automaton/shop|replicas|2|process.args|["/bin/shop"]|Required|automaton|shop.yaml:7 #node=automaton%2Fshop',
        "artefact/web|reference|registry.example.com/web:1",
        "1 found #search=linux",
        "0",
    ]


@pytest.mark.chromium
def test_hostile_texts_do_nothing_in_the_page(browser: Browser) -> None:
    boxes = [Box(id=f"automaton/{name}", column="automaton", title=name, note=name) for name in HOSTILE]
    nodes = [
        {
            "id": box.id,
            "box": box.id,
            "kind": "automaton",
            "facts": [[box.title, box.title]],
            "parameters": [[box.title] * 5],
            "edges": {box.title: [box.id, box.title]},
        }
        for box in boxes
    ]
    for fragment in ("", "#search=script", "#node=automaton%2F%3Cscript%3Edocument.title%3D%27owned%27%3C%2Fscript%3E"):
        document = browser.load(page(lay_out(boxes, (), COLUMNS), HOSTILE[0], nodes), fragment)
        assert browser.told == ""
        assert browser.asked_by_pages() == ["http://page.test/page.html"]
        assert "<title>owned</title>" not in document
        assert not re.search(
            r"<(img|svg onload)", re.sub(r'"[^"]*"', "", document[document.index("<main") :].split("<script")[0])
        )
    assert "opened" in document
