"""Layers that are sent while they are made: in vain or not, the image is whole and nothing else is left."""

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtimeimg.account import Account
from runtimeimg.build import Part, build_all
from runtimeimg.builders import BuildRequest, load_builder
from runtimeimg.errors import RuntimeimgError, UsageError
from runtimeimg.image import Image, compress
from runtimeimg.image.filelayer import FileLayer
from runtimeimg.oci import Descriptor, Digest, Location
from runtimeimg.oci.mediatypes import OCI_LAYER
from runtimeimg.remains import held
from runtimeimg.stores import StoreOptions, open_one
from runtimeimg.stores.registry import RegistryDestination, early
from tests.compose.images import file, folder, image, plan, tar
from tests.compose.test_sparse import prose
from tests.stores.misbehaving import Action, Break, BreakUpload, FaultyRegistry, Header, Status

pytestmark = [pytest.mark.registry, pytest.mark.timeout(120)]
DATA = tar([folder("app"), file("app/text", prose(1, 3_000_000))])
HALF = len(DATA) // 2
LAST = f"/blobs/uploads/.*digest=.*{Digest.of(DATA).encoded}"
"""The request that ends the upload of DATA."""


@pytest.fixture(autouse=True)
def small_ones_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early, "LEAST", 100_000)
    monkeypatch.setattr(compress, "GZIP_BLOCK", 50_000)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return f"early/{abs(hash((request.node.nodeid, time.monotonic_ns())))}"


@pytest.fixture
def target(proxy: FaultyRegistry, name: str) -> RegistryDestination:
    return destination(proxy, name)


def destination(proxy: FaultyRegistry, name: str) -> RegistryDestination:
    reference = Location.parse(f"docker://{proxy.address}/{name}:v").reference
    assert reference is not None
    return RegistryDestination(reference, StoreOptions(timeout=20, account=Account()))


def until(true: Callable[[], object]) -> None:
    limit = time.monotonic() + 60
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.01)


def written(path: Path, data: bytes = DATA) -> FileLayer:
    """Return the layer that a file becomes."""
    path.write_bytes(data)
    descriptor = Descriptor(media_type=OCI_LAYER, digest=Digest.of(data), size=len(data))
    return FileLayer(descriptor=descriptor, diff_id=descriptor.digest, path=path)


def of(layer: FileLayer) -> Image:
    return replace(
        image("made", [folder("x")]),
        layers=(layer,),
        config=image("made", [folder("x")]).config.evolve(rootfs={"type": "layers", "diff_ids": [layer.diff_id]}),
    )


def there(proxy: FaultyRegistry, name: str) -> bytes | None:
    """Return the bytes of the only layer of the image, None where there is no image."""
    with contextlib.suppress(RuntimeimgError):
        found = open_one(Location.parse(f"docker://{proxy.upstream}/{name}:v"), None, StoreOptions(attempts=1))
        with found.layers[0].open() as reader:
            return io.BufferedReader(reader).read()  # type: ignore[arg-type]
    return None


def account(target: RegistryDestination) -> Account:
    return target._client.options.account


def test_a_blob_is_sent_while_it_is_made(
    proxy: FaultyRegistry, target: RegistryDestination, name: str, tmp_path: Path
) -> None:
    layer = written(tmp_path / "layer")
    with target.early() as taker:
        making = taker.begin(layer.path, new=True)
        making.grown(HALF)
        until(lambda: proxy.seen("PATCH", name))  # half of it is not there yet
        assert any("an upload to" in line for line in held.clear_away())
        making.grown(len(DATA))
        making.finished(layer.descriptor)
        target.write(of(layer))
    assert there(proxy, name) == DATA
    (sent,) = proxy.seen("PATCH", name)
    assert sent.headers["Transfer-Encoding"] == "chunked"
    (ended,) = proxy.seen("PUT", LAST)
    assert ended.headers["Content-Length"] == "0"
    assert not proxy.seen("HEAD", str(layer.descriptor.digest))
    assert not proxy.seen("DELETE", name)
    assert account(target).uploaded_bytes == len(DATA) + len(of(layer).config.raw)
    assert not held.clear_away()


ERRORS = b'{"errors": [{"code": "BROKEN", "message": "it is broken"}]}'
FAULTS: dict[str, tuple[str, str, Action]] = {
    "no upload is begun": ("POST", "/blobs/uploads/", Status(code=500, body=ERRORS)),
    "nobody may": ("POST", "/blobs/uploads/", Status(code=403, body=ERRORS)),
    "an upload without an address": ("POST", "/blobs/uploads/", Header(name="Location", value=None)),
    "it is too large": ("PATCH", "/blobs/uploads/", Status(code=413, body=ERRORS)),
    "no length": ("PATCH", "/blobs/uploads/", Status(code=411, body=ERRORS)),
    "no such method": ("PATCH", "/blobs/uploads/", Status(code=405, body=ERRORS)),
    "broken": ("PATCH", "/blobs/uploads/", Status(code=500, body=ERRORS)),
    "a line that breaks": ("PATCH", "/blobs/uploads/", BreakUpload(after=200_000)),
    "an answer that is lost": ("PATCH", "/blobs/uploads/", Break(after=0)),
    "an upload that is lost": ("PUT", LAST, Status(code=404, body=ERRORS)),
    "another digest": ("PUT", LAST, Status(code=400, body=ERRORS)),
    "an end that is broken": ("PUT", LAST, Status(code=500, body=ERRORS)),
    "taken for something else": (
        "PUT", LAST, Header(name="Docker-Content-Digest", value=f"sha256:{'0' * 64}"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_goes_wrong_the_blob_is_written(
    fault: str, proxy: FaultyRegistry, target: RegistryDestination, name: str, tmp_path: Path
) -> None:
    layer = written(tmp_path / "layer")
    rule = proxy.rule(*FAULTS[fault])
    with target.early() as taker:
        making = taker.begin(layer.path, new=True)
        making.grown(HALF)
        until(lambda: proxy.seen("POST", name))
        making.grown(len(DATA))
        making.finished(layer.descriptor)
        if rule.method != "PUT":
            until(lambda: not rule.times)
        target.write(of(layer))
    assert not rule.times
    assert there(proxy, name) == DATA
    assert not held.clear_away()


def test_a_login_that_ran_out_meanwhile(
    proxy: FaultyRegistry, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.auth = "bearer"
    (tmp_path / "auth.json").write_text(f'{{"auths": {{"{proxy.address}": {{"auth": "amFuZTpyaWdodA=="}}}}}}')
    reference = Location.parse(f"docker://{proxy.address}/{name}:v").reference
    assert reference is not None
    target = RegistryDestination(reference, StoreOptions(timeout=20, authfile=tmp_path / "auth.json"))
    layer = written(tmp_path / "layer")
    with target.early() as taker:
        making = taker.begin(layer.path, new=True)
        making.grown(HALF)
        until(lambda: proxy.seen("PATCH", name))
        proxy.revoke()
        making.grown(len(DATA))
        making.finished(layer.descriptor)
        target.write(of(layer))
    proxy.auth = None
    assert there(proxy, name) == DATA


def in_vain(making: Any, how: str, taker: Any) -> None:
    if how == "dropped":
        making.dropped()
    elif how == "forgotten":
        taker.forget()
    elif how == "failed":
        raise UsageError("no")


@pytest.mark.parametrize("how", ["dropped", "forgotten", "failed", "left alone"])
def test_what_comes_to_nothing_is_called_off(
    how: str, proxy: FaultyRegistry, target: RegistryDestination, name: str, tmp_path: Path
) -> None:
    layer = written(tmp_path / "layer")
    with contextlib.suppress(UsageError), target.early() as taker:
        making = taker.begin(layer.path, new=True)
        making.grown(HALF)
        until(lambda: proxy.seen("PATCH", name))
        in_vain(making, how, taker)
    (begun,) = proxy.seen("PATCH", name)
    session = begun.path.partition("?")[0].rpartition("/")[2]
    (ended,) = proxy.seen("DELETE", session)
    assert ended.method == "DELETE"
    assert not held.clear_away()
    assert there(proxy, name) is None


@pytest.mark.parametrize(
    ("tags", "sent"),
    [
        (Status(code=404, body=ERRORS), True),
        (Status(code=200, body=b'{"name": "x", "tags": null}'), True),
        (Status(code=200, body=b'{"name": "x", "tags": []}'), True),
        (Status(code=200, body=b'{"name": "x", "tags": ["v1"]}'), False),
        (Status(code=200, body=b"[]"), False),
        (Status(code=200, body=b"<html>"), False),
        (Status(code=200, body=b'{"tags": "' + b"x" * 100_000 + b'"}'), False),
        (Status(code=403, body=ERRORS), False),
    ],
)
@pytest.mark.parametrize("new", [True, False])
def test_what_a_registry_may_have_is_not_sent(
    new: bool, tags: Status, sent: bool, proxy: FaultyRegistry, target: RegistryDestination, name: str, tmp_path: Path
) -> None:
    layer = written(tmp_path / "layer")
    proxy.rule("GET", "/tags/list", tags)
    with target.early() as taker:
        making = taker.begin(layer.path, new=new)
        making.grown(len(DATA))
        making.finished(layer.descriptor)
        target.write(of(layer))
    assert bool(proxy.seen("PATCH", name)) is (sent or new)
    assert bool(proxy.seen("GET", "/tags/list")) is not new
    assert there(proxy, name) == DATA


def test_small_blobs_are_sent_as_ever(
    proxy: FaultyRegistry, target: RegistryDestination, name: str, tmp_path: Path
) -> None:
    layer = written(tmp_path / "layer", tar([file("x", b"x" * 1000)]))
    with target.early() as taker:
        making = taker.begin(layer.path, new=True)
        making.grown(layer.descriptor.size)
        making.finished(layer.descriptor)
        target.write(of(layer))
    assert not proxy.seen("PATCH", name)
    assert there(proxy, name) == layer.path.read_bytes()


# ---- builds


class World:
    """Builder image and base in a registry, and builds into a repository of it."""

    def __init__(self, proxy: FaultyRegistry, name: str, folder: Path) -> None:
        self.proxy = proxy
        self.name = name
        self._folder = folder

    def put(self, seed: int) -> None:
        """Write the images; `seed` is for what is in /app."""
        text = [file(f"app/{number}", prose(seed + number, 1_000_000)) for number in range(3)]
        for tag, made in (
            ("builder", image("builder", [folder("etc"), file("etc/os", b"x")], [folder("app"), *text])),
            ("base", image("base", [folder("usr")])),
        ):
            reference = Location.parse(f"docker://{self.proxy.upstream}/{self.name}-in:{tag}").reference
            assert reference is not None
            RegistryDestination(reference, StoreOptions()).write(made)

    def build(self, cache: str, look: Callable[[Any, Image], None] = lambda _part, _image: None) -> tuple[str, Account]:
        """Build, and return the digest of the manifest and what was moved."""
        self.proxy.log.clear()
        count = Account()
        source = f"docker://{self.proxy.upstream}/{self.name}-in"
        request = BuildRequest(
            plan=plan([("/app", "/app")], builder=f"{source}:builder", base=f"{source}:base"),
            stores=StoreOptions(account=count),
            workspace=Path(),
            cache_dir=self._folder / cache,
        )
        part = Part(request=request, builder=load_builder("native"))
        built = build_all([part], [Location.parse(f"docker://{self.proxy.address}/{self.name}:v")], look=look)
        descriptor = built.written[0].descriptor
        assert descriptor is not None
        return str(descriptor.digest), count

    @property
    def streamed(self) -> bool:
        """Whether the last build sent anything while it was made."""
        return any(item.headers.get("Transfer-Encoding") for item in self.proxy.seen("PATCH", self.name))


@pytest.fixture
def world(proxy: FaultyRegistry, name: str, tmp_path: Path) -> World:
    made = World(proxy, name, tmp_path)
    made.put(1)
    return made


def test_builds_send_early_what_is_new(world: World) -> None:
    first, count = world.build("one")
    assert world.streamed  # nothing is in the repository
    assert count.uploaded_bytes > 500_000
    again, count = world.build("two")
    assert not world.streamed  # for all that this machine knows the registry has it, and so it does
    assert (again, count.uploaded_bytes) == (first, 0)
    world.put(100)
    changed, count = world.build("one")
    assert world.streamed  # this machine would know it
    assert changed != first
    assert count.uploaded_bytes > 500_000


def test_an_image_that_is_refused_is_not_in_the_registry(world: World, passing: Path, tmp_path: Path) -> None:
    def look(_part: Any, _image: Image) -> None:
        until(lambda: world.streamed)
        raise UsageError("it would not start")

    with pytest.raises(UsageError, match="it would not start"):
        world.build("one", look)
    assert world.streamed
    assert world.proxy.seen("DELETE", world.name)
    assert there(world.proxy, world.name) is None
    assert list(passing.iterdir()) == []
    assert list((tmp_path / "one").glob("v*/tmp/*")) == []


def test_a_layer_whose_contents_cannot_be_read_in_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from runtimeimg.compose.setaside import SetAside

    read = SetAside.pieces

    def pieces(self: SetAside, key: str, index: int, size: int) -> Iterator[bytes | memoryview]:
        if index == 3:
            until(lambda: world.streamed)
            raise RuntimeimgError("the disk is gone")
        return read(self, key, index, size)

    monkeypatch.setattr(SetAside, "pieces", pieces)
    with pytest.raises(RuntimeimgError, match="the disk is gone"):
        world.build("one")
    assert world.proxy.seen("DELETE", world.name)
    assert there(world.proxy, world.name) is None
    assert list((tmp_path / "one").glob("v*/tmp/*")) == []
