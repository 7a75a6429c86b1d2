"""Indexes of other tools are read, and ours are read by other tools."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import docker
import pytest

from runtimeimg.image import ImageIndex
from runtimeimg.oci.mediatypes import DOCKER_INDEX, OCI_INDEX, OCI_MANIFEST
from tests.indexes.command import done
from tests.indexes.conftest import image
from tests.published import validate
from tests.stores import made

pytestmark = pytest.mark.registry
Tool = Callable[..., str]


@pytest.fixture(scope="module")
def tool(own_registry: str, tmp_path_factory: pytest.TempPathFactory) -> Tool:
    """Run a program of somebody else's, with a home of its own, and return what it prints."""
    home = tmp_path_factory.mktemp("home")
    environ = {
        **os.environ,
        "DOCKER_CONFIG": str(home / "docker"),
        "REGISTRY_AUTH_FILE": str(home / "auth.json"),
        "CONTAINERS_REGISTRIES_CONF": str(home / "registries.conf"),
    }
    (home / "auth.json").write_text("{}")
    (home / "registries.conf").write_text(f'[[registry]]\nlocation = "{own_registry}"\ninsecure = true\n')
    storage = ("--root", str(home / "root"), "--runroot", str(home / "run"), "--storage-driver", "vfs")

    def call(program: str, *args: object) -> str:
        argv = [program, *(storage if program == "buildah" else ()), *map(str, args)]
        ended = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False, env=environ)
        assert ended.returncode == 0, f"{argv}: {ended.stderr}"
        return ended.stdout

    return call


@pytest.fixture(scope="module")
def base(own_registry: str) -> str:
    """A repository with images: plain, gpu, arm and win, and old of Docker's media types."""
    name = f"{own_registry}/interop/images"
    images = {
        "plain": image(1),
        "gpu": image(2),
        "arm": image(3, "linux/arm64/v8"),
        "win": image(4, "windows(10.0.20348.1)/amd64"),
        "old": made.docker_schema2(image(5)),
        "oldarm": made.docker_schema2(image(6, "linux/arm64")),
    }
    for tag, item in images.items():
        made.write(f"docker://{name}:{tag}", item)
    return name


@pytest.fixture(scope="module")
def ours(base: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An index with everything that we write."""
    name = base.replace("images", "index:1")
    done(
        "index", "create", name, "--annotation", "org.example.release=1", "--image", f"{base}:plain",
        "--image", f"{base}:gpu,platform=linux/amd64/v3,annotation=com.example.gpu=a100", "--image", f"{base}:arm",
        "--image", f"{base}:win", "--image", f"{base}:old,annotation=com.example.old=yes",
    )  # fmt: skip
    return name


def digests(name: str) -> list[str]:
    return [item["digest"] for item in json.loads(done("index", "show", name, "--format", "json"))["manifests"]]


@pytest.mark.reference
def test_ours_fits_the_published_schema(ours: str, reference: Path) -> None:
    validate(reference, "image-index-schema.json", json.loads(done("index", "show", ours, "--format", "raw")))


@pytest.mark.skopeo
def test_skopeo_reads_and_copies_ours(ours: str, tool: Tool, tmp_path: Path) -> None:
    raw = tool("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{ours}")
    assert [item["digest"] for item in json.loads(raw)["manifests"]] == digests(ours)
    tool("skopeo", "copy", "--all", "--src-tls-verify=false", f"docker://{ours}", f"oci:{tmp_path / 'copy'}:1")
    copied = made.read(f"oci:{tmp_path / 'copy'}:1")
    assert isinstance(copied, ImageIndex)
    assert [str(item.digest) for item in copied.index.manifests] == digests(ours)
    assert copied.index.manifests[1].annotations == {"com.example.gpu": "a100"}
    shown = json.loads(tool("skopeo", "inspect", "--tls-verify=false", f"docker://{ours}"))
    assert shown["Layers"] == [str(layer.descriptor.digest) for layer in image(1).layers]


@pytest.mark.engine
def test_docker_reads_ours(ours: str, tool: Tool) -> None:
    shown = json.loads(tool("docker", "manifest", "inspect", "--insecure", ours))
    assert [item["digest"] for item in shown["manifests"]] == digests(ours)
    assert shown["manifests"][1]["platform"]["variant"] == "v3"
    assert shown["manifests"][3]["platform"]["os.version"] == "10.0.20348.1"


@pytest.mark.buildah
def test_buildah_reads_ours(ours: str, tool: Tool) -> None:
    tool("buildah", "manifest", "create", "--all", "--tls-verify=false", "ours", f"docker://{ours}")
    shown = json.loads(tool("buildah", "manifest", "inspect", "ours"))
    assert [item["digest"] for item in shown["manifests"]] == digests(ours)
    (pulled,) = tool("buildah", "pull", f"docker://{ours}").split()
    assert pulled == image(1).config.digest.encoded


@pytest.mark.umoci
def test_umoci_reads_ours(ours: str, base: str, tool: Tool, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    done("copy", f"docker://{ours}", f"oci:{layout}:all")
    done("index", "create", f"oci:{layout}:one", "--image", f"{base}:gpu,annotation=com.example.gpu=a100")
    assert set(tool("umoci", "ls", "--layout", layout).split()) == {"all", "one"}
    history = json.loads(tool("umoci", "stat", "--image", f"{layout}:one", "--json"))["history"]
    assert [item["layer"]["digest"] for item in history if item["layer"]] == [
        str(layer.descriptor.digest) for layer in image(2).layers
    ]
    tool("umoci", "unpack", "--rootless", "--image", f"{layout}:one", tmp_path / "bundle")
    assert (tmp_path / "bundle" / "rootfs" / "file200").stat().st_size == 500
    # Of several it takes none by itself: it says that the name is ambiguous.
    several = subprocess.run(
        ["umoci", "stat", "--image", f"{layout}:all"], capture_output=True, text=True, timeout=60, check=False
    )
    assert "ambiguous" in several.stderr


WRITTEN = """
apiVersion: runtimeimg.dev/v1
kind: Build
spec:
  output: {image: "NAME"}
  runtime:
    base: {image: "BASE"}
    env: {MODE: plain}
    directories: ["$(workspace)/app:/app"]
    annotations: {org.example.team: web}
    entrypoint: [/app/run]
  variants:
    - name: plain
    - name: gpu
      annotations: {com.example.gpu: a100}
      runtime: {env: {MODE: gpu}}
    - name: fast
      platform: linux/amd64/v3
"""


@pytest.fixture(scope="module", params=["built", "built of several", "edited"])
def written(request: pytest.FixtureRequest, base: str, ours: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An index of each other way that we write one."""
    name = base.replace("images", f"{request.param.replace(' ', '-')}:1")
    if request.param == "edited":
        done("index", "remove", ours, "4", "-o", name)
        done("index", "annotate", name, "--entry", "2", "com.example.more=yes", "--remove", "com.example.gpu")
        done("index", "add", name, "--at", "1", "--image", f"{base}:win,annotation=com.example.new=yes")
        return name
    folder = tmp_path_factory.mktemp("written")
    (folder / "app").mkdir()
    (folder / "app" / "run").write_text("run")
    text = WRITTEN.replace("NAME", name).replace("BASE", f"docker://{base}:plain")
    (folder / "one.yaml").write_text(text)
    (folder / "two.yaml").write_text(text.partition("  variants")[0].replace("plain}", "other}"))
    specs = [folder / "one.yaml", *([folder / "two.yaml"] if "several" in request.param else [])]
    more = () if "several" in request.param else ("--sbom", "cyclonedx")
    options = ("--builder", "native", "--platform", "linux/amd64", "--no-cache", "-q", *more)
    done("build", *specs, *options, "-t", name, "--push")
    return name


@pytest.mark.skopeo
@pytest.mark.buildah
@pytest.mark.umoci
@pytest.mark.engine
@pytest.mark.reference
def test_others_read_every_index_that_is_written(written: str, tool: Tool, tmp_path: Path, reference: Path) -> None:
    """Nothing in it is for an unknown platform, and each of its images is taken apart by each of the programs."""
    document = json.loads(done("index", "show", written, "--format", "raw"))
    validate(reference, "image-index-schema.json", document)
    listed = document["manifests"]
    assert len(listed) >= 3
    assert all(item["platform"]["os"] in {"linux", "windows"} for item in listed)
    names = digests(written)
    shown = json.loads(tool("docker", "manifest", "inspect", "--insecure", written))["manifests"]
    assert [item["digest"] for item in shown] == names
    raw = tool("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{written}")
    assert json.loads(raw) == document
    made_of = f"made-{written.rpartition('/')[2]}"
    tool("buildah", "manifest", "create", "--all", "--tls-verify=false", made_of, f"docker://{written}")
    assert [
        item["digest"] for item in json.loads(tool("buildah", "manifest", "inspect", made_of))["manifests"]
    ] == names
    layout = tmp_path / "layout"
    tool("skopeo", "copy", "--all", "--src-tls-verify=false", f"docker://{written}", f"oci:{layout}:all")
    for number, digest in enumerate(names):
        done("copy", f"docker://{written.rpartition(':')[0]}@{digest}", f"oci:{layout}:{number}")
        history = json.loads(tool("umoci", "stat", "--image", f"{layout}:{number}", "--json"))["history"]
        assert [item for item in history if item["layer"]], digest
    assert set(tool("umoci", "ls", "--layout", layout).split()) == {"all", *map(str, range(len(names)))}


@pytest.mark.engine
@pytest.mark.skopeo
@pytest.mark.buildah
def test_a_list_of_docker_s_is_read_and_told_in_oci_types(base: str, tool: Tool, tmp_path: Path) -> None:
    name = base.replace("images", "images:list")
    tool("docker", "manifest", "create", "--insecure", name, f"{base}:old", f"{base}:oldarm")
    tool("docker", "manifest", "annotate", name, f"{base}:oldarm", "--arch", "arm64", "--variant", "v8")
    tool("docker", "manifest", "push", "--insecure", name)
    shown = json.loads(done("index", "show", name, "--format", "json"))
    assert shown["mediaType"] == DOCKER_INDEX
    assert shown["manifests"][1]["platform"] == {"architecture": "arm64", "os": "linux", "variant": "v8"}
    # Annotating it leaves the images as they are; a new one of them is told in one family of media types.
    done("index", "annotate", name, "--entry", "arm64", "k=v", "-o", f"{name}-annotated")
    assert digests(f"{name}-annotated") == [item["digest"] for item in shown["manifests"]]
    tool("skopeo", "copy", "--all", "--src-tls-verify=false", f"docker://{name}-annotated", f"dir:{tmp_path / 'copy'}")
    assert len(json.loads(tool("docker", "manifest", "inspect", "--insecure", f"{name}-annotated"))["manifests"]) == 2
    pulled = tool("buildah", "pull", "--quiet", "--tls-verify=false", f"docker://{name}-annotated")
    assert pulled.strip() == image(5).config.digest.encoded
    done("index", "add", name, "--image", f"{base}:win", "-o", f"{name}-added")
    added = json.loads(done("index", "show", f"{name}-added", "--format", "json"))
    assert added["mediaType"] == OCI_INDEX
    assert [item["mediaType"] for item in added["manifests"]] == [OCI_MANIFEST] * 3
    assert [item["platform"]["architecture"] for item in added["manifests"]] == ["amd64", "arm64", "amd64"]


@pytest.mark.buildah
def test_an_index_of_buildah_s_is_read(base: str, tool: Tool) -> None:
    name = base.replace("images", "images:buildah")
    tool("buildah", "manifest", "create", "made")
    tool("buildah", "manifest", "add", "--tls-verify=false", "made", f"docker://{base}:plain")
    tool(
        "buildah", "manifest", "add", "--tls-verify=false", "--annotation", "com.example.gpu=a100", "made",
        f"docker://{base}:gpu",
    )  # fmt: skip
    tool(
        "buildah", "manifest", "push", "--all", "--tls-verify=false", "--format", "v2s2", "made", f"docker://{name}-v2"
    )
    tool("buildah", "manifest", "push", "--all", "--tls-verify=false", "made", f"docker://{name}")
    shown = json.loads(done("index", "show", name, "--format", "json"))["manifests"]
    assert [item.get("annotations") for item in shown] == [None, {"com.example.gpu": "a100"}]
    assert len(digests(f"{name}-v2")) == 2


def test_attestations_of_buildkit_are_passed_over(base: str) -> None:
    name = base.replace("images", "images:attested")
    attested = made.index(image(1), image(3, "linux/arm64/v8"))
    made.write(f"docker://{name}", attested)
    assert "attestation" not in done("index", "create", f"{name}-flat", "--flatten", "--image", name)
    told = json.loads(done("index", "show", f"{name}-flat", "--format", "json"))["manifests"]
    assert [item["platform"]["os"] for item in told] == ["linux", "linux"]
    # What is not changed stays: an edit keeps them with their images.
    done("index", "annotate", name, "--entry", "1", "k=v", "-o", f"{name}-edited")
    assert len(digests(f"{name}-edited")) == 3


def test_an_index_inside_an_index_is_read(base: str) -> None:
    name = base.replace("images", "images:nested")
    inner = made.index(image(1), image(3, "linux/arm64/v8"), attested=False)
    made.write(f"docker://{name}-inner", inner)
    done("index", "create", name, "--image", f"{name}-inner", "--image", f"{base}:win")
    assert digests(name)[0] == inner.index.digest
    done("index", "create", f"{name}-flat", "--flatten", "--image", name)
    assert digests(f"{name}-flat") == [*(str(item.digest) for item in inner.index.manifests), digests(name)[1]]


@pytest.mark.engine
def test_an_image_of_the_engine_s_is_listed(base: str, engine: docker.APIClient) -> None:
    name = "runtimeimg-indexes:1"
    try:
        done("copy", f"docker://{base}:plain", f"docker-daemon:{name}")
        done("index", "create", f"{base}:engine", "--image", f"docker-daemon:{name},annotation=k=v")
    finally:
        engine.remove_image(name, force=True)
    found = made.read_image(f"docker://{base}:engine")
    assert [layer.diff_id for layer in found.layers] == [layer.diff_id for layer in image(1).layers]
    assert {layer.descriptor.media_type.rpartition("+")[2] for layer in found.layers} == {"gzip"}
