"""A blob that is damaged on its way is fetched once more, wherever it goes; one that is damaged for good is refused."""

import contextlib
import gzip
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

from runtimeimg.build import build
from runtimeimg.builders import BuildRequest, load_builder
from runtimeimg.errors import IntegrityError
from runtimeimg.image import Image
from runtimeimg.image.decompress import Unfolded, raw_pieces
from runtimeimg.image.zstd import zstd
from runtimeimg.oci import Digest, Location
from runtimeimg.stores import StoreOptions
from runtimeimg.stores.copying import copy
from tests.compose.images import MemoryLayer, contents, file, image, plan, tar
from tests.stores import made
from tests.stores.misbehaving import Corrupt, FaultyRegistry

pytestmark = pytest.mark.registry

TAR = tar([file("a", b"a" * 100_000), file("b", bytes(range(256)) * 2000)])
KINDS = {"plain": ("", TAR), "gzip": ("+gzip", gzip.compress(TAR, 1)), "zstd": ("+zstd", zstd().compress(TAR))}
PLACES = {"start": 0, "header": 260, "middle": 0.5, "end": 0.999}
"""Where the damage is; within the first header of a plain archive it is another archive, or none at all."""

Deliver = Callable[[str, str], list[Digest]]


def made_of(kind: str) -> tuple[Image, MemoryLayer]:
    suffix, blob = KINDS[kind]
    layer = MemoryLayer(blob, media_type=f"application/vnd.oci.image.layer.v1.tar{suffix}", diff_id=Digest.of(TAR))
    return image("damaged", layer), layer


def offset(place: str, layer: MemoryLayer) -> int:
    at = PLACES[place]
    return int(at if at >= 1 else at * layer.descriptor.size)


@pytest.fixture(params=["layout", "oci-archive", "docker-archive", "registry", "build", "build with a cache"])
def deliver(request: pytest.FixtureRequest, tmp_path: Path, upstream: str) -> Deliver:
    """Bring the image of a registry somewhere and return the diff ids of what is there then."""
    options = StoreOptions(etc=tmp_path)
    name = f"r{uuid.uuid4().hex}"
    targets = {
        "layout": f"oci:{tmp_path}/layout:1",
        "oci-archive": f"oci-archive:{tmp_path}/a.tar:1",
        "docker-archive": f"docker-archive:{tmp_path}/a.tar:a/b:1",
        "registry": f"docker://{upstream}/{name}:1",
    }

    def to_store(source: str, _base: str) -> list[Digest]:
        target = targets[request.param]
        copy(Location.parse(source), Location.parse(target), options)
        return diff_ids(target)

    def to_build(source: str, base: str) -> list[Digest]:
        cache = tmp_path / "cache" if "cache" in request.param else None
        copies = [("/a", "/first"), ("/b", "/second")]
        made_request = BuildRequest(
            plan=plan(copies, base=base, builder=source), stores=options, workspace=tmp_path, cache_dir=cache
        )
        target = f"oci:{tmp_path}/built:1"
        build(made_request, load_builder("native"), [Location.parse(target)])
        found = made.read_image(target).layers[-1]
        assert contents(found) == {b"first": b"a" * 100_000, b"second": bytes(range(256)) * 2000}
        return [Digest.of(TAR)]

    return to_build if request.param.startswith("build") else to_store


def diff_ids(where: str) -> list[Digest]:
    return [Digest.of(b"".join(Unfolded(raw_pieces(layer.open()), "layer"))) for layer in made.read_image(where).layers]


@pytest.fixture
def names(proxy: FaultyRegistry, upstream: str) -> tuple[str, str, str]:
    """What an image is called at the registry, at the one that misbehaves, and a base image at the registry."""
    name = f"d{uuid.uuid4().hex}"
    base = f"docker://{upstream}/{name}/base:1"
    made.write(base, made.image(9, layers=1))
    return f"docker://{upstream}/{name}:1", f"docker://{proxy.address}/{name}:1", base


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_damage_that_passes_is_not_seen(
    proxy: FaultyRegistry, names: tuple[str, str, str], deliver: Deliver, passing: Path, kind: str, place: str
) -> None:
    good, bad, base = names
    made_image, layer = made_of(kind)
    made.write(good, made_image)
    rule = proxy.rule("GET", f"/blobs/{layer.descriptor.digest}", Corrupt(at=offset(place, layer)))
    assert deliver(bad, base) == [Digest.of(TAR)]
    assert rule.times == 0
    assert list(passing.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_damage_that_stays_is_the_registrys(
    proxy: FaultyRegistry, names: tuple[str, str, str], deliver: Deliver, passing: Path, kind: str
) -> None:
    good, bad, base = names
    made_image, layer = made_of(kind)
    made.write(good, made_image)
    rule = proxy.rule("GET", f"/blobs/{layer.descriptor.digest}", Corrupt(at=offset("middle", layer)), times=9)
    with pytest.raises(IntegrityError, match=r"has the digest sha256:.*, not sha256:"):
        deliver(bad, base)
    assert rule.times == 7
    assert list(passing.iterdir()) == []


@pytest.fixture
def tag(engine: docker.APIClient, leaves_nothing: None) -> Iterator[str]:
    name = f"runtimeimg-test/damaged:{uuid.uuid4().hex}"
    yield name
    with contextlib.suppress(ImageNotFound):
        engine.remove_image(name)


@pytest.mark.engine
@pytest.mark.parametrize("kind", KINDS)
def test_an_engine_gets_the_image_anew(
    proxy: FaultyRegistry,
    names: tuple[str, str, str],
    engine: docker.APIClient,
    tag: str,
    passing: Path,
    kind: str,
) -> None:
    good, bad, _ = names
    made_image, layer = made_of(kind)
    made.write(good, made_image)
    rule = proxy.rule("GET", f"/blobs/{layer.descriptor.digest}", Corrupt(at=offset("middle", layer)))
    options = StoreOptions()
    copy(Location.parse(bad), Location.parse(f"docker-daemon:{tag}"), options)
    assert rule.times == 0
    assert engine.inspect_image(tag)["RootFS"]["Layers"] == [str(Digest.of(TAR))]
    engine.remove_image(tag)
    proxy.rule("GET", f"/blobs/{layer.descriptor.digest}", Corrupt(at=offset("middle", layer)), times=9)
    with pytest.raises(IntegrityError):
        copy(Location.parse(bad), Location.parse(f"docker-daemon:{tag}"), options)
    with pytest.raises(ImageNotFound):
        engine.inspect_image(tag)
    assert list(passing.iterdir()) == []
