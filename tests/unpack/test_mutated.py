"""Layers with bytes changed at random: a tree or an error of ours, and nothing outside."""

import os
import random
import shutil
from pathlib import Path

import pytest

from runtimeimg.errors import RuntimeimgError
from runtimeimg.unpack import unpack
from tests.compose.images import MemoryLayer, image
from tests.unpack.generated import layers
from tests.unpack.trees import tree

COUNT = int(os.environ.get("RUNTIMEIMG_EXAMPLES") or 60)
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices are set by root")


def mutated(chance: random.Random, layer: bytes) -> bytes:
    """A layer with a few fields of its headers changed, their sums put right, or with bytes changed anywhere."""
    data = bytearray(layer)
    headers = [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"]
    for _ in range(chance.randint(1, 4)):
        at = chance.choice(headers)
        kind = chance.randrange(6)
        if kind == 0:
            data[at + 156] = chance.choice(b"01234567xLKgSZ\0")
        elif kind == 1:
            name = chance.choice(
                [b"../../canary/secret", b"/", b".", b"a", b"lib", b".wh.a", b".wh..wh..opq", b"a/../b"]
            )
            data[at : at + 100] = name.ljust(100, b"\0")
        elif kind == 2:
            data[at + 157 : at + 257] = chance.choice([b"../../canary", b"/", b"..", b"lib", b"a"]).ljust(100, b"\0")
        elif kind == 3:
            where, size = chance.choice([(100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (329, 8), (337, 8)])
            data[at + where : at + where + size] = chance.choice([b"\xff", b"7", b"\x80", b"\0", b" "]) * size
        elif kind == 4:
            del data[at : at + 512 * chance.randint(1, 3)]
        else:
            data[chance.randrange(len(data))] = chance.randrange(256)
        headers = [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"] or [0]
    if chance.random() < 0.9:
        for at in headers:
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    return bytes(data)


@pytest.mark.parametrize("rootless", [False, True])
def test_mutated_layers(tmp_path: Path, rootless: bool) -> None:
    outside = tmp_path / "canary"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    before = tree(outside)
    trees = errors = 0
    for seed in range(COUNT):
        chance = random.Random(seed)
        changed = [mutated(chance, layer) for layer in layers(seed)]
        place = tmp_path / "place"
        place.mkdir()
        try:
            unpack(image("test", *map(MemoryLayer, changed)), place / "root", rootless=rootless)
            trees += 1
        except RuntimeimgError:
            errors += 1
            assert list(place.iterdir()) == [], seed
        assert tree(outside) == before, seed
        shutil.rmtree(place)
    assert trees
    assert errors
