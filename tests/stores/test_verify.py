"""No byte leaves a store unchecked."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimeimg.errors import IntegrityError, InvalidDocumentError
from runtimeimg.oci import Descriptor, Digest
from runtimeimg.stores.verify import VerifiedReader, read_all, verified


def described(data: bytes) -> Descriptor:
    return Descriptor(media_type="x/y", digest=Digest.of(data), size=len(data))


def read_in(steps: list[int], reader: VerifiedReader, size: int) -> bytes:
    data = b""
    for step in [*steps, size + 10, 1]:
        data += reader.read(step)
    return data


@given(st.binary(max_size=300), st.lists(st.integers(min_value=1, max_value=100), max_size=5))
def test_right_bytes_pass_however_they_are_read(data: bytes, steps: list[int]) -> None:
    with VerifiedReader(io.BytesIO(data), described(data), "blob") as reader:
        assert read_in(steps, reader, len(data)) == data
        assert reader.read(5) == b""


@given(st.binary(min_size=1, max_size=300), st.lists(st.integers(min_value=1, max_value=100), max_size=5), st.data())
def test_wrong_bytes_never_do(data: bytes, steps: list[int], draw: st.DataObject) -> None:
    at = draw.draw(st.integers(min_value=0, max_value=len(data) - 1))
    wrong = draw.draw(
        st.sampled_from([data[:at], data + b"x", data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], b""])
    )
    with (
        VerifiedReader(io.BytesIO(wrong), described(data), "blob 'x'") as reader,
        pytest.raises(IntegrityError, match="blob 'x'"),
    ):
        read_in(steps, reader, len(data))


def test_the_last_bytes_of_a_wrong_blob_are_not_handed_out() -> None:
    reader = VerifiedReader(io.BytesIO(b"abcX"), described(b"abcd"), "blob")
    assert reader.read(3) == b"abc"
    with pytest.raises(IntegrityError):
        reader.read(1)


def test_empty_blob() -> None:
    assert VerifiedReader(io.BytesIO(b""), described(b""), "blob").read() == b""
    with pytest.raises(IntegrityError, match="longer"):
        VerifiedReader(io.BytesIO(b"x"), described(b""), "blob").read()


def test_sha512() -> None:
    import hashlib

    descriptor = Descriptor(media_type="x/y", digest=Digest("sha512:" + hashlib.sha512(b"a").hexdigest()), size=1)
    assert VerifiedReader(io.BytesIO(b"a"), descriptor, "blob").read() == b"a"


def test_buffered_use_and_closing() -> None:
    source = io.BytesIO(b"one\ntwo\n")
    reader = io.BufferedReader(VerifiedReader(source, described(b"one\ntwo\n"), "blob"))
    assert reader.readlines() == [b"one\n", b"two\n"]
    reader.close()
    assert source.closed


def test_documents_are_bounded() -> None:
    assert read_all(verified(io.BytesIO(b"abc"), described(b"abc"), "x"), 3) == b"abc"
    with pytest.raises(InvalidDocumentError, match="config is larger than 2 bytes"):
        read_all(verified(io.BytesIO(b"abc"), described(b"abc"), "x"), 2, "config")
