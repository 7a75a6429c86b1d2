"""The treemaps of `runtimeimg size`: what is drawn, and how the page behaves in a real browser."""

import html
import io
import json
import os
import re
import tarfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import quote

import pytest

from runtimeimg.account import Account
from runtimeimg.check.opened import opened
from runtimeimg.check.treemap import UNIT, Kind, Tile, Treemap, boxes, treemap
from runtimeimg.check.treemapdrawing import page, svg
from runtimeimg.errors import UsageError
from runtimeimg.image import Image
from runtimeimg.oci import Descriptor, Digest
from runtimeimg.oci.mediatypes import OCI_LAYER
from tests.browser import Browser
from tests.check.images import Files, image, layer
from tests.check.test_command import run
from tests.stores.made import MadeLayer, write

HOSTILE = (
    "<script>document.title='owned'</script>",
    "</script><img src=x onerror=document.title='owned'>",
    "\"'><svg onload=document.title='owned'>",
    "<!--<script>",
    "{{ title }}&amp;&lt;b&gt;",
    "new\nline\ttab\x1b[31m\u202e\ufffe\u2028",
    os.fsdecode(b"not-utf8-\xff\xfe"),
)
BASE = image({"/usr/lib/libc.so.6": bytes(5000), "/bin/sh": bytes(1000)})
FILES: Files = {
    "/app/data/large.bin": bytes(9000),
    "/app/data/other.bin": bytes(3000),
    "/app/empty": b"",
    "/opt/deep/er/file.txt": bytes(400),
}


def drawn(made: Image, base: Image | None = None) -> Treemap:
    with opened(made, cache=None, account=Account(), base=base) as facts:
        return treemap(facts)


def paths(of: Treemap) -> dict[str, Tile]:
    found: list[str] = []
    for number, tile in enumerate(of.tiles):
        found.append("/" if not number else f"{found[tile.parent].rstrip('/')}/{tile.name}")
    return dict(zip(found, of.tiles, strict=True))


@pytest.fixture(scope="module")
def small() -> Treemap:
    return drawn(image(FILES, base=BASE), BASE)


@pytest.fixture(scope="module")
def hostile() -> Treemap:
    return drawn(image({f"/{name.replace('/', '_')}/{name.replace('/', '_')}": bytes(100) for name in HOSTILE}))


def test_what_the_rectangles_are(small: Treemap) -> None:
    found = paths(small)
    assert {path: tile.size for path, tile in found.items()} == {
        "/": 18400, "/app": 12000, "/app/data": 12000, "/app/data/large.bin": 9000, "/app/data/other.bin": 3000,
        "/usr": 5000, "/usr/lib": 5000, "/usr/lib/libc.so.6": 5000, "/bin": 1000, "/bin/sh": 1000,
        "/opt": 400, "/opt/deep": 400, "/opt/deep/er": 400, "/opt/deep/er/file.txt": 400,
    }  # fmt: skip
    assert (found["/"].files, found["/app"].files) == (6, 3)
    assert small.layers == ("base", "layer 2")
    assert small.packages == ("(of no package)",)
    assert (found["/usr/lib/libc.so.6"].layer, found["/app/data/large.bin"].layer) == (0, 1)
    assert all(tile.parent < number for number, tile in enumerate(small.tiles) if number)


@pytest.mark.parametrize("sizes", [[5], [9, 9, 9, 1], [10**15, 1], [2**i for i in range(60, 0, -1)], [7] * 201])
@pytest.mark.parametrize("ratio", [0.0001, 0.7, 1.6, 5000.0])
def test_rectangles_cover_their_folder_and_do_not_overlap(sizes: list[int], ratio: float) -> None:
    laid = boxes(sizes, ratio)
    assert len(laid) == len(sizes)
    assert all(0 <= left <= right <= UNIT and 0 <= top <= bottom <= UNIT for left, top, right, bottom in laid)
    areas = [(right - left) * (bottom - top) / UNIT**2 for left, top, right, bottom in laid]
    assert sum(areas) == pytest.approx(1, abs=0.02)
    for number, first in enumerate(laid):
        for second in laid[number + 1 :]:
            wide = min(first[2], second[2]) - max(first[0], second[0])
            high = min(first[3], second[3]) - max(first[1], second[1])
            assert wide <= 1 or high <= 1
    if max(sizes) < 100:
        assert areas == pytest.approx([size / sum(sizes) for size in sizes], rel=0.05)


def test_the_same_image_gives_the_same_bytes(small: Treemap) -> None:
    again = drawn(image(FILES, base=BASE), BASE)
    assert (svg(again), page(again)) == (svg(small), page(small))


def test_what_lies_deep_is_counted_above() -> None:
    deep = "/" + "/".join(["d"] * 200)
    found = drawn(image({f"{deep}/file": bytes(50), f"{deep}/second": bytes(30)}))
    assert found.tiles[0].size == 80
    assert len(found.tiles) < 70
    assert found.tiles[-2].size == 50


def test_hard_links_count_once() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        first, second = tarfile.TarInfo("first"), tarfile.TarInfo("second")
        first.size, second.type, second.linkname = 70, tarfile.LNKTYPE, "first"
        archive.addfile(first, io.BytesIO(bytes(70)))
        archive.addfile(second)
    raw = buffer.getvalue()
    descriptor = Descriptor(media_type=OCI_LAYER, digest=Digest.of(raw), size=len(raw))
    found = drawn(image(MadeLayer(descriptor=descriptor, raw=raw, diff_id=Digest.of(raw))))
    assert {path: tile.size for path, tile in paths(found).items()} == {"/": 70, "/first": 70}


def test_fifty_thousand_files_are_a_page_below_a_megabyte() -> None:
    files = {f"/srv/{n % 400:03}/{n % 7}/some-quite-usual-name-{n:05}.js": bytes(n % 89 + 1) for n in range(50_000)}
    found = drawn(image(files))
    text = page(found)
    assert 300_000 < len(text.encode()) < 1_000_000
    assert len(svg(found).encode()) < 3_000_000
    sums = [0] * len(found.tiles)
    for number in range(len(found.tiles) - 1, 0, -1):
        tile = found.tiles[number]
        sums[tile.parent] += tile.size
        assert tile.kind is not Kind.FOLDER or sums[number] == tile.size
    assert sums[0] == found.tiles[0].size == sum(n % 89 + 1 for n in range(50_000))
    more = [tile for tile in found.tiles if tile.kind is Kind.MORE]
    assert more
    assert all(re.fullmatch(r"[0-9,]+ more", tile.name) for tile in more)
    assert found.tiles[0].files == 50_000


def test_the_picture_is_xml_whatever_the_names_are(hostile: Treemap) -> None:
    root = ET.fromstring(svg(hostile))
    assert {item.tag.partition("}")[2] for item in root.iter()} == {"svg", "title", "rect", "g", "text"}
    titles = "\n".join(item.text or "" for item in root.iter() if item.tag.endswith("title"))
    assert "<script>document.title='owned'<_script>" in titles
    assert "new\\x0aline\\x09tab\\x1b[31m\\u202e\\ufffe\\u2028" in titles
    assert "not-utf8-\\xff\\xfe" in titles


def test_names_cannot_end_the_script_that_holds_them(hostile: Treemap) -> None:
    text = page(hostile)
    assert text.count("<script") == text.count("</script>") == 2
    held = re.search(r'<script id="data" type="application/json">([^<]*)</script>', text)
    assert held is not None
    names = [row[1] for row in json.loads(held[1])["tiles"]]
    assert "<script>document.title='owned'<_script>" in names
    assert re.search(r"(?:src|href|action)=|url\(|@import|https?:", text.replace(held[0], "")) is None


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    target = f"oci:{tmp_path}/image"
    write(target, image(FILES, base=BASE))
    output = tmp_path / "map.html"
    assert run("size", target, "--format", "html", "-o", output) == (0, "", "")
    assert output.read_text().startswith("<!DOCTYPE html>")
    code, out, _ = run("size", target, "--format", "svg", "--color-by", "package", "--max-size", "10")
    assert code == 10
    assert "/app/data/large.bin: 9,000 bytes, 48.9 %" in out
    assert "(of no package)" in out
    assert run("size", target, "--format", "json", "-o", output)[0] == 0
    assert json.loads(output.read_text())["files"] == {"bytes": 18400, "count": 6}
    with pytest.raises(UsageError, match="not drawn"):
        run("size", target, "--format", "svg", "--against", target)


def shown(document: str) -> dict[str, set[str]]:
    """The rectangles of a document: by path, their classes."""
    found = re.findall(r'<div class="tile ([^"]*)" title="([^"]*?): [0-9,]+ bytes', document)
    return {html.unescape(title): set(classes.split()) for classes, title in found}


def text_of(document: str, name: str) -> str:
    found = re.search(rf'<(\w+) id="{name}"[^>]*>(.*?)</\1>', document, re.DOTALL)
    assert found is not None
    return html.unescape(re.sub(r"<[^>]+>", "", found[2]))


@pytest.mark.chromium
def test_the_page_loads_and_asks_the_network_for_nothing(browser: Browser, small: Treemap) -> None:
    document = browser.load(page(small))
    assert browser.told == ""
    assert browser.asked_by_pages() == ["http://page.test/page.html"]
    assert set(shown(document)) == set(paths(small))
    assert text_of(document, "told") == "/: 18,400 bytes, 6 files, 100.0 % of the image"
    assert text_of(document, "legend") == "baselayer 2"
    # What would be seen of a page that does ask.
    browser.load("<img src=http://other.test/picture><script>nowhere()</script>")
    assert {"http://page.test/page.html", "http://other.test/picture"} <= set(browser.asked_by_pages())
    assert "nowhere is not defined" in browser.told


@pytest.mark.chromium
def test_zooming_and_searching(browser: Browser, small: Treemap) -> None:
    document = browser.load(page(small), "#zoom=/app/data&search=LARGE&by=package")
    assert browser.told == ""
    assert shown(document) == {
        "/app/data": {"folder", "holds"},
        "/app/data/large.bin": {"file", "hit"},
        "/app/data/other.bin": {"file"},
    }
    assert text_of(document, "count") == "1 found"
    assert text_of(document, "crumbs").endswith("app/data")
    assert text_of(document, "legend") == "(of no package)"
    assert "75.0 % of /app/data" in document


CLICKS = """
<script>
const click = (found) => found.click();
const named = (path) => [...document.querySelectorAll(".tile")].find((item) => item.title.startsWith(path + ":"));
const note = (text) => document.body.append(Object.assign(document.createElement("p"), {textContent: "noted " + text}));
const drawn = () => document.querySelectorAll(".tile").length;
click(named("/app/data"));
note(drawn() + " " + location.hash);
click(document.querySelector("#crumbs button"));
note(drawn() + " " + location.hash);
click(named("/bin/sh"));
note(document.getElementById("told").textContent);
</script>
"""


@pytest.mark.chromium
def test_clicks_zoom_and_the_breadcrumb_leads_back(browser: Browser, small: Treemap) -> None:
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page(small))
    document = browser.load(text.replace("</body>", CLICKS + "</body>"))
    noted = [html.unescape(item) for item in re.findall("<p>noted (.*?)</p>", document)]
    assert noted == [
        f"3 #{'zoom=' + quote('/app/data', safe='')}",
        f"{len(small.tiles)} ",
        "/bin/sh: 1,000 bytes, 5.4 % of the image; base; (of no package)",
    ]


@pytest.mark.chromium
def test_a_hostile_name_is_shown_and_does_nothing(browser: Browser, hostile: Treemap) -> None:
    document = browser.load(page(hostile), "#search=" + quote("<script>"))
    assert browser.told == ""
    assert browser.asked_by_pages() == ["http://page.test/page.html"]
    assert "<title>made</title>" in document
    assert set(shown(document)) == set(paths(hostile))
    body = document[document.index("<main") : document.index("</main>")]
    assert set(re.findall(r"<(/?\w+)", re.sub(r'"[^"]*"', "", body))) == {"main", "div", "/div"}
    assert text_of(document, "count") == "4 found"


@pytest.mark.chromium
def test_a_large_page_is_drawn(browser: Browser) -> None:
    files = {f"/srv/{n % 200:03}/name-{n:05}.js": bytes(n % 89 + 1) for n in range(20_000)}
    begun = time.monotonic()
    document = browser.load(page(drawn(image(layer(files)))), "#zoom=/srv/007")
    assert browser.told == ""
    assert len(shown(document)) > 50
    assert time.monotonic() - begun < 120
