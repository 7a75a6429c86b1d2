"""Zstd frames of layers that want much memory: small layers that declare it, and one at a time."""

import gzip
import random
import threading
from dataclasses import replace

import pytest

from runtimeimg.compose import parted
from runtimeimg.compose.layers import LayerRef
from runtimeimg.compose.spool import Spool
from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image.zstd import zstd

from .images import file, tar
from .test_sparse import RemoteLayer, ranges_of
from .test_tables import COPIES, ITEMS, table_of, world_of, zstd_chunked


def wide(part: bytes) -> bytes:
    """Return a frame that wants 32 MiB of memory to be unfolded."""
    frame = zstd().ZstdCompressor(options={zstd().CompressionParameter.window_log: 25})
    return frame.compress(part) + frame.flush()


def test_what_memory_a_frame_may_want_goes_by_the_blob(monkeypatch, tmp_path):
    archive = tar([*ITEMS, file("unwanted", random.Random(2).randbytes(600_000))])
    plain = world_of(monkeypatch, tmp_path, RemoteLayer(gzip.compress(archive))).digest(COPIES[0])
    large = zstd_chunked(archive, pack=wide)
    assert world_of(monkeypatch, tmp_path, large).digest(COPIES[0]) == plain
    assert large.opened == 0


@pytest.mark.parametrize("by_table", [True, False])
def test_small_layers_with_large_windows_are_read_where_they_use_little_of_them(monkeypatch, tmp_path, by_table):
    """As skopeo writes them: each frame declares 32 MiB, also in a layer of some hundred bytes."""
    plain = world_of(monkeypatch, tmp_path, RemoteLayer(gzip.compress(tar(ITEMS)))).digest(COPIES[0])
    small = zstd_chunked(tar(ITEMS), pack=wide)
    if not by_table:
        small.descriptor = replace(small.descriptor, annotations={})
    assert world_of(monkeypatch, tmp_path, small).digest(COPIES[0]) == plain
    assert bool(small.opened) != by_table


def test_small_layers_that_use_large_windows_are_refused(monkeypatch, tmp_path):
    small = RemoteLayer(wide(tar([*ITEMS, file("zeros", bytes(20 << 20))])))
    with pytest.raises(InvalidDocumentError, match="a zstd frame wants 32 MiB of memory for so small a blob"):
        world_of(monkeypatch, tmp_path, small).digest(COPIES[0])


@pytest.fixture
def large_windows(monkeypatch):
    """Return what a thread holds while it unfolds a frame that wants much memory."""
    lock = threading.Lock()
    monkeypatch.setattr("runtimeimg.image.decompress._large_windows", lock)
    return lock


def test_what_goes_wrong_with_a_part_leaves_large_windows_to_others(large_windows):
    """Frames that want much memory are unfolded one at a time, and what was raised may be kept for long."""
    layer = zstd_chunked(tar([file("x", random.Random(3).randbytes(600_000))]), pack=wide)
    parts = table_of(layer)[1]
    ref = LayerRef.of(layer, "image")
    with Spool(None) as spool:
        ranges = parted.ranges(parts.of([0]))
        with parted.PartReader(ranges, (), ranges_of(layer.blob), ref, spool) as reader:
            next(reader.read(next(parts.of([0]))))
            assert large_windows.locked()
        assert not large_windows.locked()


def test_what_goes_wrong_with_a_table_leaves_large_windows_to_others(monkeypatch, large_windows):
    monkeypatch.setattr("runtimeimg.budgets.FREE_LAYER_TABLE", 24 << 20)
    raw = b'{"version":1,"entries":[{"name":"a","type":"door"}' + b" " * (2 << 20) + b"]}"
    layer = zstd_chunked(tar(ITEMS), lambda _: raw, pack=wide)
    locked = []

    def entry(item):
        locked.append(large_windows.locked())
        raise KeyError(item["type"])

    monkeypatch.setattr("runtimeimg.image.tables._entry", entry)
    with pytest.raises(InvalidDocumentError, match="door") as kept:
        table_of(layer)
    assert locked == [True]
    assert kept.value.__context__ is not None
    assert not large_windows.locked()
