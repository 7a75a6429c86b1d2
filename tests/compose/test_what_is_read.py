"""What the native builder reads: each layer once, layers that hold nothing wanted never again, kept blobs first."""

import hashlib
import os

import pytest

from runtimeimg.cache import Cache
from runtimeimg.errors import IntegrityError
from runtimeimg.image import Origin

from .images import MemoryLayer, contents, file, folder, image, plan, symlink, tar

BASE = image("base", [folder("usr")])


def names(entries):
    return [entry.path.decode() for entry in entries]


def test_a_second_build_opens_no_layer_and_another_plan_only_those_that_hold_something(compose, tmp_path):
    layers = [MemoryLayer(tar([file(f"f{number}")])) for number in range(3)]
    base = image("base", MemoryLayer(tar([folder("usr")])))
    composer = compose(base=base, builder=image("builder", *layers))
    cache = tmp_path / "cache"

    def opened(build_plan):
        before = [layer.opened for layer in (*base.layers, *layers)]
        with composer.build(build_plan, cache_dir=cache) as built:
            assert built.layers[-1].open().read()
        return [layer.opened - count for layer, count in zip((*base.layers, *layers), before, strict=True)]

    assert opened(plan([("/f1", "/x")])) == [1, 1, 1, 1]
    assert opened(plan([("/f1", "/x")])) == [0, 0, 0, 0]
    assert opened(plan([("/f2", "/x")])) == [0, 0, 0, 1]
    assert composer.options.account.to_json()["cacheHits"] == 5


def test_base_layers_that_the_builder_has_too_are_read_once(compose):
    shared = MemoryLayer(tar([folder("usr"), file("usr/x")]))
    composer = compose(base=image("base", shared), builder=image("builder", shared, [file("y")]))
    assert names(composer.entries([("/usr/x", "/usr/z")])) == ["usr", "usr/z"]
    assert shared.opened == 1


def test_link_does_not_look_into_the_base(compose):
    base = image("base", [symlink("lib", "usr/lib"), folder("usr")])
    composer = compose(base=base, builder=image("builder", [file("x")]))
    assert names(composer.entries([("/x", "/lib/x")], options={"link": "true"})) == ["lib", "lib/x"]
    assert [layer.opened for layer in base.layers] == [0]


def test_a_damaged_cache_is_made_again(compose, tmp_path):
    composer = compose(base=BASE, builder=image("builder", [file("x")]))
    first = composer.entries([("/x", "/y")], cache_dir=tmp_path / "cache")
    for path in (tmp_path / "cache").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert composer.entries([("/x", "/y", "0")], cache_dir=tmp_path / "cache") == first


@pytest.mark.parametrize(
    "items",
    [
        [symlink("s/link", "target"), file("s/target", b"!")],
        [symlink("link", "/t/x"), folder("t"), file("t/x", b"!")],
        [symlink("link", "one"), symlink("one", "two"), file("two", b"!")],
        [symlink("link", "z"), folder("z"), file("z/a", b"!"), file("z/b", b"!")],
        [symlink("s", "z/y"), file("z/y/link", b"!")],
    ],
)
def test_a_copied_symlink_does_not_make_its_layer_be_read_twice(compose, items):
    layer = MemoryLayer(tar(items))
    composer = compose(base=BASE, builder=image("builder", layer))
    source = "/link" if any(item.path == "link" for item in items) else "/s/link"
    with composer.build(plan([(source, "/x")])) as built:
        assert set(contents(built.layers[-1]).values()) == {b"!"}
    assert layer.opened == 1


@pytest.mark.parametrize("options", [{}, {"no_cache": True}])
def test_a_symlink_to_what_came_before_it_does_not_make_its_layer_be_downloaded_twice(compose, tmp_path, options):
    layer = registry_layer(file("a", b"!"), symlink("link", "a"))
    composer = compose(base=BASE, builder=image("builder", layer))
    with composer.build(plan([("/link", "/x")]), cache_dir=tmp_path / "cache", **options) as built:
        assert contents(built.layers[-1]) == {b"x": b"!"}
    assert layer.opened == 1


def test_a_file_of_the_cache_is_never_written_to(compose, tmp_path):
    composer = compose(base=BASE, builder=image("builder", [file("x"), file("y")]))
    made, request = plan([("/x", "/x"), ("/y", "/y")]), {"cache_dir": tmp_path / "cache"}
    with composer.build(made, **request, options={"layers": "copy"}) as built:
        first, second = (layer.descriptor.digest.encoded for layer in built.layers[-2:])
    place = tmp_path / "cache/v1/layer"
    os.link(place / first[:2] / first, tmp_path / "kept")
    (place / second[:2] / second).unlink()
    with composer.build(made, **request, options={"layers": "copy"}):
        assert hashlib.sha256((tmp_path / "kept").read_bytes()).hexdigest() == first
        assert [layer.descriptor.digest.encoded for layer in built.layers[-2:]] == [first, second]


def test_the_history_names_the_images_of_this_build(compose, tmp_path):
    layer = MemoryLayer(tar([file("x")]))
    composer = compose(base=BASE, one=image("one", layer), two=image("two", layer))
    told = []
    for builder in ("one", "two"):
        with composer.build(plan([("/x", "/y")], builder=builder), cache_dir=tmp_path / "cache") as built:
            told.append(built.config.history[-1]["created_by"])
    assert told == ["COPY --from=one /x /y", "COPY --from=two /x /y"]
    assert layer.opened == 1


# Layers of registries are kept


def registry_layer(*items):
    layer = MemoryLayer(tar(items))
    layer.origin = Origin(store="registry", place="registry.example/app")
    return layer


@pytest.fixture
def fat():
    """The layer that a builder's next image has too."""
    return registry_layer(file("app/module", b"module"))


@pytest.fixture
def built(compose, tmp_path, fat):
    """Call it with a builder's top layer: builds on `fat`, returns the new layer's files."""

    def build(top, cache=tmp_path / "cache"):
        composer = compose(base=BASE, builder=image("builder", fat, top))
        with composer.build(plan([("/app", "/app")]), cache_dir=cache) as made:
            return contents(made.layers[-1])

    return build


def test_a_layer_that_held_something_is_downloaded_once(built, fat, tmp_path):
    assert built(registry_layer(file("app/main", b"1"))) == {b"app/main": b"1", b"app/module": b"module"}
    assert built(registry_layer(file("app/main", b"2"))) == {b"app/main": b"2", b"app/module": b"module"}
    assert fat.opened == 1
    assert Cache(tmp_path / "cache").info().files["blob"] == 3


def test_another_service_of_the_same_builder_image_downloads_nothing(compose, fat, tmp_path):
    other = registry_layer(file("etc/x", b"x"))
    composer = compose(base=BASE, builder=image("builder", fat, other))
    for source, found in (("/app", {b"t/module": b"module"}), ("/etc", {b"t/x": b"x"})):
        with composer.build(plan([(source, "/t")]), cache_dir=tmp_path / "cache") as made:
            assert contents(made.layers[-1]) == found
    assert (fat.opened, other.opened) == (1, 1)


def test_layers_of_this_machine_are_not_kept(built, fat, tmp_path):
    fat.origin = Origin(store="file", place="/somewhere")
    built(MemoryLayer(tar([file("app/main")])))
    assert Cache(tmp_path / "cache").info().files["blob"] == 0


@pytest.mark.parametrize("damage", [lambda data: data[:-1] + b"?", lambda data: data[:-1], lambda _: b""])
def test_a_damaged_blob_is_downloaded_again(built, fat, tmp_path, damage):
    built(registry_layer(file("app/main", b"1")))
    for path in (tmp_path / "cache" / "v1" / "blob").rglob("*"):
        if path.is_file():
            path.write_bytes(damage(path.read_bytes()))
    assert built(registry_layer(file("app/main", b"2"))) == {b"app/main": b"2", b"app/module": b"module"}
    assert fat.opened == 2
    assert built(registry_layer(file("app/main", b"3")))[b"app/main"] == b"3"
    assert fat.opened == 2


def test_a_blob_that_is_not_what_its_digest_says_is_not_kept(built, fat, tmp_path):
    fat.blob = fat.blob[:-1] + b"?"
    with pytest.raises(IntegrityError):
        built(registry_layer(file("app/main")))
    assert Cache(tmp_path / "cache").info().files["blob"] <= 1
    assert not list((tmp_path / "cache" / "v1" / "tmp").iterdir())


def test_a_blob_that_cannot_be_written_costs_no_build(built, fat, tmp_path, monkeypatch):
    monkeypatch.setattr("runtimeimg.compose.blobs._written", lambda *_: False)
    assert built(registry_layer(file("app/main")))
    assert Cache(tmp_path / "cache").info().files["blob"] == 0
    assert built(registry_layer(file("app/other")))
    assert fat.opened == 2


# What a build has downloaded is not downloaded again to be written somewhere


@pytest.fixture
def of_a_base(compose, tmp_path):
    """Call it to build on a base of a registry; returns its layer, and what whoever writes it reads of that."""
    below = registry_layer(folder("etc"), file("etc/os", b"x"))

    def read(spoil=lambda path: None):
        composer = compose(base=image("base", below), builder=image("builder", [file("app/x", b"1")]))
        with composer.build(plan([("/app", "/app")]), cache_dir=tmp_path / "cache") as made:
            for path in (tmp_path / "cache").rglob("base-*"):
                spoil(path)
            with made.layers[0].open() as blob:
                return below, blob.read()

    return read


def test_a_base_layer_that_was_downloaded_is_written_out_of_the_cache(of_a_base):
    below, data = of_a_base()
    assert data == below.blob
    assert below.opened == 1
    below, data = of_a_base()
    assert (data, below.opened) == (below.blob, 1)


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"?"), lambda path: path.unlink()])
def test_a_base_layer_whose_file_is_damaged_or_gone_is_downloaded_again(of_a_base, spoil):
    below, data = of_a_base(spoil)
    assert data == below.blob
    assert below.opened == 2
