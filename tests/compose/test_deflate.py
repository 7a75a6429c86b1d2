"""Blocks of deflate data are found where the format says that their headers may be."""

from __future__ import annotations

import random
import zlib

import pytest

from runtimeimg.image.deflate import find_block


def could_begin(bits: int) -> bool:
    """Tell whether these are the bits of a header of a block with codes of its own, not the last one (RFC 1951)."""
    last, kind, literals, distances, lengths = bits & 1, bits >> 1 & 3, bits >> 3 & 31, bits >> 8 & 31, bits >> 13 & 15
    if last or kind != 2 or literals > 29 or distances > 29:
        return False
    codes = [bits >> 17 + 3 * number & 7 for number in range(lengths + 4)]
    return sum(128 >> length for length in codes if length) == 128


def unfolds(data: bytes) -> bool:
    try:
        return len(zlib.decompressobj(-15, zdict=bytes(1 << 15)).decompress(data, 2048)) == 2048
    except zlib.error:
        return False


def first(data: bytes) -> int | None:
    """Return the first bit that may begin a block, one bit looked at after the other."""
    whole = int.from_bytes(data, "little")
    for place in range(8 * (len(data) - (1 << 13))):
        near = int.from_bytes(data[place // 8 : place // 8 + 10], "little") >> place % 8
        if could_begin(near) and unfolds((whole >> place).to_bytes(len(data), "little")):
            return place
    return None


@pytest.mark.parametrize("seed", range(6))
def test_the_first_block_is_found(seed: int) -> None:
    made = random.Random(seed)
    words = [made.randbytes(made.randint(2, 9)) for _ in range(3000)]
    packed = zlib.compress(b"".join(made.choice(words) for _ in range(60_000)), 1 + seed)
    data = packed[made.randrange(1, 60_000) :][: 1 << 16]
    assert find_block(data) == first(data) is not None


def test_noise_has_no_block() -> None:
    noise = random.Random(1).randbytes(1 << 14)
    assert find_block(noise) is None
    assert first(noise) is None
