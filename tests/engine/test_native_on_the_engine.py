"""What the native builder makes is pulled and started by a real Engine, whatever its compression and platforms."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound
from started import started, wait_until_it_answers

from runtimeimg.image import Image
from tests.stores.made import index, read_image, write

SPEC = """\
apiVersion: runtimeimg.dev/v1
kind: Build
metadata: {name: page}
spec:
  builder: {image: "dir:builder"}
  runtime:
    base: {image: "docker://BASE"}
    directories: ["/busybox:/usr/local/bin/busybox", "/www:/srv/www"]
    workDir: /srv
    user: {name: nobody}
    expose: [{port: 8080, serviceName: http}]
    entrypoint: [busybox, httpd, -f, -p, "8080", -h, www]
"""

pytestmark = [pytest.mark.engine, pytest.mark.registry]


@pytest.fixture
def repository(registry: str) -> str:
    """A repository of the registry for this module; what is in it may stay."""
    return f"{registry}/runtimeimg-test-native/page"


@pytest.fixture
def build(tmp_path: Path, registry: str) -> Callable[..., str]:
    """Call it with a base and the arguments of `build`: builds natively and returns the digest."""
    (tmp_path / "builder" / "www").mkdir(parents=True)
    (tmp_path / "builder" / "www" / "index.html").write_text("composed")
    shutil.copy("/bin/busybox", tmp_path / "builder" / "busybox")

    def run(*arguments: str, base: str = f"{registry}/debian:bookworm-slim") -> str:
        (tmp_path / "build.yaml").write_text(SPEC.replace("BASE", base))
        command = [sys.executable, "-m", "runtimeimg", "build", "build.yaml", "--builder", "native", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[0]

    return run


@pytest.fixture
def answers(engine: docker.APIClient) -> Iterator[Callable[[str], str]]:
    """Call it with an image of the Engine: what the page says in a container of it. The image is gone afterwards."""
    seen: list[str] = []

    def ask(image: str) -> str:
        seen.append(image)
        with started(engine, image, 8080) as (container, address):
            return wait_until_it_answers(engine, container, f"{address}/")

    yield ask
    for image in seen:
        engine.remove_image(image, force=True)


@pytest.mark.parametrize("compression", ["gzip", "gzip:9", "none"])
def test_a_pushed_image_is_pulled_and_answers(
    build: Callable[..., str],
    answers: Callable[[str], str],
    engine: docker.APIClient,
    repository: str,
    compression: str,
) -> None:
    digest = build("-t", f"{repository}:1", "--push", "--compression", compression)
    engine.pull(repository, tag=digest)
    assert answers(f"{repository}@{digest}") == "composed"


def test_a_zstd_layer_is_pulled_where_the_engine_can(
    build: Callable[..., str], answers: Callable[[str], str], engine: docker.APIClient, repository: str
) -> None:
    """Engines before 23 cannot, and say so; their users copy the image with its layers packed otherwise."""
    digest = build("-t", f"{repository}:zstd", "--push", "--compression", "zstd")
    engine.pull(repository, tag=digest)
    if int(engine.version()["Version"].split(".")[0]) >= 23:
        assert answers(f"{repository}@{digest}") == "composed"
    else:
        with pytest.raises(ImageNotFound):
            engine.inspect_image(f"{repository}@{digest}")


def test_of_several_platforms_the_engine_takes_its_own(
    build: Callable[..., str],
    answers: Callable[[str], str],
    engine: docker.APIClient,
    registry: str,
    repository: str,
) -> None:
    debian = read_image(f"docker://{registry}/debian:bookworm-slim")
    base = f"{repository}-base:1"
    write(f"docker://{base}", index(debian, _for(debian, "arm64")))
    digest = build("-t", f"{repository}:all", "--push", "--platform", "all", base=base)
    engine.pull(repository, tag=digest)
    assert answers(f"{repository}@{digest}") == "composed"
    shown = subprocess.run(
        ["docker", "manifest", "inspect", "--insecure", f"{repository}@{digest}"],
        capture_output=True,
        text=True,
        check=True,
    )
    platforms = [entry["platform"]["architecture"] for entry in json.loads(shown.stdout)["manifests"]]
    assert platforms == ["amd64", "arm64"]


@pytest.mark.skopeo
def test_skopeo_brings_a_layout_into_the_engine(
    build: Callable[..., str], answers: Callable[[str], str], tmp_path: Path
) -> None:
    build("-o", f"oci:{tmp_path / 'out'}:1")
    image = "runtimeimg-test-native/loaded:1"
    subprocess.run(
        ["skopeo", "copy", "-q", f"oci:{tmp_path / 'out'}:1", f"docker-daemon:{image}"], check=True, capture_output=True
    )
    assert answers(image) == "composed"


def _for(image: Image, architecture: str) -> Image:
    return replace(image, config=image.config.evolve(architecture=architecture), manifest=None)
