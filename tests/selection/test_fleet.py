"""Many images on many hosts, the matrix, and what changes from one set of hosts to another."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimeimg.image import ImageIndex
from runtimeimg.oci import Descriptor, Index, Platform
from runtimeimg.selection import mapping
from runtimeimg.selection.candidates import candidates
from runtimeimg.selection.choice import choose
from runtimeimg.selection.criteria import Criteria, Order, Requirement, parse_preference
from runtimeimg.selection.fleet import Fleet
from runtimeimg.selection.hosts import Host
from runtimeimg.selection.nvidia import NvidiaFacts
from runtimeimg.selection.platforms import PlatformOrder
from runtimeimg.selection.values import Exact
from tests.indexes.command import done, run
from tests.selection.test_select import digests, variants, with_config
from tests.stores import made

platforms = st.sampled_from(["linux/amd64", "linux/amd64/v3", "linux/arm64", "linux/386"])
levels = st.sampled_from(["v1", "v2", "v3", "v4"])
facts = st.fixed_dictionaries(
    {},
    optional={
        "cpu.level": levels.map(lambda text: (text,)),
        "gpu.vendor": st.just(("nvidia",)),
        "cuda.driver.version": st.sampled_from(["11.8", "12.4"]).map(lambda text: (text,)),
        "gpu.model": st.sampled_from(["A100", "H100"]).map(lambda text: (text,)),
    },
)
names = {
    "dev.runtimeimg.cpu.level": levels,
    "dev.runtimeimg.gpu.vendor": st.sampled_from(["nvidia", "amd"]),
    "dev.runtimeimg.cuda": st.sampled_from(["12.2", ">=11,<12"]),
    "dev.runtimeimg.gpu.model": st.sampled_from(["A*", "H100"]),
    "com.example.site": st.sampled_from(["a", "b"]),
}
entries = st.lists(st.tuples(platforms, st.fixed_dictionaries({}, optional=names)), max_size=5)
musts = st.sampled_from([(), (Requirement(key="com.example.site", matcher=Exact(("a",))),)])


def criteria(host: Host, order: Order, must: tuple[Requirement, ...]) -> Criteria:
    required, preferred = mapping.wishes(host)
    return Criteria(
        platforms=PlatformOrder(host.platform),
        requirements=required + must,
        preferences=(parse_preference("com.example.site=a:3"), *preferred),
        order=order,
        nvidia=NvidiaFacts.of(host.facts),
    )


@given(st.lists(st.tuples(platforms, facts), min_size=1, max_size=6), entries, st.sampled_from(list(Order)), musts)
def test_a_fleet_runs_what_each_host_would_alone(hosts: Any, items: Any, order: Order, must: Any) -> None:
    found = [
        criteria(Host(name=str(number), platform=Platform.parse(text), facts=own), order, must)
        for number, (text, own) in enumerate(hosts)
    ]
    manifests = [
        {**descriptor.to_json(), "platform": Platform.parse(text).to_json(), "annotations": annotations}
        for descriptor, (text, annotations) in zip(SOME, items, strict=False)
    ]
    there = candidates(Index.of([]).evolve(manifests=manifests))
    outcomes = Fleet(found).outcomes(there)
    assert sorted(number for item in outcomes for number in item.hosts) == list(range(len(hosts)))
    for item in outcomes:
        for number in item.hosts:
            alone = choose(there, found[number]).chosen
            together = item.choice.chosen
            assert (alone and alone.candidate.position) == (together and together.candidate.position)


SOME: list[Descriptor] = [made.image(number, 10, 1).to_manifest().descriptor for number in range(5)]


def written(folder: Path, **hosts: str) -> Path:
    folder.mkdir()
    for name, text in hosts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.fixture
def layout(tmp_path: Path) -> Callable[[ImageIndex, str], str]:
    def write(index: ImageIndex, tag: str) -> str:
        made.write(f"oci:{tmp_path}/layout:{tag}", index)
        return f"oci:{tmp_path}/layout:{tag}"

    return write


Layout = Callable[[ImageIndex, str], str]
GPU = variants(
    ("linux/amd64", {}),
    ("linux/amd64", {"dev.runtimeimg.gpu.vendor": "nvidia", "dev.runtimeimg.cuda": "12.2"}),
    ("linux/arm64", {}),
)
ONLY_GPU = variants(("linux/amd64", {"dev.runtimeimg.gpu.vendor": "nvidia"}))
PLAIN = "platform: linux/amd64"
CARD = "platform: linux/amd64\nfacts: {gpu.vendor: nvidia, cuda.driver.version: 12.4}"
OLD_CARD = "platform: linux/amd64\nfacts: {gpu.vendor: nvidia, cuda.driver.version: 11.8}"


def test_what_hosts_run_of_images(layout: Layout, tmp_path: Path) -> None:
    first, second = layout(GPU, "gpu"), layout(ONLY_GPU, "only")
    hosts = written(tmp_path / "hosts", a=PLAIN, b=CARD, c=OLD_CARD, d="platform: linux/arm64")
    outcome = run("index", "check", first, second, "--host", hosts)
    assert outcome.code == 10
    lines = [line.split(None, 5) for line in outcome.out.splitlines()]
    assert lines[0] == ["IMAGE", "RUNS", "PLATFORM", "HOSTS", "WHY"]
    rows = [(line[0].rpartition(":")[2], " ".join(line[1:])) for line in lines[1:]]
    assert rows[0][0] == "gpu"
    assert rows[0][1].split()[2:] == ["linux/amd64", "a,", "c", "first", "that", "fits"]
    assert "#2" in rows[1][1]
    assert "dev.runtimeimg.gpu.vendor +10, dev.runtimeimg.cuda +10" in rows[1][1]
    assert "linux/arm64 d" in rows[2][1]
    told = json.loads(run("index", "check", first, second, "--host", hosts, "--format", "json").out)
    data = {item["image"]: item["outcomes"] for item in told["images"]}
    assert [(part["hosts"], part["runs"] and part["runs"]["digest"]) for part in data[first]] == [
        (["a", "c"], digests(GPU)[0]),
        (["b"], digests(GPU)[1]),
        (["d"], digests(GPU)[2]),
    ]
    assert [(part["hosts"], part["runs"] is not None) for part in data[second]] == [
        (["a"], False),
        (["b", "c"], True),
        (["d"], False),
    ]
    reasons = data[second][0]["candidates"][0]["reasons"]
    assert reasons == ["has dev.runtimeimg.gpu.vendor=nvidia, and the host has no gpu.vendor"]
    assert run("index", "check", first, "--host", hosts).code == 0


def test_what_changes_where_hosts_are_replaced(layout: Layout, tmp_path: Path) -> None:
    first, second = layout(GPU, "gpu"), layout(ONLY_GPU, "only")
    old = written(tmp_path / "old", a=PLAIN, b=CARD)
    new = written(tmp_path / "new", a=CARD, b=OLD_CARD)
    outcome = run("index", "check", first, "--host", old, "--against", new)
    assert outcome.code == 0
    assert [line.split()[1] for line in outcome.out.splitlines()] == ["CHANGE", "other", "other"]
    none = written(tmp_path / "none", a=CARD, b="platform: linux/arm64")
    lost = run("index", "check", first, second, "--host", old, "--against", none, "--format", "json")
    assert lost.code == 10
    found = {
        item["image"]: {change["change"]: change for change in item["changes"]}
        for item in json.loads(lost.out)["images"]
    }
    assert set(found[second]) == {"gained", "lost"}
    assert found[second]["lost"]["hosts"] == [{"before": "b", "after": "b"}]
    assert found[second]["lost"]["before"] == digests(ONLY_GPU)[0]
    (tmp_path / "next.yaml").write_text(PLAIN)
    every = run("index", "check", first, "--host", old, "--against", tmp_path / "next.yaml")
    assert [line.split()[1] for line in every.out.splitlines()[1:]] == ["same", "other"]
    assert "a -> next" in every.out


def test_an_image_that_cannot_be_read_does_not_hide_the_others(layout: Layout, tmp_path: Path) -> None:
    there = layout(GPU, "gpu")
    listed = tmp_path / "images"
    listed.write_text(f"# ours\n{there}\n\noci:{tmp_path}/layout:none\n")
    hosts = written(tmp_path / "hosts", a=PLAIN)
    outcome = run("index", "check", "--images", listed, "--host", hosts)
    assert outcome.code == 10
    assert "first that fits" in outcome.out
    assert "cannot be told:" in outcome.out
    assert run("index", "check", f"oci:{tmp_path}/layout:none", "--host", hosts).code == 3


def test_usage(layout: Layout, tmp_path: Path) -> None:
    there = layout(GPU, "gpu")
    hosts = written(tmp_path / "hosts", a=PLAIN, b="name: a\nplatform: linux/arm64")
    assert "are both called 'a'" in run("index", "check", there, "--host", hosts).err
    assert run("index", "check", there).code == 2
    assert "no image is named" in run("index", "check", "--host", hosts / "a.yaml").err
    (tmp_path / "empty").mkdir()
    assert run("index", "check", there, "--host", tmp_path / "empty").code == 3


def test_indexes_within_indexes_are_checked_too(layout: Layout, tmp_path: Path) -> None:
    entry = Descriptor(media_type=GPU.index.media_type, digest=GPU.index.digest, size=len(GPU.index.raw))
    where = layout(ImageIndex(index=Index.of([entry]), open_manifest=lambda _: GPU, name="outer"), "outer")
    hosts = written(tmp_path / "hosts", a=PLAIN, b=CARD)
    told = json.loads(done("index", "check", where, "--host", hosts, "--format", "json"))
    assert [part["runs"]["digest"] for part in told["images"][0]["outcomes"]] == digests(GPU)[:2]


LEVELS = variants(("linux/amd64/v3", {}), ("linux/386", {}), ("linux/amd64", {}), ("", {}))


def test_the_matrix_shows_the_engines_side_by_side(layout: Layout) -> None:
    where = layout(LEVELS, "levels")
    short = [digest[7:19] for digest in digests(LEVELS)]
    wanted = "linux/amd64/v4,linux/386,linux/arm64"
    lines = [line.split() for line in done("index", "matrix", where, "--platform", wanted).splitlines()]
    assert lines == [
        ["PLATFORM", "CONTAINERD", "DOCKER", "PODMAN"],
        ["linux/amd64/v4", "#1", short[0], "#1", short[0], "#3", short[2], "they", "differ"],
        ["linux/386", "#2", short[1], "#2", short[1], "#2", short[1]],
        ["linux/arm64", "#4", short[3], "#4", short[3], "#4", short[3]],
    ]
    looked = done("index", "matrix", where, "--platform", "linux/arm64", "--look-inside").splitlines()
    assert looked[1].split() == ["linux/arm64", "-", "-", "#4", short[3], "they", "differ"]


def test_the_matrix_as_markdown_and_json(layout: Layout) -> None:
    index = variants(("linux/amd64/v2", {"com.example.a": "x|<b>"}), ("linux/amd64", {}))
    where = layout(index, "two")
    one, two = (digest[7:19] for digest in digests(index))
    assert done("index", "matrix", where, "--format", "markdown").splitlines() == [
        "| platform | containerd | docker | podman |",
        "| --- | --- | --- | --- |",
        f"| linux/amd64 | #2 {two} | #2 {two} | #2 {two} |",
        f"| linux/amd64/v2 | #1 {one} | #1 {one} | #1 {one} |",
        f"| linux/amd64/v3 | #1 {one} | #1 {one} | **#2 {two}** |",
        f"| linux/amd64/v4 | #1 {one} | #1 {one} | **#2 {two}** |",
        "",
        f"- #1 {one}: linux/amd64/v2, com.example.a=x\\|&lt;b&gt;",
        f"- #2 {two}: linux/amd64",
    ]
    data = json.loads(done("index", "matrix", where, "--format", "json"))
    assert [row["same"] for row in data["platforms"]] == [True, True, False, False]
    assert data["platforms"][2]["podman"] == {"entry": 2, "digest": digests(index)[1]}


def test_the_usual_platforms_are_those_of_the_kinds_that_are_there(layout: Layout) -> None:
    where = layout(variants(("linux/arm/v6", {}), ("windows/amd64", {})), "kinds")
    named = [line.split()[0] for line in done("index", "matrix", where).splitlines()[1:]]
    assert named == [
        *("linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm/v8", "linux/arm64", "linux/arm64/v8.2"),
        *("linux/arm64/v9", "windows/amd64", "windows/amd64/v2", "windows/amd64/v3", "windows/amd64/v4"),
    ]


def test_a_matrix_has_an_end(layout: Layout) -> None:
    image = made.image(1, 10, 1)
    entries = [
        replace(image.to_manifest().descriptor, platform=Platform.parse(f"linux/amd64/x{number}"))
        for number in range(260)
    ]
    where = layout(ImageIndex(index=Index.of(entries), open_manifest=lambda _: image, name="many"), "many")
    refused = run("index", "matrix", where)
    assert (refused.code, refused.out) == (2, "")
    assert "would have 264 platforms; 256 are allowed" in refused.err
    assert run("index", "matrix", where, "--platform", "linux/amd64").code == 0


def test_what_images_require_of_cards_is_checked_when_asked_for(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = {"Env": ["NVIDIA_REQUIRE_CUDA=cuda>=12.2", "PATH=/bin"]}
    images = [with_config(made.image(1, 10, 1), config=needs), made.image(2, 10, 1)]
    entries = [replace(image.to_manifest().descriptor, platform=image.platform) for image in images]
    children = {image.to_manifest().digest: image for image in images}
    index = ImageIndex(index=Index.of(entries), open_manifest=lambda entry: children[entry.digest], name="cards")
    where = layout(index, "cards")
    hosts = written(tmp_path / "hosts", a=CARD, b=OLD_CARD, c=PLAIN)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{where}\n".encode())))
    outcome = run("index", "check", "--images", "-", "--host", hosts, "--look-inside", "--format", "json")
    assert outcome.code == 0, outcome.err
    (told,) = json.loads(outcome.out)["images"]
    assert [(part["hosts"], part["runs"]["digest"]) for part in told["outcomes"]] == [
        (["a"], str(entries[0].digest)),
        (["b", "c"], str(entries[1].digest)),
    ]
    plain = json.loads(done("index", "check", where, "--host", hosts, "--format", "json"))["images"][0]
    assert [part["hosts"] for part in plain["outcomes"]] == [["a", "b", "c"]]


def test_what_is_asked_for_counts_for_all_hosts(layout: Layout, tmp_path: Path) -> None:
    index = variants(("linux/amd64", {}), ("linux/amd64", {"a.x": "1"}), ("linux/amd64", {"a.y": "1"}))
    where = layout(index, "wishes")
    hosts = written(tmp_path / "hosts", a=PLAIN, b="platform: linux/amd64/v3")
    file = tmp_path / "preferences.yaml"
    file.write_text("order: lexicographic\nprefer: [{key: a.y, value: 1}, {key: a.x, value: 1, weight: 9}]")
    for options, entry in (
        (("--preferences", file), 3),
        (("--preferences", file, "--order", "sum"), 2),
        (("--preferences", file, "--require", "a.x"), 2),
        (("--as", "podman", "--prefer", "a.x:-1"), 1),
    ):
        (told,) = json.loads(done("index", "check", where, "--host", hosts, *options, "--format", "json"))["images"]
        assert [(part["hosts"], part["runs"]["entry"]) for part in told["outcomes"]] == [(["a", "b"], entry)]
