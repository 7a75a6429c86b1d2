"""The samples by every builder: equal config fields, equal trees, equal graphs.

Classic builds give folders above a destination to root where `--chown` names somebody else: that much of
docs/decisions/0001-copy-semantics.md, "The peers differ", shows in the samples.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest

from . import engines

PREFIX = "runtimeimg-contract-samples"
FIELDS = ("Cmd", "Entrypoint", "Env", "ExposedPorts", "Labels", "StopSignal", "User", "Volumes", "WorkingDir")
PEERS = [
    "docker",
    "buildkit",
    pytest.param("buildah", marks=pytest.mark.buildah),
]

pytestmark = [pytest.mark.engine, pytest.mark.slow]


def built(samples: Path, name: str, builder: str, folder: Path) -> str:
    """Build a sample and return its name in the Engine."""
    spec = (samples / name / "build.yaml").read_text()
    if builder == "native":
        # Others find the images in the Engine by themselves; the native builder asks a registry unless it is told.
        spec = re.sub(r"((?:builder|base):\n +image: )", r"\1docker-daemon:", spec)
    path = folder / f"{builder}.yaml"
    path.write_text(spec)
    image = f"{PREFIX}/{name}-{builder}:1"
    command = [sys.executable, "-m", "runtimeimg", "build", path, "--builder", builder, "-o", f"docker-daemon:{image}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return image


def config(engine: docker.APIClient, image: str) -> dict[str, Any]:
    """Return the fields of an image's config, those that are empty left out."""
    found = engine.inspect_image(image)["Config"]
    return {key: found[key] for key in FIELDS if found.get(key)}


@pytest.fixture(scope="module", params=["nodejs", "petclinic", "python"])
def native(
    request: pytest.FixtureRequest, samples: Path, engine: docker.APIClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, dict[str, Any], dict[str, engines.Found]]]:
    """A sample's name, and the config and tree that the native builder gives it."""
    image = built(samples, request.param, "native", tmp_path_factory.mktemp("native"))
    yield request.param, config(engine, image), engines.tree(engine, image)
    engines.remove(engine, PREFIX)


@pytest.mark.parametrize("peer", PEERS)
def test_a_sample_is_the_same_by_every_builder(native, peer, samples, engine, tmp_path):
    name, fields, tree = native
    image = built(samples, name, peer, tmp_path)
    assert config(engine, image) == fields
    assert len(tree) > 1000

    def normal(path, one, other):
        above = peer == "docker" and path == "app" and other.uid == other.gid == 0
        return (replace(one, uid=0, gid=0), other) if above else (one, other)

    assert engines.differences(tree, engines.tree(engine, image), normal) == []
    engines.remove(engine, f"{PREFIX}/{name}-{peer}")
