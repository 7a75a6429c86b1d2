"""Deflate data taken up in its middle (RFC 1951): where blocks begin, and how to go on from one of them.

A block of deflate data begins at any bit, and nothing marks it. It is found by what its header must look like: of the
bits of some kilobytes all places are looked at together, as the bits of large integers, and the few that could be a
header are tried. From a block's first bit and the 32 KiB that came before it unfolds like from the beginning of all.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

WINDOW = 1 << 15
"""Bytes that a block may refer back to."""
_STEP = 1 << 12  # bytes that are looked at together
_HEADER = 64  # bytes: more than the part of a header that is looked at
_TRIAL = 1 << 13  # bytes that a place is tried with
_PROOF = 2048  # bytes that come out of it where it is a block
_LENGTHS = 19  # code lengths of the code for code lengths (section 3.2.7)


def find_block(data: bytes) -> int | None:
    """Return the first bit of `data` that seems to begin a block, None where none does.

    Only blocks with codes of their own are found, which are nearly all. Whether it is one shows for certain when what
    comes out of it is compared with what comes out of all.
    """
    for start in range(0, len(data) - _TRIAL, _STEP):
        for bit in _candidates(data[start : start + _STEP + _HEADER]):
            place = 8 * start + bit
            if _unfolds(data, place):
                return place
    return None


def _unfolds(data: bytes, place: int) -> bool:
    """Tell whether something comes out of a place; what it refers back to does not matter.

    This is zlib, because ISA-L takes codes that are not complete.
    """
    trial = zlib.decompressobj(-15, zdict=_NOTHING)
    try:
        trial.decompress(lead(place & 7)[:-1])
        made = trial.decompress(aligned(place & 7, data[place >> 3 : (place >> 3) + _TRIAL]), _PROOF)
    except zlib.error:
        return False
    return len(made) >= _PROOF


_NOTHING = bytes(WINDOW)


def resumed(bit: int, window: bytes) -> Any:
    """Return a decompressor that goes on at `bit` of the first byte it is given, which `aligned` has prepared.

    `window` is what came out before, as far as it may be referred to.
    """
    from isal import igzip_lib

    member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE, zdict=window)
    member.decompress(lead(bit)[:-1])
    return member


def aligned(bit: int, data: bytes) -> bytes:
    """Return the first bytes of what goes on at `bit`: the bits before it belong to the lead that was fed already."""
    if not bit or not data:
        return data
    return bytes([data[0] & -(1 << bit) & 0xFF | lead(bit)[-1]]) + data[1:]


@cache
def lead(bit: int) -> bytes:
    """Return blocks that hold nothing and end at `bit` of the last byte, which is to be shared with what follows."""
    bits = _odd_block() if bit & 1 else ""
    while len(bits) % 8 != bit:
        bits += "010" + "0000000"  # not the last, fixed codes, end of block: ten bits
    whole = bits + "0" * (-len(bits) % 8)
    packed = bytes(int(whole[at : at + 8][::-1], 2) for at in range(0, len(whole), 8))
    return packed if len(bits) % 8 else packed + b"\0"


def _odd_block() -> str:
    """Return the bits of a block that holds nothing, an odd number of them (section 3.2.7)."""
    # Codes for code lengths: 0 for "0", 10 for "1", 11 for "a run of zeros"; in the order of the specification.
    lengths = [0] * _LENGTHS
    lengths[2], lengths[3], lengths[17] = 2, 1, 2  # of symbols 18, 0 and 1
    header = "001" + "00000" + "10000" + "0111"  # 257 literals, 2 distances, 18 lengths, lowest bit first
    codes = "".join(_lowest_first(length, 3) for length in lengths[:18])
    zeros = "11" + _lowest_first(138 - 11, 7) + "11" + _lowest_first(116 - 11, 7) + "0"  # 255 literals without code
    return header + codes + zeros + "10" * 4 + "1"  # two literals and two distances of one bit each; end of block


def _lowest_first(number: int, count: int) -> str:
    return "".join(str(number >> place & 1) for place in range(count))


def _candidates(data: bytes) -> Iterator[int]:
    """Yield the bits of `data` at which the header of a block with codes of its own could stand.

    Bit i of each integer below says something of the header that would begin at bit i of the data. Nothing is inverted:
    Python's operations on negative integers take several times as long.
    """
    x = int.from_bytes(data, "little")
    cannot = x | x >> 1  # the last block, no codes of its own
    for count in (3, 8):  # more than 286 literals, more than 30 distances
        cannot |= x >> count + 1 & x >> count + 2 & x >> count + 3 & x >> count + 4
    may = ((1 << 8 * (len(data) - _HEADER)) - 1) & x >> 2 & _complete(x)
    may ^= may & cannot
    while may:
        low = may & -may
        yield low.bit_length() - 1
        may ^= low


def _complete(x: int) -> int:
    """Return where the code for code lengths has each code once: 2^-length over all of them comes to one.

    The sum is kept in bits across integers, in units of 1/128: `total` has those below one, `over` what is more.
    """
    there = _at_least([x >> 13 + place for place in range(4)])  # of lengths beyond the first four
    total, whole, over = [0] * 7, 0, 0
    for number in range(_LENGTHS):
        one, two, four = (x >> 17 + 3 * number + place for place in range(3))
        if number > 3:
            told = there[number - 4]
            one, two, four = one & told, two & told, four & told
        three = one & two
        one, two = one ^ three, two ^ three
        seven, six, five = four & three, four & two, four & one
        units = (seven, six, five, four ^ seven ^ six ^ five, three ^ seven, two ^ six, one ^ five)
        carry = 0
        for unit, more in enumerate(units):
            held = total[unit]
            both = held ^ more
            total[unit], carry = both ^ carry, held & more | carry & both
        over |= whole & carry
        whole ^= carry
    for plane in total:
        over |= plane
    return whole ^ (whole & over)


def _at_least(bits: list[int]) -> list[int]:
    """Return where the number that stands in some bits, the lowest first, is at least 1, 2 and so on."""
    found: list[int] = []
    for bit in bits:
        found = [*(bit | least for least in found), bit, *(bit & least for least in found)]
    return found
