"""Images of other builders keep every layer and file when they are stamped, copied and built from.

RUNTIMEIMG_IMAGES says how many (10 by default, 50 in the long form): the classic builder, BuildKit with attestations,
buildah, docker load and images of two platforms take turns.
"""

import itertools
import os
import random
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from onengines import BASE, KIND, Cli, archive, files_of, remove

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.buildah]

COUNT = int(os.environ.get("RUNTIMEIMG_IMAGES", "10"))
OF_THE_ENGINE = {".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab", "run/.containerenv"}
"""What engines put into any container."""


def context(folder: Path, seed: int) -> Path:
    """A build context of files, links and folders, different for each seed."""
    generator = random.Random(seed)
    folder.mkdir()
    lines = [f"FROM {BASE}", f"LABEL seed={seed}", f"ENV SEED={seed}"]
    for number in range(generator.randint(1, 4)):
        part = folder / f"part{number}"
        (part / "deep" / "deeper").mkdir(parents=True)
        for index in range(generator.randint(1, 6)):
            (part / "deep" / f"file {index}").write_bytes(generator.randbytes(generator.randint(0, 40_000)))
            (part / "deep" / f"file {index}").chmod(generator.choice([0o600, 0o644, 0o755]))
        (part / "link").symlink_to("deep/file 0")
        lines.append(f"COPY part{number} /data/{number if generator.random() < 0.7 else 0}")
    lines.append(f'CMD ["cat", "/data/{seed}"]')
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    return folder


def ran(*argv: object, **environ: str) -> str:
    done = subprocess.run(
        [str(word) for word in argv], capture_output=True, text=True, check=False, env={**os.environ, **environ}
    )
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def classic(folder: Path, name: str) -> None:
    ran("docker", "build", "--quiet", "--tag", name, folder, DOCKER_BUILDKIT="0")


def buildkit(folder: Path, name: str) -> None:
    """With attestations where the store keeps them; the docker command of Debian sid has buildx."""
    if KIND == "docker":
        ran("/usr/bin/docker", "build", "--quiet", "--tag", name, folder, DOCKER_BUILDKIT="1")
        return
    roots = Path(__file__).parents[2] / "scripts" / "roots"
    attested = ["--provenance=mode=max"] if KIND == "docker-containerd" else []
    ran(roots, "enter", "sid", "docker", "build", "--quiet", *attested, "--tag", name, folder)


def buildah(folder: Path, name: str) -> None:
    """Built beside the Engine and pushed into it."""
    with tempfile.TemporaryDirectory() as base:
        ran("docker", "save", "--output", f"{base}/base.tar", BASE)
        store = ["--root", f"{base}/root", "--runroot", f"{base}/run", "--storage-driver", "vfs"]
        image = ran("buildah", *store, "pull", "--quiet", f"docker-archive:{base}/base.tar").strip()
        text = (folder / "Dockerfile").read_text().replace(f"FROM {BASE}", f"FROM {image}")
        (folder / "Dockerfile").write_text(text)
        ran("buildah", *store, "bud", "--quiet", "--isolation", "chroot", "--tag", "made", folder)
        ran("buildah", *store, "push", "--quiet", "made", f"docker-archive:{base}/made.tar:docker.io/{name}")
        ran("docker", "load", "--quiet", "--input", f"{base}/made.tar")


def loaded(folder: Path, name: str) -> None:
    """Built, saved, removed and loaded again."""
    classic(folder, name)
    saved = folder.with_suffix(".tar")
    ran("docker", "save", "--output", saved, name)
    ran("docker", "rmi", "--force", name)
    ran("docker", "load", "--quiet", "--input", saved)


def multi_platform(folder: Path, name: str) -> None:
    """For two platforms where the store keeps both, else for this machine's."""
    if KIND != "docker-containerd":
        classic(folder, name)
        return
    (folder / "Dockerfile").write_text((folder / "Dockerfile").read_text().replace(f"FROM {BASE}", "FROM scratch"))
    roots = Path(__file__).parents[2] / "scripts" / "roots"
    both = "linux/amd64,linux/arm64"
    ran(roots, "enter", "sid", "docker", "build", "--quiet", "--platform", both, "--tag", name, folder)


MAKERS = [classic, *([] if KIND == "podman" else [buildkit]), buildah, loaded, multi_platform]
CASES = [
    pytest.param(maker, seed, id=f"{maker.__name__}-{seed}")
    for seed, maker in zip(range(COUNT), itertools.cycle(MAKERS), strict=False)
]


@pytest.fixture
def names(engine: docker.APIClient, images: None) -> Iterator[Callable[[str], str]]:
    made: list[str] = []

    def new(kind: str) -> str:
        made.append(f"runtimeimg-engines/{kind}-{uuid.uuid4().hex}:1")
        return made[-1]

    yield new
    for name in made:
        remove(engine, name)


def content(engine: docker.APIClient, name: str, platform: str | None = None) -> dict[str, tuple[object, ...]]:
    found = files_of(engine, name, platform)
    return {path: what for path, what in found.items() if path not in OF_THE_ENGINE}


@pytest.mark.feature("images of other builders keep every layer and file")
@pytest.mark.parametrize(("maker", "seed"), CASES)
def test_nothing_is_lost(
    engine: docker.APIClient,
    cli: Cli,
    names: Callable[[str], str],
    registry: str,
    tmp_path: Path,
    maker: Callable[[Path, str], None],
    seed: int,
) -> None:
    name, copied, built = names("made"), names("copied"), names("built")
    maker(context(tmp_path / "context", seed), name)
    platforms = ["linux/amd64", *(["linux/arm64"] if maker is multi_platform and KIND == "docker-containerd" else [])]
    before = {platform: content(engine, name, platform) for platform in platforms}
    layers = engine.inspect_image(name)["RootFS"]["Layers"]
    assert any(path.startswith("data/0/deep/file") for path in before["linux/amd64"])

    cli("stamp", f"docker-daemon:{name}", "--label", "stamped=yes")
    told = engine.inspect_image(name)
    assert (told["RootFS"]["Layers"], told["Config"]["Labels"]["stamped"]) == (layers, "yes")
    assert {platform: content(engine, name, platform) for platform in platforms} == before

    repository = f"{registry}/engines/{uuid.uuid4().hex}:1"
    cli("copy", f"docker-daemon:{name}", f"docker://{repository}")
    cli("copy", f"docker://{repository}", f"docker-daemon:{copied}")
    assert {platform: content(engine, copied, platform) for platform in platforms} == before

    (tmp_path / "build.yaml").write_text(
        "apiVersion: runtimeimg.dev/v1\nkind: Build\nspec:\n"
        f"  builder: {{image: 'docker-daemon:{name}'}}\n  output: {{image: '{built}'}}\n"
        f"  runtime: {{base: {{image: '{BASE}'}}, directories: ['/data:/data']}}\n"
    )
    cli("build", str(tmp_path / "build.yaml"), "--builder", "native", "-t", built)
    data = {path: what for path, what in before["linux/amd64"].items() if path.startswith("data/")}
    after = content(engine, built)
    assert {path: what for path, what in after.items() if path.startswith("data/")} == data


def test_the_comparison_sees_a_difference(engine: docker.APIClient, names: Callable[[str], str]) -> None:
    one, other = names("one"), names("other")
    for name, text in ((one, b"a"), (other, b"b")):
        repository, tag = name.split(":")
        engine.import_image_from_data(archive({"x": text}), f"docker.io/{repository}", tag)
    assert content(engine, one) != content(engine, other)
