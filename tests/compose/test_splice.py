"""Blocks of deflate data taken over from any bit to any bit, as other readers of gzip see them."""

import gzip
import io
import zlib
from itertools import combinations

import pytest

from runtimeimg.image import marks
from runtimeimg.image.compress import BlobWriter, Compression, Packed
from runtimeimg.image.splice import Splice
from runtimeimg.oci import Digest

from .test_sparse import index_of, prose, ranges_of
from .test_sparse import packed as packed_by


class Text:
    """Data packed by somebody else, as blobs that some of its blocks were taken over into."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.packed = packed_by("gzip6", data)
        with pytest.MonkeyPatch.context() as closer:
            closer.setattr(marks, "SPACING", 5_000)
            self.spans, _ = index_of(self.packed)

    def spliced(self, bit: int, end: int | None = None) -> tuple[Packed, bytes]:
        """Return a blob of the data with blocks from a mark at a `bit` of its byte to one at `end`, or at any."""
        spans = self.spans.marks
        bits = [mark.bit % 8 if mark.window else -1 for mark in spans]
        pairs = combinations(range(len(bits)), 2)
        first, last = next((one, two) for one, two in pairs if bits[one] == bit and end in (None, bits[two]))
        mark, behind = spans[first], spans[last]
        splice, out = Splice(mark), io.BytesIO()
        with BlobWriter(out, Compression()) as writer:
            writer.write(self.data[: mark.at - len(mark.window)])
            writer.begin(splice.opening())
            writer.write(mark.window)
            assert writer.checksum() == zlib.crc32(mark.window)
            for number in range(first, last):
                part = self.data[spans[number].at : spans[number + 1].at]
                writer.write(part)
                assert writer.checksum() == zlib.crc32(part)
                pieces = self.spans.verified(range(number, number + 1), ranges_of(self.packed), "blob")
                for piece in splice.blocks(spans[number], pieces):
                    writer.splice(piece)
            writer.splice(splice.closing(behind.bit))
            writer.end()
            writer.write(self.data[behind.at :])
            made = writer.finish()
        return made, out.getvalue()


@pytest.fixture(scope="module")
def long_text():
    return Text(prose(1, 5_000_000))


@pytest.mark.parametrize("bit", range(8))
@pytest.mark.parametrize("end", range(8))
def test_blocks_are_taken_from_any_bit_to_any_bit(long_text, bit, end):
    made, blob = long_text.spliced(bit, end)
    assert gzip.decompress(blob) == long_text.data
    assert made.diff_id == Digest.of(long_text.data)
