"""The same trees as umoci makes, of images made by chance and of the samples."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import docker
import pytest

from runtimeimg.image import choose_platform
from runtimeimg.oci import Location
from runtimeimg.stores import StoreOptions, open_image
from runtimeimg.unpack import unpack
from tests.compose.images import write_layout
from tests.unpack.generated import layers
from tests.unpack.trees import There, tree

IMAGES = int(os.environ.get("RUNTIMEIMG_EXAMPLES") or 40)
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices are set by root")


def umoci(layout: Path, name: str, bundle: Path, *more: str) -> Path:
    command = ["umoci", "unpack", *more, "--image", f"{layout}:{name}", str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return bundle / "rootfs"


def both(folder: Path) -> tuple[dict[str, There], dict[str, There]]:
    """The image `one` of the layout `images` unpacked by both."""
    image = choose_platform(open_image(Location.parse(f"oci:{folder}/images:one"), StoreOptions()), None)
    unpack(image, folder / "ours")
    theirs = tree(umoci(folder / "images", "one", folder / "bundle"))
    return tree(folder / "ours"), theirs


@pytest.mark.parametrize("seed", range(IMAGES))
def test_images_made_by_chance(tmp_path: Path, seed: int) -> None:
    write_layout(tmp_path / "images", {"one": (layers(seed), {})})
    ours, theirs = both(tmp_path)
    assert ours == theirs
    shutil.rmtree(tmp_path)


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("name", ["nodejs", "petclinic", "python"])
def test_the_samples(samples: Path, engine: docker.APIClient, tmp_path: Path, name: str) -> None:
    assert engine.ping()
    spec = (samples / name / "build.yaml").read_text()
    spec = re.sub(r"((?:builder|base):\n +image: )", r"\1docker-daemon:", spec)
    (tmp_path / "build.yaml").write_text(spec)
    command = [sys.executable, "-m", "runtimeimg", "build", str(tmp_path / "build.yaml"), "--builder", "native"]
    done = subprocess.run(
        [*command, "-o", f"oci:{tmp_path}/images:one"], capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ours, theirs = both(tmp_path)
    assert len(ours) > 1000
    assert ours == theirs
    shutil.rmtree(tmp_path)
