"""A registry that only these tests use, and the images that indexes are made of."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from runtimeimg.image import Image
from runtimeimg.oci import Platform
from tests.stores import made
from tests.stores.served import serve


@pytest.fixture(scope="session")
def own_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a registry; for tests marked `registry`."""
    with serve(tmp_path_factory.mktemp("registry"), log={"level": "error"}) as address:
        yield address


def image(seed: int, platform: str = "linux/amd64") -> Image:
    """Return a small image for a platform, which its config tells in full."""
    plain = made.image(seed, 500, 1)
    told = Platform.parse(platform).to_json()
    return replace(plain, config=plain.config.evolve(**told))
