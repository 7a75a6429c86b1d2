"""A write that would put an image in place whose config and layers do not fit is refused before anything moves."""

import os
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import docker
import pytest
from onengines import remove

from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image import Image
from runtimeimg.oci import Digest, ImageConfig, Location
from runtimeimg.stores import StoreOptions, open_destination, open_image
from tests.stores.made import image, layer

pytestmark = [pytest.mark.engine, pytest.mark.registry]

OPTIONS = StoreOptions(environ=dict(os.environ))


def without_rootfs(one: Image) -> Image:
    return replace(one, config=one.config.evolve(rootfs=None), layers=())


def without_a_layer(one: Image) -> Image:
    return replace(one, layers=one.layers[:1])


def with_another_layer(one: Image) -> Image:
    return replace(one, layers=(one.layers[0], layer(99)))


def with_longer_history(one: Image) -> Image:
    steps = [{"created_by": f"step {number}"} for number in range(len(one.layers) + 1)]
    return replace(one, config=one.config.evolve(history=steps))


def with_ids_of_nothing(one: Image) -> Image:
    ids = [Digest.of(b"never read"), *one.config.diff_ids[1:]]
    return replace(one, config=one.config.evolve(rootfs={"type": "layers", "diff_ids": ids}))


FAULTS = [without_rootfs, without_a_layer, with_another_layer, with_longer_history, with_ids_of_nothing]


@pytest.fixture(params=["docker-daemon", "docker", "oci", "oci-archive", "docker-archive"])
def place(request: pytest.FixtureRequest, tmp_path: Path, registry: str, engine: docker.APIClient) -> object:
    name = f"runtimeimg-engines/refused-{uuid.uuid4().hex}:1"
    body = {"docker-daemon": name, "docker": f"{registry}/{name}"}.get(request.param, f"{tmp_path}/image:{name}")
    yield Location.parse(f"{request.param}:{'//' if request.param == 'docker' else ''}{body}")
    if request.param == "docker-daemon":
        remove(engine, name)


@pytest.mark.feature("what does not fit is refused")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_what_does_not_fit_is_refused(place: Location, fault: Callable[[Image], Image]) -> None:
    good = image(7)
    open_destination(place, OPTIONS).write(good)
    with pytest.raises(InvalidDocumentError, match="image '"):
        open_destination(place, OPTIONS).write(replace(fault(good), manifest=None, image_id=None))
    there = open_image(place, OPTIONS)
    assert isinstance(there, Image)
    assert there.config.diff_ids == good.config.diff_ids
    assert ImageConfig(there.config.raw, "").data["rootfs"] == good.config.data["rootfs"]
