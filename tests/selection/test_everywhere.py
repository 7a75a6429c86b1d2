"""The choice wherever a command takes an image."""

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import docker
import kubernetes_validate
import pytest
import yaml

from runtimeimg.image import Image, ImageIndex
from runtimeimg.oci import Descriptor, Digest, ImageConfig, Index
from runtimeimg.oci.mediatypes import OCI_LAYER
from tests.compose.images import file, folder, symlink, tar, write_layout
from tests.indexes.command import done, run
from tests.selection.test_select import digests, variants
from tests.stores import made

GPU = variants(
    ("linux/amd64", {}),
    ("linux/amd64", {"com.example.gpu": "a", "dev.runtimeimg.gpu.vendor": "nvidia", "dev.runtimeimg.cuda": "12.2"}),
    ("linux/amd64/v3", {"dev.runtimeimg.cpu.level": "v4"}),
    ("linux/arm64", {"com.example.gpu": "b"}),
)
ASKED = ("--prefer", "com.example.gpu", "--platform", "linux/amd64")


@pytest.fixture
def layout(tmp_path: Path) -> str:
    made.write(f"oci:{tmp_path}/layout:gpu", GPU)
    return f"oci:{tmp_path}/layout:gpu"


def test_copy_takes_the_image_that_is_chosen(layout: str, tmp_path: Path) -> None:
    assert done("copy", layout, f"oci:{tmp_path}/all:1") == GPU.index.digest
    assert done("copy", layout, f"oci:{tmp_path}/one:1", *ASKED) == digests(GPU)[1]
    both = "linux/amd64,linux/arm64"
    done("copy", layout, f"oci:{tmp_path}/two:1", "--platform", both, "--prefer", "com.example.gpu")
    found = made.read(f"oci:{tmp_path}/two:1")
    assert isinstance(found, ImageIndex)
    assert digests(found) == [digests(GPU)[1], digests(GPU)[3]]
    refused = run("copy", layout, f"oci:{tmp_path}/none:1", "--require", "com.example.gpu=c")
    assert refused.code == 3
    assert "has nothing that fits" in refused.err
    assert not (tmp_path / "none").exists()


def test_a_host_chooses_for_copy(layout: str, tmp_path: Path) -> None:
    host = tmp_path / "host.yaml"
    host.write_text("platform: linux/amd64\nfacts: {gpu.vendor: nvidia, cuda.driver.version: 12.4}")
    assert done("copy", layout, f"oci:{tmp_path}/one:1", "--host", host) == digests(GPU)[1]
    host.write_text("platform: linux/arm64")
    assert done("copy", layout, f"oci:{tmp_path}/one:2", "--host", host) == digests(GPU)[3]


def test_inspect_shows_the_image_that_is_chosen(layout: str) -> None:
    assert json.loads(done("inspect", layout, "--format", "json", *ASKED))["digest"] == digests(GPU)[1]
    assert (
        json.loads(done("inspect", layout, "--format", "json", "--platform", "linux/amd64"))["digest"]
        == digests(GPU)[0]
    )
    assert run("inspect", layout, "--require", "com.example.gpu=c").code == 3


def test_what_is_wrong_with_the_options_is_said_before_anything_is_opened(tmp_path: Path) -> None:
    for command in (("inspect", "oci:none:1"), ("copy", "oci:none:1", f"oci:{tmp_path}/x:1")):
        assert run(*command, "--prefer", "=x").code == 2
        assert run(*command, "--preferences", tmp_path / "none").code == 3


def test_a_single_image_is_refused_where_it_does_not_do(tmp_path: Path) -> None:
    made.write(f"oci:{tmp_path}/layout:1", made.image(1, 100, 1))
    where = f"oci:{tmp_path}/layout:1"
    assert run("inspect", where, "--prefer", "a.b=1").code == 0
    assert run("inspect", where, "--require", "a.b=1").code == 3


@pytest.mark.engine
@pytest.mark.registry
@pytest.mark.usefixtures("tidy")
def test_an_image_of_the_engine_meets_no_requirement(registry: str) -> None:
    name = f"{registry}/selection/single:1"
    made.write(f"docker-daemon:{name}", said("plain"))
    assert run("inspect", f"docker-daemon:{name}", "--prefer", "a.b=1").code == 0
    refused = run("inspect", f"docker-daemon:{name}", "--require", "a.b=1")
    assert refused.code == 3
    assert "has no annotation 'a.b'" in refused.err


@pytest.mark.registry
def test_a_pod_names_the_chosen_image_and_its_nodes(registry: str) -> None:
    where = f"docker://{registry}/selection/pod:1"
    made.write(where, GPU)
    outcome = run("export", where, "--to", "pod", "--no-context", "--node-affinity", *ASKED)
    assert outcome.code == 0, outcome.err
    assert "no label of nodes tells of dev.runtimeimg.cuda=12.2" in outcome.err
    document = yaml.safe_load(outcome.out)
    kubernetes_validate.validate(document, "1.34.0", strict=True)
    assert document["spec"]["containers"][0]["image"] == f"{registry}/selection/pod@{digests(GPU)[1]}"
    required = document["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    terms = [
        {item["key"]: item["values"] for item in term["matchExpressions"]} for term in required["nodeSelectorTerms"]
    ]
    common = {"kubernetes.io/os": ["linux"], "kubernetes.io/arch": ["amd64"]}
    assert terms == [
        {**common, f"feature.node.kubernetes.io/pci-{kind}_10de.present": ["true"]} for kind in ("0300", "0302", "0380")
    ]
    level = ("--require", "dev.runtimeimg.cpu.level", "--platform", "linux/amd64/v3")
    deployment = run("export", where, "--to", "deployment", "--no-context", "--node-affinity", *level)
    nodes = yaml.safe_load(deployment.out)["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    assert "feature.node.kubernetes.io/cpu-cpuid.AVX512F" in json.dumps(nodes)
    refused = run("export", where, "--to", "docker", "--no-context", "--node-affinity", *ASKED)
    assert refused.code == 2
    assert "node affinity" in refused.err


def said(text: str) -> Image:
    """An image that runs: busybox, which says a word, and a file that holds it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data, mode in (
            ("bin/busybox", Path("/bin/busybox").read_bytes(), 0o755),
            ("word", text.encode(), 0o644),
        ):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
    raw = buffer.getvalue()
    digest = Digest.of(raw)
    layer = made.MadeLayer(
        descriptor=Descriptor(media_type=OCI_LAYER, digest=digest, size=len(raw)), raw=raw, diff_id=digest
    )
    config = ImageConfig.from_json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": ["/bin/busybox", "cat", "/word"]},
            "rootfs": {"type": "layers", "diff_ids": [digest]},
            "history": [{"created_by": "a test"}],
        }
    )
    return Image(config=config, layers=(layer,), name=text)


def words(*kinds: tuple[str, dict[str, str]]) -> ImageIndex:
    """An index of such images for linux/amd64, with annotations."""
    images = [said(text) for text, _ in kinds]
    entries = [
        replace(image.to_manifest().descriptor, annotations=annotations, platform=image.platform)
        for image, (_, annotations) in zip(images, kinds, strict=True)
    ]
    children = {image.to_manifest().digest: image for image in images}
    return ImageIndex(index=Index.of(entries), open_manifest=lambda entry: children[entry.digest], name="words")


WORDS = words(("plain", {}), ("gpu", {"com.example.gpu": "a"}))
SPEC = """
apiVersion: runtimeimg.dev/v1
kind: Build
spec:
  builder: {image: "BUILDER"}
  output: {image: "OUTPUT"}
  runtime:
    base: {image: "BASE"}
    directories: ["/word:/copied/"]
    entrypoint: [/bin/busybox, cat, /word, /copied/word]
"""


def spec(folder: Path, base: str, builder: str) -> Path:
    path = folder / "build.yaml"
    text = SPEC.replace("BASE", base).replace("BUILDER", builder).replace("OUTPUT", "selection-built:1")
    path.write_text(text)
    return path


def test_a_native_build_takes_base_and_builder_image_that_are_chosen(tmp_path: Path) -> None:
    made.write(f"oci:{tmp_path}/layout:1", WORDS)
    path = spec(tmp_path, f"oci:{tmp_path}/layout:1", f"oci:{tmp_path}/layout:1")
    common = ("build", path, "--builder", "native", "--platform", "linux/amd64", "--no-cache", "-q")
    for options, chosen in (((), 0), (("--prefer", "com.example.gpu=a"), 1)):
        done(*common, "-o", f"oci:{tmp_path}/out:1", *options)
        image = made.read(f"oci:{tmp_path}/out:1")
        assert isinstance(image, Image)
        word = ("plain", "gpu")[chosen]
        assert image.layers[0].diff_id == said(word).layers[0].diff_id
        with image.layers[1].open() as reader:
            assert word.encode() in gzip.decompress(reader.read())
        assert image.config.labels["org.opencontainers.image.base.digest"] == digests(WORDS)[chosen]
    made.write(f"oci:{tmp_path}/layout:single", said("single"))
    spec(tmp_path, f"oci:{tmp_path}/layout:1", f"oci:{tmp_path}/layout:single")
    done(*common, "-o", f"oci:{tmp_path}/out:2", "--require", "com.example.gpu")
    found = made.read(f"oci:{tmp_path}/out:2")
    assert isinstance(found, Image)
    assert found.layers[0].diff_id == said("gpu").layers[0].diff_id
    refused = run(*common, "-o", f"oci:{tmp_path}/none:1", "--require", "com.example.gpu=c")
    assert refused.code == 3
    assert "com.example.gpu" in refused.err


@pytest.fixture
def tidy(engine: docker.APIClient, registry: str) -> Iterator[None]:
    """Remove the images that a test brings into the Engine and into buildah's storage."""
    yield
    for image in engine.images(f"{registry}/selection/*"):
        engine.remove_image(image["Id"], force=True)
    if shutil.which("buildah"):
        names = subprocess.run(
            ["buildah", "images", "--format", "{{.ID}} {{.Name}}"], capture_output=True, text=True, check=True
        ).stdout
        for line in names.splitlines():
            image_id, _, name = line.partition(" ")
            if name.startswith(f"{registry}/selection/"):
                subprocess.run(["buildah", "rmi", "-f", image_id], capture_output=True, check=True)


@pytest.mark.usefixtures("tidy")
@pytest.mark.engine
@pytest.mark.registry
@pytest.mark.parametrize("builder", ["docker", pytest.param("buildah", marks=pytest.mark.buildah)])
def test_builders_that_pull_by_themselves_take_what_is_chosen(builder: str, registry: str, tmp_path: Path) -> None:
    name = f"{registry}/selection/words:1"
    made.write(f"docker://{name}", WORDS)
    path = spec(tmp_path, name, f"docker://{name}")
    options = ("--platform", "linux/amd64", "--prefer", "com.example.gpu=a", "--no-cache", "-q")
    done("build", path, "--builder", builder, "-o", f"oci:{tmp_path}/out:1", *options)
    image = made.read(f"oci:{tmp_path}/out:1")
    assert isinstance(image, Image)
    assert image.layers[0].diff_id == said("gpu").layers[0].diff_id
    labels = image.config.labels
    assert labels["org.opencontainers.image.base.digest"] == digests(WORDS)[1]
    assert labels["org.opencontainers.image.base.name"] == name


@pytest.mark.usefixtures("tidy")
@pytest.mark.engine
@pytest.mark.registry
def test_run_starts_what_is_chosen(registry: str) -> None:
    name = f"{registry}/selection/run:1"
    made.write(f"docker://{name}", WORDS)
    for options, word in (((), "plain"), (("--prefer", "com.example.gpu"), "gpu")):
        image = name if options else f"docker://{name}"
        command = [sys.executable, "-m", "runtimeimg", "run", image, "--no-context", "-q", "--no-tty", *options]
        found = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert (found.returncode, found.stdout) == (0, word), found.stderr


def broken() -> ImageIndex:
    """An index of an image that starts, and of one for a card whose program is not in it."""
    index = words(("plain", {}), ("gpu", {"com.example.gpu": "a"}))
    plain, gpu = (index.open_manifest(entry) for entry in index.index.manifests)
    assert isinstance(plain, Image)
    assert isinstance(gpu, Image)
    bad = replace(gpu, config=gpu.config.with_config(Entrypoint=["/nowhere"]))
    entry = replace(
        bad.to_manifest().descriptor, annotations=index.index.manifests[1].annotations, platform=gpu.platform
    )
    children = {plain.to_manifest().digest: plain, entry.digest: bad}
    both = Index.of([index.index.manifests[0], entry])
    return ImageIndex(index=both, open_manifest=lambda item: children[item.digest], name="broken")


@pytest.mark.parametrize("how", ["prefer", "require", "preferences", "host"])
def test_what_looks_into_an_image_looks_into_the_one_that_is_chosen(how: str, tmp_path: Path) -> None:
    where, index = f"oci:{tmp_path}/layout:1", broken()
    made.write(where, index)
    found = [index.open_manifest(entry) for entry in index.index.manifests]
    configs = [image.config.digest for image in found if isinstance(image, Image)]
    (tmp_path / "preferences.yaml").write_text("prefer: [{key: com.example.gpu, value: a}]")
    (tmp_path / "host.yaml").write_text("platform: linux/amd64\nfacts: {card: a}")
    (tmp_path / "mapping.yaml").write_text("rules: [{annotation: com.example.gpu, fact: card, weight: 1}]")
    options: tuple[object, ...] = {
        "prefer": ("--prefer", "com.example.gpu=a"),
        "require": ("--require", "com.example.gpu=a"),
        "preferences": ("--preferences", tmp_path / "preferences.yaml"),
        "host": ("--host", tmp_path / "host.yaml", "--mapping", tmp_path / "mapping.yaml"),
    }[how]
    for asked, number in (((), 0), (options, 1)):
        sizes = json.loads(done("size", where, "--format", "json", *asked))["files"]
        assert sizes["bytes"] == Path("/bin/busybox").stat().st_size + len(("plain", "gpu")[number])
        assert run("check", where, *asked).code == (0, 10)[number]
        told = json.loads(done("sbom", where, *asked))["metadata"]["component"]
        assert told["version"] == configs[number]
        told = json.loads(done("explain", where, "/word", "--format", "json", *asked))
        assert told["layer"]["digest"] == said(("plain", "gpu")[number]).layers[0].diff_id
        done("bundle", "--config-only", where, tmp_path / f"bundle-{number}", *asked)
        config = json.loads((tmp_path / f"bundle-{number}" / "config.json").read_text())
        assert config["process"]["args"][0] == ("/bin/busybox", "/nowhere")[number]
    for command in (("size",), ("check",), ("sbom",), ("explain", "/word"), ("bundle", tmp_path / "none")):
        name, *more = command
        assert run(name, where, *more, "--require", "com.example.gpu=c").code == 3, name


@pytest.mark.runc
def test_debug_opens_the_image_that_is_chosen(tmp_path: Path) -> None:
    where = f"oci:{tmp_path}/layout:1"
    made.write(where, WORDS)
    shell = [folder("bin"), file("bin/busybox", Path("/bin/busybox").read_bytes(), 0o755), symlink("bin/sh", "busybox")]
    write_layout(tmp_path / "shell", {"1": ([tar(shell)], {})})
    for options, word in (((), "plain"), (("--prefer", "com.example.gpu"), "gpu")):
        argv = ["debug", where, "--runtime", "runc", "--image", f"oci:{tmp_path}/shell:1", *options]
        command = [sys.executable, "-m", "runtimeimg", *argv, "--", "busybox", "cat", "/word"]
        env = {**os.environ, "RUNTIMEIMG_STATE": str(tmp_path / "state")}
        found = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=env)
        assert (found.returncode, found.stdout) == (0, word), found.stderr
