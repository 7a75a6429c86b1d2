"""Reading from and writing to a real Engine."""

import gzip
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import pytest
from privateengine import BARE, TINY, OwnEngine, own_engine, tar_of

from runtimeimg.account import Account
from runtimeimg.errors import IntegrityError, NotFoundError, RemoteError, UsageError
from runtimeimg.image import Image, ImageIndex, Origin
from runtimeimg.oci import Descriptor, Digest, ImageConfig, Index, Location, Platform
from runtimeimg.stores.engine import Engine
from runtimeimg.stores.engine.images import DaemonDestination, DaemonSource

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def own() -> Iterator[OwnEngine]:
    yield from own_engine()


@pytest.fixture(autouse=True)
def unchanged(own: OwnEngine) -> Iterator[None]:
    before = (own.images(), own.containers())
    yield
    assert (own.images(), own.containers()) == before


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLayer:
    """A layer in memory; `opened` counts how often it was read."""

    diff_id: Digest
    descriptor: Descriptor
    data: bytes
    opened: list[None]
    origin: Origin | None = None

    def open(self) -> IO[bytes]:
        self.opened.append(None)
        return io.BytesIO(self.data)


def layer(files: dict[str, bytes | str | None], compression: str = "none") -> MemoryLayer:
    plain = tar_of(files)
    data, suffix = plain, ""
    if compression == "gzip":
        data, suffix = gzip.compress(plain, mtime=0), "+gzip"
    elif compression == "zstd":
        from backports import zstd

        data, suffix = zstd.compress(plain), "+zstd"
    media_type = f"application/vnd.oci.image.layer.v1.tar{suffix}"
    descriptor = Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data))
    return MemoryLayer(diff_id=Digest.of(plain), descriptor=descriptor, data=data, opened=[])


def image_of(*layers: MemoryLayer, architecture: str = "", **config: object) -> Image:
    data = {
        "architecture": architecture or Platform.host().architecture,
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [str(each.diff_id) for each in layers]},
    }
    return Image(config=ImageConfig.from_json(data), layers=layers, name="made")


def source(own: OwnEngine, name: str, *, exact: bool = True) -> Image:
    return DaemonSource(Location.parse(f"docker-daemon:{name}"), own.options, exact=exact).open()


def destination(own: OwnEngine, name: str) -> DaemonDestination:
    return DaemonDestination(Location.parse(f"docker-daemon:{name}"), own.options)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def remove(own: OwnEngine, *names: str) -> None:
    with own.client() as client:
        for name in names:
            client.remove_image(name)


def test_two_opens_give_the_engines_own_bytes(own: OwnEngine) -> None:
    first, second = source(own, TINY), source(own, TINY)
    assert first.config.raw == second.config.raw
    assert first.config.digest == first.image_id
    stored = own.folder / "data" / "image" / "overlay2" / "imagedb" / "content" / "sha256" / first.config.digest.encoded
    if stored.exists():  # where the Engine's storage driver keeps it
        assert first.config.raw == stored.read_bytes()
    assert first.config.config["Volumes"] == {"/data": {}}
    assert len(first.config.history) == len(first.layers) == 1


def test_layers_are_read_and_verified(own: OwnEngine) -> None:
    for each in source(own, TINY).layers:
        with each.open() as reader:
            data = reader.read()
        assert Digest.of(data) == each.diff_id == each.descriptor.digest
        assert len(data) == each.descriptor.size
        assert each.origin == Origin(store="engine", place=own.url)


def test_a_layer_that_is_another_is_refused(own: OwnEngine) -> None:
    (each,) = source(own, BARE).layers
    wrong = replace(each, diff_id=Digest.of(b"other"))
    with wrong.open() as reader, pytest.raises(IntegrityError):
        reader.read()


def test_the_spool_has_no_name_and_goes_with_its_layers(own: OwnEngine, tmp_path: Path) -> None:
    options = replace(own.options, environ={**own.options.environ, "TMPDIR": str(tmp_path)})
    image = DaemonSource(Location.parse(f"docker-daemon:{TINY}"), options).open()
    before = open_files()
    assert image.layers[0].descriptor.size > 0
    assert list(tmp_path.iterdir()) == []
    assert open_files() > before
    del image
    assert open_files() == before


def test_names_that_are_not_there(own: OwnEngine) -> None:
    with pytest.raises(NotFoundError, match="image 'nothing:latest' is not in the Docker Engine"):
        source(own, "nothing")
    for name in ("sha256:" + "a" * 64, "x@sha256:" + "a" * 64):
        with pytest.raises(UsageError, match="needs a name with a tag"):
            destination(own, name)


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_an_image_is_written_and_read_back(own: OwnEngine, compression: str) -> None:
    layers = (layer({"a": b"1" * 5000}, compression), layer({"b": b"2"}, compression), layer({"a": b"3"}, compression))
    image = image_of(*layers, Cmd=["/x"], Labels={"weird": "<&> \u2028 é \\ \" '"})
    written = destination(own, "written").write(image)
    assert written.image_id == image.config.digest
    found = source(own, "written:latest")
    assert found.config.raw == image.config.raw
    for mine, theirs in zip(layers, found.layers, strict=True):
        with theirs.open() as reader:
            assert Digest.of(reader.read()) == mine.diff_id
    approximate = source(own, "written", exact=False)
    assert approximate.config.config == image.config.config
    assert approximate.config.diff_ids == image.config.diff_ids
    remove(own, "written")


def test_only_layers_that_the_engine_lacks_are_sent(own: OwnEngine) -> None:
    shared, upper, other = layer({"s": b"s"}), layer({"u": b"u"}), layer({"o": b"o"})
    destination(own, "one").write(image_of(shared, upper))
    assert len(shared.opened) == len(upper.opened) == 1
    account = Account()
    options = replace(own.options, account=account)
    DaemonDestination(Location.parse("two"), options).write(image_of(shared, upper, other, Cmd=["x"]))
    assert (len(shared.opened), len(upper.opened), len(other.opened)) == (1, 1, 1)
    assert account.uploaded_bytes == len(other.data)
    assert account.existing_blobs == 2
    # The same layer on another chain is another layer to the Engine.
    destination(own, "three").write(image_of(upper))
    assert len(upper.opened) == 2
    remove(own, "one", "two", "three")


def test_an_unchanged_image_is_only_tagged(own: OwnEngine) -> None:
    image = source(own, TINY)
    written = [destination(own, name).write(image) for name in ("again:1", "again:2", "localhost:5000/again:3")]
    assert {each.image_id for each in written} == {image.image_id}
    remove(own, "again:1", "again:2", "localhost:5000/again:3")


def test_a_changed_config_moves_no_layer(own: OwnEngine) -> None:
    account = Account()
    options = replace(own.options, account=account)
    image = DaemonSource(Location.parse(f"docker-daemon:{TINY}"), options).open()
    changed = image.with_config(image.config.with_config(Labels={"a": "b"}))
    written = DaemonDestination(Location.parse("changed:1"), options).write(changed)
    assert written.image_id == changed.config.digest
    assert (account.uploaded_bytes, account.read_bytes) == (0, 0)
    remove(own, "changed:1")


def test_a_further_step_makes_a_child(own: OwnEngine) -> None:
    image = source(own, TINY)
    history = [*image.config.history, {"created_by": "further", "empty_layer": True}]
    destination(own, "child").write(image.with_config(image.config.evolve(history=history)))
    with own.client() as client:
        assert client.inspect_image("child")["Parent"] == image.image_id
    assert source(own, "child").config.history == tuple(history)
    remove(own, "child")


def test_of_an_index_the_image_for_this_machine_is_written(own: OwnEngine) -> None:
    images = [
        image_of(layer({"f": name.encode()}), architecture=name) for name in ("s390x", Platform.host().architecture)
    ]
    entries = [
        Descriptor(
            media_type="application/vnd.oci.image.manifest.v1+json", digest=m.digest, size=1, platform=i.platform
        )
        for i in images
        for m in [i.to_manifest()]
    ]
    children = {entry.digest: image for entry, image in zip(entries, images, strict=True)}
    index = ImageIndex(index=Index.of(entries), open_manifest=lambda entry: children[entry.digest], name="both")
    assert destination(own, "chosen").write(index).image_id == images[1].config.digest
    remove(own, "chosen")


def test_a_broken_layer_leaves_the_old_name(own: OwnEngine) -> None:
    good = image_of(layer({"g": b"g"}))
    destination(own, "kept").write(good)
    bad = layer({"b": b"b"})
    lying = replace(bad, diff_id=Digest.of(b"lie"))
    with pytest.raises(RemoteError, match="engine refused image 'kept:latest'"):
        destination(own, "kept").write(image_of(lying))
    short = replace(bad, descriptor=replace(bad.descriptor, size=len(bad.data) + 1))
    with pytest.raises(RemoteError, match="bytes where"):
        destination(own, "kept").write(image_of(short))
    assert source(own, "kept").config.raw == good.config.raw
    remove(own, "kept")


def test_a_replaced_image_goes_when_it_carries_our_stamp(own: OwnEngine) -> None:
    stamped = {"ai.tensorchord.envd.runtimeGraph.version": "v1"}
    first = destination(own, "moving").write(image_of(layer({"1": b""}), Labels=stamped))
    second = destination(own, "moving").write(image_of(layer({"2": b""})))
    assert first.image_id not in own.images()
    third = destination(own, "moving").write(image_of(layer({"3": b""})))
    assert own.dangling() == {second.image_id}  # that one nobody says to be ours
    remove(own, "moving", str(second.image_id))
    assert third.image_id not in own.images()


def test_deep_histories_and_histories_without_times(own: OwnEngine) -> None:
    layers = [layer({f"f{number}": b""}) for number in range(5)]
    image = image_of(*layers)
    history = [{"created_by": f"step {n}", **({"empty_layer": True} if n % 3 else {})} for n in range(15)]
    image = image.with_config(image.config.evolve(history=history, created="2024-01-02T03:04:05.123456789Z"))
    destination(own, "deep").write(image)
    assert source(own, "deep").config.raw == image.config.raw
    remove(own, "deep")


def test_an_engine_that_holds_all_is_asked_little(own: OwnEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    image = source(own, TINY)
    asked: list[str] = []
    call = Engine.call

    def counted(self: Engine, method: str, path: str, **more: object) -> object:
        asked.append(path)
        return call(self, method, path, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "call", counted)
    destination(own, "few").write(image.with_config(image.config.with_config(Cmd=["y"])))
    assert "/images/json" not in asked
    assert len(asked) <= 8
    remove(own, "few")


def test_sizes_are_those_of_the_bytes(own: OwnEngine) -> None:
    manifest = source(own, BARE).to_manifest()
    assert manifest.layers[0].media_type == "application/vnd.oci.image.layer.v1.tar"
    assert manifest.config.digest == hashlib.sha256(source(own, BARE).config.raw).hexdigest().join(["sha256:", ""])
    assert json.loads(manifest.raw)["schemaVersion"] == 2
