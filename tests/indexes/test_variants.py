"""`variants:` of a spec, and several specs: one build, one index."""

import io
import json
import re
import tarfile
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtimeimg.errors import UsageError
from runtimeimg.image import Image, ImageIndex
from runtimeimg.plan import Facts
from runtimeimg.planned import planned
from runtimeimg.step.inputs import Inputs
from runtimeimg.step.planning import prepare
from runtimeimg.stores import StoreOptions
from tests.indexes.command import done, run
from tests.indexes.conftest import image
from tests.stores import made

SPEC = """\
apiVersion: runtimeimg.dev/v1
kind: Build
metadata: {name: web}
spec:
  builder: {image: "dir:FOLDER/files"}
  output: {image: web:1}
  runtime:
    base: {image: "oci:FOLDER/base:1"}
    env: {MODE: plain, KEPT: "1"}
    directories: [/plain:/app/plain]
    annotations: {org.example.team: web}
    entrypoint: [/app/run]
  variants:
    - name: plain
    - name: gpu
      annotations: {com.example.gpu: a100}
      runtime:
        env: {MODE: gpu}
        paths: [/special:/app/special]
        annotations: {org.example.kind: gpu}
    - name: fast
      platform: linux/amd64/v3
      builder: {image: "dir:FOLDER/others"}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    made.write(f"oci:{tmp_path / 'base'}:1", made.index(image(1), image(2, "linux/arm64/v8")))
    for name in ("files/plain", "files/special", "others/plain"):
        path = tmp_path / name / "content"
        path.parent.mkdir(parents=True)
        path.write_text(name)
    path = tmp_path / "build.yaml"
    path.write_text(SPEC.replace("FOLDER", str(tmp_path)))
    return path


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Build with the native builder into a layout, and return where that is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    where = f"oci:{tmp_path / 'out'}:1"

    def work(*args: object) -> str:
        done("build", "--builder", "native", "-o", where, *args)
        return where

    return work


def entries(where: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(done("index", "show", where, "--format", "json"))["manifests"]
    return found


def children(where: str) -> list[Image]:
    found = made.read(where)
    assert isinstance(found, ImageIndex)
    items = [found.open_manifest(entry) for entry in found.index.manifests]
    assert all(isinstance(item, Image) for item in items)
    return items  # type: ignore[return-value]


def test_each_variant_is_an_entry_in_the_order_of_the_spec(
    spec: Path, build: Callable[..., str], tmp_path: Path
) -> None:
    where = build(spec, "--metadata-file", tmp_path / "meta.json")
    told = entries(where)
    amd64 = {"architecture": "amd64", "os": "linux"}
    assert [item["platform"] for item in told] == [amd64, amd64, {**amd64, "variant": "v3"}]
    assert [item.get("annotations") for item in told] == [None, {"com.example.gpu": "a100"}, None]
    plain, gpu, fast = children(where)
    assert [item.config.env["MODE"] for item in (plain, gpu, fast)] == ["plain", "gpu", "plain"]
    assert {item.config.env["KEPT"] for item in (plain, gpu, fast)} == {"1"}
    assert fast.config.data["variant"] == "v3"
    assert gpu.annotations["org.example.kind"] == "gpu"
    assert "org.example.kind" not in plain.annotations
    found = made.read(where)
    assert isinstance(found, ImageIndex)
    assert found.index.annotations == {"org.example.team": "web"}
    assert len({layer.diff_id for item in (plain, gpu, fast) for layer in item.layers}) == 4
    images = json.loads((tmp_path / "meta.json").read_text())["images"]
    assert [item["variant"] for item in images] == ["plain", "gpu", "fast"]


def test_the_files_are_those_of_the_variant(spec: Path, build: Callable[..., str]) -> None:
    names = []
    for item in children(build(spec)):
        with item.layers[-1].open() as reader, tarfile.open(fileobj=io.BytesIO(reader.read())) as archive:
            files = {entry.name: archive.extractfile(entry) for entry in archive if entry.isfile()}
            names.append({name: file.read().decode() for name, file in files.items() if file is not None})
    assert names == [
        {"app/plain/content": "files/plain"},
        {"app/special/content": "files/special"},
        {"app/plain/content": "others/plain"},
    ]


def test_one_variant_is_an_image_and_several_an_index(spec: Path, build: Callable[..., str]) -> None:
    single = made.read(build(spec, "--variant", "gpu"))
    assert isinstance(single, Image)
    assert single.config.env["MODE"] == "gpu"
    assert len(entries(build(spec, "--variant", "gpu", "--variant", "fast"))) == 2
    refused = run("build", spec, "--variant", "gpus")
    assert (refused.code, "known are fast, gpu, plain" in refused.err) == (2, True)


def test_a_level_stands_on_the_next_one_below_that_there_is(
    spec: Path, build: Callable[..., str], tmp_path: Path
) -> None:
    levels = made.index(image(5), image(6, "linux/amd64/v2"), image(7, "linux/amd64/v4"), attested=False)
    made.write(f"oci:{tmp_path / 'base'}:1", levels)
    bases = [item.layers[0].diff_id for item in children(build(spec))]
    assert bases == [image(seed).layers[0].diff_id for seed in (5, 5, 6)]


def test_each_platform_of_the_build_where_the_variant_names_none(spec: Path, build: Callable[..., str]) -> None:
    told = entries(build(spec, "--platform", "linux/amd64,linux/arm64"))
    assert [(item["platform"]["architecture"], item["platform"].get("variant")) for item in told] == [
        *[("amd64", None), ("arm64", "v8")] * 2,
        ("amd64", "v3"),
    ]


def test_several_specs_make_one_index(spec: Path, build: Callable[..., str], tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(spec.read_text().partition("  variants:")[0].replace("MODE: plain", "MODE: other"))
    where = build(spec, other)
    assert [item.config.env["MODE"] for item in children(where)] == ["plain", "gpu", "plain", "other"]
    other.write_text(other.read_text().replace("web:1", "other:1"))
    refused = run("build", "--builder", "native", spec, other)
    assert refused.code == 2
    assert "the specs name different images" in refused.err
    assert len(children(build(spec, other, "-t", "both:1"))) == 4


def test_the_same_build_gives_the_same_index(spec: Path, build: Callable[..., str]) -> None:
    first = made.read(build(spec))
    second = made.read(build(spec, "--no-cache"))
    assert isinstance(first, ImageIndex)
    assert isinstance(second, ImageIndex)
    assert first.index.raw == second.index.raw


def test_a_dry_run_shows_every_variant(spec: Path) -> None:
    text = re.sub(r'"(oci|dir):[^"]*"', "debian:bookworm-slim", spec.read_text())
    spec.write_text(text)
    shown = run("build", "--builder", "native", "--dry-run", "-o", "oci:x:1", spec)
    assert shown.code == 0
    assert [line for line in shown.out.splitlines() if line.startswith("# variant")] == [
        "# variant plain",
        "# variant gpu",
        "# variant fast",
    ]
    assert "ENV MODE=gpu\n" in done("render", "--variant", "gpu", spec)


def test_places_are_those_of_the_variant() -> None:
    loaded = planned(SPEC.encode(), "build.yaml", Facts(variant="gpu"), None)
    lines = SPEC.splitlines()
    for path, own, text in (
        ("spec.runtime.env.MODE", "spec.variants[1].runtime.env.MODE", "        env: {MODE: gpu}"),
        ("spec.runtime.env.KEPT", "spec.runtime.env.KEPT", '    env: {MODE: plain, KEPT: "1"}'),
        (
            "spec.runtime.directories[0]",
            "spec.variants[1].runtime.directories[0]",
            "        paths: [/special:/app/special]",
        ),
        ("spec.builder.image", "spec.builder.image", '  builder: {image: "dir:FOLDER/files"}'),
    ):  # fmt: skip
        _, line, _, found = loaded.place(path).split(":", 3)
        assert (found.strip(), lines[int(line) - 1]) == (own, text)


def test_what_does_not_fit_together_names_the_variant() -> None:
    text = SPEC.replace("        env: {MODE: gpu}", "        base: {image: scratch}\n        run: [make]")
    with pytest.raises(UsageError, match=r"variant 'gpu': spec\.runtime\.run: the base 'scratch' is empty"):
        planned(text.encode(), "build.yaml", Facts(variant="gpu"), None)


def test_a_plan_that_is_kept_knows_its_variants(tmp_path: Path) -> None:
    from runtimeimg.planned import decode, encode

    plan = planned(SPEC.encode(), "build.yaml", Facts(), None).plan
    assert [item.name for item in plan.variants] == ["plain", "gpu", "fast"]
    assert decode(encode(plan)) == plan


CASES = {
    "unknown key": ("- {name: a, platforms: [x]}", "unknown key 'platforms'; did you mean 'platform'?"),
    "unknown key of runtime": ("- {name: a, runtime: {entrypont: [x]}}", "did you mean 'entrypoint'?"),
    "no name": ("- {annotations: {a: b}}", "is missing; write 'name: gpu' or the like"),
    "name twice": ("[{name: a}, {name: a, annotations: {x: y}}]", "variant 'a' is there twice"),
    "nobody could choose": ("[{name: a}, {name: b}]", "variant 'b' has the platform and annotations of 'a'"),
    "same platform in other words": (
        "[{name: a, platform: amd64}, {name: b, platform: linux/amd64}]",
        "would never be chosen",
    ),
    "bad platform of four": ("- {name: a, platform: a/b/c/d}", "is not of the form os/architecture[/variant]"),
    "empty": ("", "is empty"),
    "empty runtime": ("- {name: a, runtime: }", "is empty"),
    "both names": ("- {name: a, runtime: {cmd: [x], args: [y]}}", "'args' is another name of 'cmd'"),
    "no list": ("{name: a}", "a list"),
    "annotation that is no text": ("- {name: a, annotations: {a: 1}}", "put it in quotes: '1'"),
    "bad base": ("- {name: a, runtime: {base: {image: A B}}}", "is not valid"),
}


@pytest.mark.parametrize(("variants", "said"), CASES.values(), ids=CASES)
def test_bad_variants(variants: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "build.yaml"
    head = SPEC.partition("  variants:")[0]
    path.write_text(f"{head}  variants:\n{textwrap.indent(variants, '    ')}\n")
    refused = run("build", "--builder", "native", "-o", "oci:x:1", path)
    assert refused.code == 2
    assert said in refused.err
    assert f"{path}:" in refused.err


def test_a_step_does_not_build_variants(tmp_path: Path) -> None:
    inputs = Inputs(spec_text=SPEC, output_image="web:1")
    with pytest.raises(UsageError, match="a step makes one image, not an index of variants"):
        prepare(inputs, StoreOptions(), scratch=tmp_path)


@pytest.mark.engine
@pytest.mark.buildah
@pytest.mark.parametrize("builder", ["docker", "buildah"])
def test_builders_that_know_no_levels_build_them(builder: str, tmp_path: Path) -> None:
    path = tmp_path / "build.yaml"
    head = re.sub(r"  builder:.*\n", "", SPEC.partition("  variants:")[0])
    head = re.sub(r'"oci:.*?"', "scratch", head).replace("[/plain:", "[$(workspace)/build.yaml:")
    path.write_text(f"{head}  variants:\n  - {{name: plain}}\n  - {{name: fast, platform: linux/amd64/v3}}\n")
    where = f"oci:{tmp_path / 'out'}:1"
    done("build", "--builder", builder, "--progress", "quiet", "-o", where, path)
    plain, fast = entries(where)
    assert "variant" not in plain["platform"]
    assert fast["platform"]["variant"] == "v3"
    first, second = children(where)
    assert [item.config.data.get("variant") for item in (first, second)] == [None, "v3"]
    assert first.config.strings("Entrypoint") == ("/app/run",)
