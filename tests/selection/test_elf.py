"""ELF files read by their fronts, held against pyelftools; the ELF files of images with whiteouts and links."""

import gzip
import io
import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import NoteSegment
from hypothesis import given
from hypothesis import strategies as st

from runtimeimg import elf
from runtimeimg.errors import IntegrityError, InvalidDocumentError
from runtimeimg.image.elfscan import scan
from runtimeimg.oci import Descriptor, Digest
from runtimeimg.oci.mediatypes import OCI_LAYER
from tests.selection.elves import USED, image_of, isa, note, program
from tests.stores.made import MadeLayer

ARCHITECTURES = {"EM_X86_64": "amd64", "EM_AARCH64": "arm64", "EM_386": "386", "EM_S390": "s390x", "EM_ARM": "arm"}


def by_pyelftools(data: bytes) -> tuple[str, int]:
    """Return architecture and level as the other reader has them."""
    found, needed = ELFFile(io.BytesIO(data)), 0
    for segment in found.iter_segments():
        if isinstance(segment, NoteSegment):
            properties = [
                item
                for each in segment.iter_notes()
                if each["n_type"] == "NT_GNU_PROPERTY_TYPE_0"
                for item in each["n_desc"]
            ]
            for item in properties:
                if item.pr_type == "GNU_PROPERTY_X86_ISA_1_NEEDED":
                    needed |= item.pr_data
    return ARCHITECTURES[found["e_machine"]], needed.bit_length()


def system_files() -> list[Path]:
    """Return the ELF files of this machine that are there in any case: this Python, and what it has loaded."""
    maps = Path("/proc/self/maps").read_text().split()
    paths = {Path(word) for word in maps if word.startswith("/") and ".so" in word} | {Path(sys.executable).resolve()}
    return sorted(path for path in paths if path.is_file())


def test_files_of_this_machine_are_read_as_pyelftools_reads_them() -> None:
    files = system_files()
    assert len(files) >= 5
    for path in files:
        data = path.read_bytes()
        found = elf.read(data[: elf.HEAD])
        assert found is not None
        assert (found.architecture, found.isa_needed) == by_pyelftools(data), path


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_the_needed_level_is_read(level: int) -> None:
    data = program(properties=struct.pack("<IIII", 0xC0000002, 4, 3, 0) + isa(level))
    found = elf.read(data)
    assert found is not None
    assert (found.isa_needed, found.isa_used, found.kind) == (level, 0, "shared")
    assert by_pyelftools(data) == ("amd64", level)


def test_what_may_be_used_is_not_needed() -> None:
    found = elf.read(program(properties=isa(4, USED)))
    assert found is not None
    assert (found.isa_needed, found.isa_used) == (0, 4)


def test_other_notes_before_the_property_are_passed_over() -> None:
    notes = note(3, b"\x01" * 20) + note(1, b"x" * 5 + bytes(3), b"stapsdt\0") + note(5, isa(3))
    data = bytearray(program(properties=isa(1)))
    at = len(data)
    struct.pack_into("<QQQQ", data, 64 + 56 + 8, at, 0, 0, len(notes))
    found = elf.read(bytes(data) + notes)
    assert found is not None
    assert found.isa_needed == 3


@pytest.mark.parametrize("architecture", ["arm64", "386", "s390x"])
def test_other_processors_are_told(architecture: str) -> None:
    found = elf.read(program(architecture))
    assert found is not None
    assert (found.architecture, found.isa_needed) == (architecture, 0)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_anything_else_is_none_or_some_elf(data: bytes, cut: int) -> None:
    whole = program(properties=isa(3))
    for made in (data, b"\x7fELF" + data, whole[:cut], whole[:cut] + data):
        found = elf.read(made)
        assert found is None or 0 <= found.isa_needed <= 4


def test_a_file_of_overlapping_notes_is_done_with_soon() -> None:
    data = bytearray(program(properties=isa(2)))
    struct.pack_into("<H", data, 56, 0xFFFF)
    segment = struct.pack("<IIQQQQQQ", 4, 4, 4096, 0, 0, 60000, 60000, 8)
    whole = bytes(data[:64]) + segment * 72
    found = elf.read(whole.ljust(4096, b"\0") + note(5, isa(1) * 500) * 8)
    assert found is not None
    assert found.isa_needed == 1


def test_an_image_has_the_files_of_its_layers_as_they_are_applied() -> None:
    low, high = program(properties=isa(1)), program(properties=isa(3))
    image = image_of(
        {"bin/a": high, "bin/b": high, "opt/x/c": high, "lib/d.so": high, "srv/e": high, "etc/text": b"\x7fEL"},
        {
            "bin/.wh.a": b"",
            "bin/b": low,
            "opt/x/.wh..wh..opq": b"",
            "opt/x/new": low,
            "lib": b"no folder any more",
            "srv/link": "srv/e",
            "srv/.wh.e": b"",
        },
    )
    found = scan(image.layers, "made")
    assert {path: facts.isa_needed for path, facts in found.items()} == {"bin/b": 1, "opt/x/new": 1, "srv/link": 3}


def test_large_files_are_passed_over_behind_their_fronts() -> None:
    rest = random.Random(1).randbytes(3_000_000)
    image = image_of(
        {"a": program(properties=isa(2)) + rest, "b": rest, "c": program(properties=isa(3)) + rest[:70_000]}
    )
    found = scan(image.layers, "made")
    assert {path: facts.isa_needed for path, facts in found.items()} == {"a": 2, "c": 3}


def test_a_sparse_file_is_read_as_it_is_written_out(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.write(program(properties=isa(4)))
        file.truncate(1 << 20)
        file.seek(1 << 19)
        file.write(b"x")
    (tmp_path / "z").write_bytes(program(properties=isa(2)))
    tar = subprocess.run(["tar", "-cSf", "-", "-C", tmp_path, "sparse", "z"], check=True, capture_output=True).stdout
    descriptor = Descriptor(media_type=OCI_LAYER, digest=Digest.of(tar), size=len(tar))
    found = scan([MadeLayer(descriptor=descriptor, raw=tar, diff_id=Digest.of(tar))], "made")
    assert {path: facts.isa_needed for path, facts in found.items()} == {"sparse": 4, "z": 2}


def test_a_layer_that_is_none_is_an_error() -> None:
    raw = gzip.compress(b"no archive" * 100)
    descriptor = Descriptor(media_type=f"{OCI_LAYER}+gzip", digest=Digest.of(raw), size=len(raw))
    with pytest.raises(InvalidDocumentError, match=r"^layer 1 of 'made'"):
        scan([MadeLayer(descriptor=descriptor, raw=raw, diff_id=Digest.of(b"no archive" * 100))], "made")
    with pytest.raises(IntegrityError):
        scan([MadeLayer(descriptor=descriptor, raw=raw[:-9], diff_id=Digest.of(raw))], "made")
