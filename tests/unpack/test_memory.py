"""Memory stays flat: many entries and large files cost no more than few and small ones."""

import gzip
import os
import sys
from pathlib import Path

import pytest

from runtimeimg.image.layertar import Entry
from runtimeimg.image.tarwrite import header
from tests.hostile.bounded import ROOT, run
from tests.unpack.layouts import write_blobs
from tests.unpack.test_kills import PROGRAM
from tests.unpack.trees import archive, entry

THOUSANDS = int(os.environ.get("RUNTIMEIMG_EXAMPLES") or 10)
MOST = 150
pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices are set by root")]


def unpacked(tmp_path: Path, *layers: bytes) -> float:
    """Unpack layers in a process of its own and return its resident memory at its highest, in MiB."""
    write_blobs(tmp_path / "images", layers)
    argv = [sys.executable, "-c", PROGRAM, f"oci:{tmp_path}/images:1", str(tmp_path / "root")]
    done = run(argv, env={**os.environ, "PYTHONPATH": str(ROOT)}, processor=600, wall=900)
    assert done.code == 0, done.said
    return done.memory


def test_many_entries_over_a_lower_layer(tmp_path: Path) -> None:
    base = gzip.compress(archive(entry(b"d", "d", mode=0o755)))
    many = bytearray()
    for number in range(1000 * THOUSANDS):
        if number % 100 == 0:
            many += entry(b"d/%d" % (number // 100), "d", mode=0o755)
        many += entry(b"d/%d/a-name-that-is-not-short-%d" % (number // 100, number), data=b"%d" % number)
    over = gzip.compress(bytes(many) + bytes(1024), 1)
    assert unpacked(tmp_path, base, over) < MOST
    assert sum(len(files) for _, _, files in os.walk(tmp_path / "root")) == 1000 * THOUSANDS


def test_a_large_file(tmp_path: Path) -> None:
    size = 200 << 20
    piece = os.urandom(1 << 19) + bytes(1 << 19)
    large = header(Entry(b"large", "f", 0o644, 0, 0, size, 1)) + piece * (size >> 20) + bytes(1024)
    assert unpacked(tmp_path, gzip.compress(large, 1)) < MOST
    assert (tmp_path / "root" / "large").stat().st_size == size
