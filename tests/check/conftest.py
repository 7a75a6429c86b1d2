"""The samples' images, each read out of the Engine once for all tests of this folder."""

import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

from runtimeimg.image import Image
from runtimeimg.oci import Location
from runtimeimg.stores import StoreOptions, open_one
from tests.stores.made import write

PREFIX = "runtimeimg-samples/"


@dataclass(frozen=True)
class Kept:
    """The samples with their images in layouts, which are looked into without another export of the Engine."""

    samples: Path
    folder: Path

    def image(self, name: str) -> str:
        """Return where an image is that the Engine has under a name such as `runtimeimg-samples/node:18`."""
        where = self.folder / name.replace("/", "-").replace(":", "-")
        if not where.exists():
            write(f"oci:{where}:1", open_one(Location.parse(f"docker-daemon:{name}"), None, StoreOptions()))
        return f"oci:{where}:1"

    def spec(self, sample: str) -> dict[str, Any]:
        """Return the spec of a sample, with its images in the layout."""
        spec: dict[str, Any] = yaml.safe_load((self.samples / sample / "build.yaml").read_text())
        for part in (spec["spec"]["builder"], spec["spec"]["runtime"]["base"]):
            part["image"] = self.image(part["image"])
        return spec

    def file(self, sample: str) -> Path:
        """Return a file that holds that spec."""
        path = self.folder / f"{sample}.yaml"
        path.write_text(json.dumps(self.spec(sample)))
        return path


@pytest.fixture(scope="session")
def kept(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """The samples, kept for as long as tests run; for tests marked `engine`."""
    folder = tmp_path_factory.mktemp("samples")
    yield Kept(samples, folder)
    shutil.rmtree(folder)


class Start:
    """Writes an image into the Engine, runs it, and removes both."""

    def __call__(self, made: Image, *options: str, command: tuple[str, ...] = ()) -> tuple[int, str]:
        """Return how it ended and what it printed; options of `docker run` come before its name."""
        name = f"runtimeimg-test-check/{uuid.uuid4().hex[:8]}:1"
        write(f"docker-daemon:{name}", made)
        try:
            words = ["docker", "run", "--rm", *options, name, *command]
            ran = subprocess.run(words, check=False, capture_output=True, text=True, timeout=120)
        finally:
            subprocess.run(["docker", "rmi", "-f", name], capture_output=True, check=True)
        return ran.returncode, ran.stdout + ran.stderr


@pytest.fixture
def start(engine: docker.APIClient, leaves_nothing: None) -> Start:
    """Return what starts images, for tests marked `engine`."""
    del engine, leaves_nothing
    return Start()
