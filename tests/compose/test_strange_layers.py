"""Layers that strangers made: refused or handled as the specification says, in bounded memory and time."""

import gzip
import json
import os
import resource

import pytest

from runtimeimg.errors import IntegrityError, InvalidDocumentError, NotFoundError

from .images import Item, MemoryLayer, file, folder, hardlink, image, plan, tar

BASE = image("base", [folder("usr")])


def refused(compose, layer, kind=InvalidDocumentError):
    with pytest.raises(kind) as caught:
        compose(base=BASE, builder=image("builder", layer)).entries([("/x", "/y")])
    return caught.value.message


@pytest.mark.parametrize("items", [[file("../x")], [file("x"), hardlink("y", "../../etc/shadow")], [file(".wh..")]])
def test_layers_that_reach_out_are_refused_by_digest(compose, items):
    layer = MemoryLayer(tar(items))
    assert refused(compose, layer).startswith(f"layer {layer.descriptor.digest} of 'builder'")


def test_changed_bytes_are_refused(compose):
    layer = MemoryLayer(gzip.compress(tar([file("x", os.urandom(5000))])))
    layer.blob = layer.blob[:-9] + b"????" + layer.blob[-5:]
    assert layer.descriptor.digest in refused(compose, layer, (IntegrityError, InvalidDocumentError))
    other = MemoryLayer(tar([file("x")]))
    other.blob = tar([file("y")])
    assert other.descriptor.digest in refused(compose, other, IntegrityError)


def test_bytes_that_change_after_the_table_was_made_are_refused(compose, tmp_path):
    layer = MemoryLayer(tar([file("x"), file("y")]))
    composer = compose(base=BASE, builder=image("builder", layer))
    composer.entries([("/x", "/t")], cache_dir=tmp_path / "cache")
    layer.blob = layer.blob[:-1] + b"?"
    with pytest.raises(IntegrityError):
        composer.entries([("/y", "/t")], cache_dir=tmp_path / "cache")


def test_a_blob_that_ends_early_is_refused(compose):
    archive = tar([file("x", os.urandom(50_000))])
    for layer in (MemoryLayer(gzip.compress(archive)[:30_000]), MemoryLayer(archive[:30_000])):
        assert layer.descriptor.digest in refused(compose, layer)


@pytest.mark.timeout(120)
def test_a_gzip_bomb_is_refused_in_flat_memory(compose, monkeypatch):
    monkeypatch.setattr("runtimeimg.budgets.FREE_UNFOLDED", 256 << 20)
    monkeypatch.setattr("runtimeimg.budgets.HIGH_BYTES", 256 << 20)
    bomb = gzip.compress(bytes(1 << 20)) * 1000
    layer = MemoryLayer(gzip.compress(tar([Item(path="x", data=b"")])[:512]) + bomb)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "unfolds to more than" in refused(compose, layer)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.timeout(120)
def test_many_hard_links_to_elsewhere_are_resolved_in_a_few_rounds(compose):
    items = [
        folder("s"),
        *(file(f"o{n}", b"") for n in range(3000)),
        *(hardlink(f"s/{n}", f"o{n}") for n in range(3000)),
    ]
    assert len(compose(base=BASE, builder=image("builder", items)).entries([("/s", "/t")])) == 3001


def test_hard_links_to_nothing_are_left_out_and_missed_by_name(compose):
    builder = image("builder", [folder("s"), hardlink("s/x", "nowhere")])
    with pytest.raises(NotFoundError, match="'/s/x' does not exist"):
        compose(base=BASE, builder=builder).entries([("/s/x", "/t")])


def test_a_base_without_history_is_counted_right(compose):
    base = image("base", [file("a")], [file("b")])
    data = {key: value for key, value in base.config.data.items() if key != "history"}
    base = base.with_config(type(base.config)(json.dumps(data).encode(), base.config.media_type))
    with compose(base=base, builder=image("builder", [file("x")])).build(plan([("/x", "/y")])) as built:
        assert [entry.get("created_by") for entry in built.config.history] == [None, None, "COPY --from=builder /x /y"]
