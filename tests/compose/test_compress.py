"""Layer blobs: the same stream gives the same bytes, on any machine and however it came."""

import gzip
import hashlib
import io
import itertools

import pytest

from runtimeimg.errors import UsageError
from runtimeimg.image.compress import GZIP_BLOCK, BlobWriter, Compression, Packed
from runtimeimg.image.decompress import Unfolded
from runtimeimg.oci import Digest

STREAM = b"".join(b"%d:%x\n" % (number, number * number) for number in range(200_000))


def packed(stream: bytes, name: str, piece: int = 1 << 20) -> tuple[Packed, bytes]:
    out = io.BytesIO()
    with BlobWriter(out, Compression.parse(name)) as writer:
        for at in range(0, len(stream), piece):
            writer.write(stream[at : at + piece])
        return writer.finish(), out.getvalue()


def test_the_bytes_of_a_release_do_not_change():
    """Whoever changes this on purpose says so in the changelog: images that were built before get other digests."""
    assert len(STREAM) > 2 * GZIP_BLOCK
    digests = {name: hashlib.sha256(packed(STREAM, name)[1]).hexdigest()[:16] for name in ("gzip", "gzip:6", "gzip:9")}
    assert digests == {"gzip": "8a73a8c1eeace90e", "gzip:6": "6b295ae3b1740c7e", "gzip:9": "396719cc9a9ad3b3"}


@pytest.mark.parametrize("name", ["gzip", "gzip:9", "zstd", "zstd:19", "none"])
@pytest.mark.parametrize("size", [0, 1, GZIP_BLOCK, GZIP_BLOCK + 1, len(STREAM)])
def test_any_stream_comes_back(name, size):
    stream = STREAM[:size]
    result, blob = packed(stream, name)
    assert b"".join(Unfolded(iter([blob]), "blob")) == stream
    assert result.diff_id == Digest.of(stream)
    assert (result.descriptor.digest, result.descriptor.size) == (Digest.of(blob), len(blob))


@pytest.mark.parametrize("name", ["gzip", "zstd", "none"])
def test_it_does_not_matter_in_which_pieces_it_came(name):
    assert len({packed(STREAM, name, piece)[1] for piece in (1000, 65_537, GZIP_BLOCK, len(STREAM))}) == 1


def test_any_reader_of_gzip_takes_it():
    _, blob = packed(STREAM, "gzip")
    assert gzip.decompress(blob) == STREAM


def test_it_says_nothing_of_the_machine():
    """RFC 1952, section 2.3: no flags, no time, an unknown system."""
    _, blob = packed(STREAM, "gzip")
    assert (blob[3], blob[4:8], blob[9]) == (0, bytes(4), 255)


@pytest.mark.parametrize("name", ["gzip:0", "gzip:10", "zstd:20", "gzip:x", "none:1", "lzma", ""])
def test_what_is_not_known_is_refused(name):
    with pytest.raises(UsageError):
        Compression.parse(name)


def test_levels_are_levels():
    sizes = [packed(STREAM, f"gzip:{level}")[0].descriptor.size for level in (1, 6, 9)]
    assert all(one > other for one, other in itertools.pairwise(sizes))
