"""`index select` as a command, on layouts and on a registry."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runtimeimg.image import Image, ImageIndex
from runtimeimg.oci import Descriptor, Digest, ImageConfig, Index, Platform
from runtimeimg.oci.mediatypes import OCI_MANIFEST
from tests.indexes.command import done, run
from tests.indexes.test_show import proposal
from tests.stores import made

GPU = "com.example.gpu=example-gpu-model"
Published = Callable[[Image | ImageIndex], str]


@pytest.fixture(params=["layout", pytest.param("registry", marks=pytest.mark.registry)])
def published(request: pytest.FixtureRequest, tmp_path: Path) -> Published:
    """A function that writes an index somewhere and returns where."""

    def write(what: Image | ImageIndex) -> str:
        where = f"oci:{tmp_path}/layout:1"
        if request.param == "registry":
            where = f"docker://{request.getfixturevalue('registry')}/selection/{request.node.originalname[:60]}:1"
        made.write(where, what)
        return where

    return write


def test_the_example_of_the_proposal(published: Published) -> None:
    index = proposal(made.image(1), made.image(2))
    where = published(index)
    generic, special = (str(entry.digest) for entry in index.index.manifests)
    assert b'"annotation":' in index.index.raw
    assert done("index", "select", where, "--platform", "linux/amd64") == generic
    assert done("index", "select", where, "--platform", "linux/amd64", "--prefer", GPU) == special
    assert done("index", "select", where, "--platform", "linux/amd64", "--prefer", "com.example.gpu=other") == generic
    assert done("index", "select", where, "--platform", "linux/amd64", "--require", "com.example.gpu") == special


def variants(*kinds: tuple[str, dict[str, str]]) -> ImageIndex:
    """An index of images for platforms, with annotations."""
    images = [made.image(number, 100, 1) for number in range(1, len(kinds) + 1)]
    entries = []
    for image, (platform, annotations) in zip(images, kinds, strict=True):
        entry = image.to_manifest().descriptor
        named = {"platform": Platform.parse(platform).to_json()} if platform else {}
        entries.append({**entry.to_json(), **named, "annotations": annotations})
    children = {image.to_manifest().digest: image for image in images}
    index = Index.of([]).evolve(manifests=entries)
    return ImageIndex(index=index, open_manifest=lambda entry: children[entry.digest], name="variants")


def digests(index: ImageIndex) -> list[str]:
    return [str(entry.digest) for entry in index.index.manifests]


@pytest.fixture
def layout(tmp_path: Path) -> Callable[[ImageIndex], str]:
    def write(index: ImageIndex) -> str:
        made.write(f"oci:{tmp_path}/layout:1", index)
        return f"oci:{tmp_path}/layout:1"

    return write


Layout = Callable[[ImageIndex], str]


def test_a_host_gets_what_it_can_run(layout: Layout, tmp_path: Path) -> None:
    index = variants(
        ("linux/amd64", {"dev.runtimeimg.gpu.vendor": "nvidia", "dev.runtimeimg.cuda": ">=12.2"}),
        ("linux/amd64", {"dev.runtimeimg.cpu.level": "v4"}),
        ("linux/amd64", {"dev.runtimeimg.cpu.level": "v2"}),
        ("linux/amd64", {"dev.runtimeimg.cpu.level": "v3"}),
        ("linux/amd64", {}),
    )
    where = layout(index)

    def chosen(facts: str) -> int:
        (tmp_path / "host.yaml").write_text(f"platform: linux/amd64\nfacts: {facts}")
        return digests(index).index(done("index", "select", where, "--host", tmp_path / "host.yaml"))

    assert chosen("{}") == 4
    assert chosen("{cpu.level: v1}") == 4
    assert chosen("{cpu.level: v2}") == 2
    assert chosen("{cpu.level: v3}") == 3
    assert chosen("{cpu.level: v4}") == 1
    assert chosen("{cpu.level: v3, gpu.vendor: nvidia, cuda.driver.version: 12.4}") == 0
    assert chosen("{cpu.level: v3, gpu.vendor: nvidia, cuda.driver.version: 11.8}") == 3
    (tmp_path / "none.yaml").write_text("rules: []")
    args = ("index", "select", where, "--host", tmp_path / "host.yaml", "--mapping", tmp_path / "none.yaml")
    assert digests(index).index(done(*args)) == 0


def test_an_engine_is_followed(layout: Layout, tmp_path: Path) -> None:
    index = variants(("linux/amd64", {}), ("linux/amd64/v3", {}), ("linux/386", {}))
    where = layout(index)
    (tmp_path / "host.yaml").write_text("platform: linux/amd64/v3")

    def chosen(*args: str) -> int:
        return digests(index).index(done("index", "select", where, *args))

    assert chosen("--host", str(tmp_path / "host.yaml")) == 1
    assert chosen("--host", str(tmp_path / "host.yaml"), "--as", "containerd") == 0
    assert chosen("--host", str(tmp_path / "host.yaml"), "--as", "docker") == 1
    assert chosen("--host", str(tmp_path / "host.yaml"), "--platform", "linux/386") == 2
    assert chosen("--platform", "linux/amd64/v4", "--as", "containerd") == 1
    assert chosen("--platform", "linux/amd64/v4", "--as", "podman") == 0
    assert run("index", "select", where, "--platform", "linux/arm64").code == 3


def test_preferences_of_a_file_and_of_the_command_line_add_up(layout: Layout, tmp_path: Path) -> None:
    index = variants(("linux/amd64", {}), ("linux/amd64", {"a.b": "1"}), ("linux/amd64", {"a.c": "1"}))
    where = layout(index)
    file = tmp_path / "preferences.yaml"
    file.write_text(
        "prefer: [{key: a.b, value: 1, weight: 3}]\nnamespaces: [{name: a, documentation: 'https://a.example/'}]"
    )

    def chosen(*args: str) -> int:
        options = ("--platform", "linux/amd64", "--preferences", file, *args)
        return digests(index).index(done("index", "select", where, *options))

    assert chosen() == 1
    assert chosen("--prefer", "a.c=1:4") == 2
    assert chosen("--prefer", "a.c=1:3") == 1
    assert chosen("--prefer", "a.c=1", "--order", "lexicographic") == 2
    assert chosen("--prefer", "a.c=*", "--require", "a.b") == 1


def test_the_explanation_is_a_table_and_json_has_the_same(layout: Layout, tmp_path: Path) -> None:
    index = variants(("linux/arm64", {}), ("linux/amd64", {}), ("linux/amd64", {"a.b": "1", "a.c": "2"}))
    where = layout(index)
    file = tmp_path / "preferences.yaml"
    file.write_text(
        "namespaces: [{name: a, documentation: 'https://a.example/'}, {name: z, documentation: 'https://z.example/'}]"
    )
    args = ("index", "select", where, "--platform", "linux/amd64", "--prefer", "a.b=1:3", "--prefer", "a.c:-1")
    lines = done(*args, "--preferences", file, "--explain").splitlines()
    assert lines[0].split() == ["#", "DIGEST", "PLATFORM", "PLACE", "SCORE", "WHY"]
    assert lines[1].split()[2:5] == ["linux/arm64", "-", "-"]
    assert lines[1].endswith("is for linux/arm64, not for linux/amd64")
    assert lines[2].split()[2:] == ["linux/amd64", "1", "0"]
    assert lines[3].split() == ["*", "3", digests(index)[2][7:19], "linux/amd64", "1", "2", "a.b", "+3,", "a.c", "-1"]
    assert lines[4:] == ["a: https://a.example/", digests(index)[2]]
    data = json.loads(done(*args, "--preferences", file, "--format", "json"))
    assert (data["chosen"], data["platform"], data["engine"], data["order"]) == (
        *(digests(index)[2], "linux/amd64", "containerd", "sum"),
    )
    assert data["index"] == str(index.index.digest)
    assert [item["fits"] for item in data["candidates"]] == [False, True, True]
    assert [item["score"] for item in data["candidates"]] == [None, 0, 2]
    assert data["candidates"][2]["preferred"] == [
        {"key": "a.b", "wanted": "1", "weight": 3},
        {"key": "a.c", "wanted": "*", "weight": -1},
    ]
    assert data["documentation"] == {"a": "https://a.example/"}


def test_what_nothing_meets_lists_every_candidate(layout: Layout) -> None:
    index = variants(("linux/arm64", {}), ("linux/amd64", {}), ("linux/amd64", {"a.b": "1"}))
    where = layout(index)
    outcome = run("index", "select", where, "--platform", "linux/amd64", "--require", "a.b=2")
    assert (outcome.code, outcome.out) == (3, "")
    first, second, third = digests(index)
    other = "is for linux/arm64, not for linux/amd64"
    assert outcome.err.splitlines() == [
        f"index '{where}' has nothing that fits for linux/amd64:",
        f"  1 (linux/arm64, {first[7:19]}): {other}; has no annotation 'a.b'; 2 is required",
        f"  2 (linux/amd64, {second[7:19]}): has no annotation 'a.b'; 2 is required",
        f"  3 (linux/amd64, {third[7:19]}): has a.b=1; 2 is required",
    ]
    told = run("index", "select", where, "--platform", "linux/amd64", "--require", "a.b=2", "--format", "json")
    assert told.code == 3
    assert json.loads(told.out)["chosen"] is None


def with_config(image: Image, **changes: object) -> Image:
    data = {**image.config.data, **changes}
    return Image(config=ImageConfig.from_json(data), layers=image.layers, name=image.name)


def test_configs_are_looked_at_when_asked_for(layout: Layout, tmp_path: Path) -> None:
    needs = {"Env": ["NVIDIA_REQUIRE_CUDA=cuda>=12.2 brand=tesla,driver>=470", "PATH=/bin"]}
    images = [
        with_config(made.image(1, 100, 1), architecture="s390x"),
        with_config(made.image(2, 100, 1), config=needs),
        made.image(3, 100, 1),
    ]
    index = Index.of(image.to_manifest().descriptor for image in images)
    children = {image.to_manifest().digest: image for image in images}
    found = ImageIndex(index=index, open_manifest=lambda entry: children[entry.digest], name="no platforms")
    where = layout(found)

    def chosen(cuda: str, *args: str) -> int:
        (tmp_path / "host.yaml").write_text(f"platform: linux/amd64\nfacts: {{cuda.driver.version: {cuda}}}")
        return digests(found).index(done("index", "select", where, "--host", tmp_path / "host.yaml", *args))

    assert chosen("12.4") == 0
    assert chosen("12.4", "--look-inside") == 1
    assert chosen("11.8", "--look-inside") == 2
    outcome = run("index", "select", where, "--platform", "linux/arm64", "--look-inside")
    assert outcome.code == 3
    assert "is for linux/s390x, not for linux/arm64" in outcome.err


def test_an_index_within_an_index_is_gone_into(layout: Layout) -> None:
    inner = variants(("linux/arm64", {}), ("linux/amd64", {"a.b": "1"}), ("linux/amd64", {}))
    entry = Descriptor(media_type=inner.index.media_type, digest=inner.index.digest, size=len(inner.index.raw))
    outer = ImageIndex(index=Index.of([entry]), open_manifest=lambda _: inner, name="outer")
    where = layout(outer)
    assert done("index", "select", where, "--platform", "linux/amd64") == digests(inner)[1]
    assert done("index", "select", where, "--platform", "linux/amd64", "--prefer", "a.b=1:-1") == digests(inner)[2]


def test_a_single_image_is_taken_as_it_is(tmp_path: Path) -> None:
    image = made.image(1, 100, 1).with_annotations({"a.b": "1"})
    made.write(f"oci:{tmp_path}/layout:1", image)
    where = f"oci:{tmp_path}/layout:1"
    assert done("index", "select", where, "--platform", "linux/s390x") == str(image.to_manifest().digest)
    assert done("index", "select", where, "--require", "a.b=1") == str(image.to_manifest().digest)
    assert run("index", "select", where, "--require", "a.b=2").code == 3


@pytest.mark.registry
def test_nothing_is_fetched_but_the_index(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from runtimeimg.stores.registry.client import RegistryClient

    where = f"docker://{registry}/selection/alone:1"
    made.write(where, variants(("linux/amd64", {}), ("linux/arm64", {})))
    asked: list[str] = []
    real = RegistryClient.attempt

    def attempt(self: RegistryClient, request: object, *args: object, **kwargs: object) -> object:
        asked.append(request.url)  # type: ignore[attr-defined]
        return real(self, request, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(RegistryClient, "attempt", attempt)
    done("index", "select", where, "--platform", "linux/arm64")
    assert asked == ["/v2/selection/alone/manifests/1"]


def test_a_large_index_is_refused_with_a_clear_error(tmp_path: Path) -> None:
    entries = [
        Descriptor(
            media_type=OCI_MANIFEST,
            digest=Digest.of(str(number).encode()),
            size=7,
            annotations={"com.example.text": "x" * 900},
        )
        for number in range(5000)
    ]
    raw = Index.of(entries)
    assert len(raw.raw) > 4 << 20
    blobs = tmp_path / "layout" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (blobs / raw.digest.encoded).write_bytes(raw.raw)
    (tmp_path / "layout/oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (tmp_path / "layout/index.json").write_bytes(Index.of([raw.descriptor]).raw)
    outcome = run("index", "select", f"oci:{tmp_path}/layout")
    assert (outcome.code, outcome.out) == (2, "")
    assert f"is {len(raw.raw)} bytes; 4194304 are allowed" in outcome.err
    assert done("index", "select", f"oci:{tmp_path}/layout", "--max-size", "8388608") == str(entries[0].digest)
