"""What `index matrix` says an engine would run is what the engines that are here really pull.

Each index has a repository of its own. The images differ in their one layer, so that what was pulled tells which entry
it was: the Engine and buildah by the ID, skopeo by the manifest, containerd by the snapshot that it unpacks.
`RUNTIMEIMG_EXAMPLES` sets how many indexes there are.
"""

import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runtimeimg.image import Image, ImageIndex
from runtimeimg.oci import Location, Platform
from runtimeimg.selection.matrix import matrix
from runtimeimg.selection.platforms import Engine
from runtimeimg.stores import StoreOptions, open_index
from tests.containerd import Ctr, containerd
from tests.indexes.command import done
from tests.indexes.conftest import image
from tests.stores import made

pytestmark = [pytest.mark.registry, pytest.mark.engine, pytest.mark.skopeo, pytest.mark.buildah]

EXAMPLES = int(os.environ.get("RUNTIMEIMG_EXAMPLES") or 32)
THERE = (
    *("linux/amd64", "linux/amd64", "linux/386", "linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm/v8"),
    *("linux/arm64", "linux/arm64/v8", "linux/arm64/v9", "linux/s390x", "linux/amd64/v2", "linux/amd64/v3", ""),
)
WANTED = (
    *("linux/amd64", "linux/386", "linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm64", "linux/arm64/v8"),
    *("linux/s390x", "linux/ppc64le", "linux/amd64/v3"),
)
SECONDS = 120


def call(*argv: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, argv)), capture_output=True, text=True, timeout=SECONDS, check=False)


@dataclass(frozen=True)
class Example:
    """An index in the registry, its images in the order of the entries, and the platforms that are asked for."""

    name: str
    images: tuple[Image, ...]
    wanted: tuple[Platform, ...]

    def found(self) -> ImageIndex:
        return open_index(Location.parse(f"docker://{self.name}"), StoreOptions())

    def said(self, platform: Platform, engine: Engine) -> int | None:
        """Return the place of the entry that the matrix names."""
        (row,) = matrix(self.found(), [platform], [engine], inside=True).rows
        return row.chosen[0].position if row.chosen[0] else None


@pytest.fixture(scope="module")
def examples(own_registry: str) -> list[Example]:
    dice, result = random.Random(12), []
    for number in range(EXAMPLES):
        name = f"{own_registry}/pulls/{number}:1"
        platforms = [dice.choice(THERE) for _ in range(dice.randint(1, 6))]
        images = [image(1000 * number + at, text or "linux/amd64") for at, text in enumerate(platforms)]
        args: list[str] = []
        for at, item in enumerate(images):
            made.write(f"docker://{name}-{at}", item)
            args += ["--image", f"{name}-{at},annotation=org.example.number={at}"]
        done("index", "create", name, *args)
        if "" in platforms:
            _without_platforms(name, [at for at, text in enumerate(platforms) if not text])
        there = dice.choice([text for text in platforms if text] or ["linux/amd64"])
        wanted = dict.fromkeys(map(Platform.parse, (there, *dice.sample(WANTED, 2))))
        result.append(Example(name, tuple(images), tuple(wanted)))
    return result


def _without_platforms(name: str, places: list[int]) -> None:
    """Write an index anew whose entries at these places tell no platform."""
    found = open_index(Location.parse(f"docker://{name}"), StoreOptions())
    listed = [entry.to_json() for entry in found.index.manifests]
    for at in places:
        del listed[at]["platform"]
    changed = ImageIndex(
        index=found.index.evolve(manifests=listed), open_manifest=found.open_manifest, origin=found.origin
    )
    made.write(f"docker://{name}", changed)


def check(
    examples: list[Example],
    engine: Engine,
    pull: Callable[[Example, Platform], str | None],
    older: Callable[[Example, Platform, int | None], int | None] = lambda _example, _platform, said: said,
) -> None:
    """Pull every example for its platforms and compare with what the matrix says.

    `older` tells what an engine older than the rules does instead; it is asked only where the two differ.
    """
    wrong, right = [], set()
    for example in examples:
        ids = [str(item.config.digest) for item in example.images]
        for platform in example.wanted:
            said, pulled = example.said(platform, engine), pull(example, platform)
            got = ids.index(pulled) if pulled in ids else pulled
            if got == said is not None:
                right.add(example.name)
            elif got not in {said, older(example, platform, said)}:
                told = [entry.platform and entry.platform.full for entry in example.found().index.manifests]
                wrong.append(f"{example.name} for {platform}: said {said}, pulled {got} of {told}")
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong)
    assert len(right) >= min(30, EXAMPLES), "something was pulled from too few of the indexes"


def test_skopeo_copies_what_the_matrix_says(examples: list[Example], tmp_path: Path) -> None:
    def pull(example: Example, platform: Platform) -> str | None:
        target = tmp_path / example.name.rpartition("/")[2] / str(platform).replace("/", "-")
        target.parent.mkdir(exist_ok=True)
        flags = ["--override-os", platform.os, "--override-arch", platform.architecture]
        flags += ["--override-variant", platform.variant] if platform.variant else []
        ended = call("skopeo", *flags, "copy", "--src-tls-verify=false", f"docker://{example.name}", f"dir:{target}")
        if ended.returncode:
            assert "no image found in" in ended.stderr, ended.stderr
            return None
        config: str = json.loads((target / "manifest.json").read_text())["config"]["digest"]
        return config

    check(examples, Engine.PODMAN, pull)


def test_buildah_pulls_what_the_matrix_says(examples: list[Example], tmp_path: Path) -> None:
    storage = ["--root", tmp_path / "root", "--runroot", tmp_path / "run", "--storage-driver", "vfs"]

    def pull(example: Example, platform: Platform) -> str | None:
        flags = ["--os", platform.os, "--arch", platform.architecture]
        flags += ["--variant", platform.variant] if platform.variant else []
        name = f"docker://{example.name}"
        ended = call("buildah", *storage, "pull", "--quiet", "--tls-verify=false", "--policy=always", *flags, name)
        if ended.returncode:
            assert "no image found in" in ended.stderr, ended.stderr
            return None
        return f"sha256:{ended.stdout.strip()}"

    check(examples, Engine.PODMAN, pull)


def docker_20(example: Example, platform: Platform, said: int | None) -> int | None:
    """Return what the store of an Engine 20.10 pulls where it differs from the rules of containerd of today.

    It takes the platform alone: no lower level of amd64, no 386 for amd64, no arm for arm64, no entry without a
    platform. For arm, where the variant is not there, it takes the first of any.
    """
    entries = example.found().index.manifests
    arms = [at for at, entry in enumerate(entries) if entry.platform and entry.platform.architecture == "arm"]
    return arms[0] if arms and platform.architecture == "arm" else None


def test_docker_pulls_what_the_matrix_says(examples: list[Example]) -> None:
    def pull(example: Example, platform: Platform) -> str | None:
        ended = call("docker", "pull", "--quiet", "--platform", platform, example.name)
        if ended.returncode:
            assert "no matching manifest" in ended.stderr, ended.stderr
            return None
        try:
            return call("docker", "image", "inspect", "--format", "{{.Id}}", example.name).stdout.strip()
        finally:
            call("docker", "rmi", "--force", example.name)

    check(examples, Engine.DOCKER, pull, docker_20)


@pytest.fixture(scope="module")
def ctr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ctr]:
    with containerd(tmp_path_factory.mktemp("containerd")) as started:
        yield started


@pytest.mark.ctr
@pytest.mark.mounts
def test_containerd_unpacks_what_the_matrix_says(examples: list[Example], ctr: Ctr, tmp_path: Path) -> None:
    """All of an index is fetched, and the image for a platform unpacked: `ctr images pull` knows no fallbacks."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    native = ("--snapshotter", "native")
    for example in examples:
        fetched = ctr("content", "fetch", "--plain-http", "--all-platforms", example.name)
        assert fetched.returncode == 0, fetched.stderr

    def pull(example: Example, platform: Platform) -> str | None:
        ended = ctr("images", "mount", *native, "--platform", platform, example.name, folder)
        if ended.returncode:
            assert "no match for platform" in ended.stderr, ended.stderr
            return None
        ctr("images", "unmount", "--rm", *native, folder)
        chain = ended.stdout.split()[0]  # of one layer: its diff id
        (unpacked,) = [item for item in example.images if item.layers[0].diff_id == chain]
        return str(unpacked.config.digest)

    check(examples, Engine.CONTAINERD, pull)
