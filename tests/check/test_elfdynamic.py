"""What ELF files ask of the loader, read as pyelftools reads it; files that are broken in every way cost nothing."""

import io
import json
import os
import random
import resource
import sys
import time
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from runtimeimg import elfdynamic
from runtimeimg.elfdynamic import Dynamic
from tests.check.objects import GLIBC, Object, library, program, static

MUTATIONS = int(os.environ.get("RUNTIMEIMG_EXAMPLES", "3000"))


def read(data: bytes) -> Dynamic | None:
    return elfdynamic.read(lambda offset, size: data[offset : offset + size])


def by_pyelftools(data: bytes) -> tuple[object, ...]:
    file = ELFFile(io.BytesIO(data))
    single: dict[str, str] = {}
    needed = []
    dynamic = file.get_section_by_name(".dynamic")
    for tag in dynamic.iter_tags() if dynamic is not None else ():
        kind = tag.entry.d_tag
        if kind == "DT_NEEDED":
            needed.append(tag.needed)
        elif kind in {"DT_SONAME", "DT_RPATH", "DT_RUNPATH"}:
            single[kind] = getattr(tag, kind[3:].lower())
    wants, has = file.get_section_by_name(".gnu.version_r"), file.get_section_by_name(".gnu.version_d")
    requires = {
        version.name: tuple(item.name for item in items if not item.entry.vna_flags & 2)
        for version, items in (wants.iter_versions() if wants is not None else ())
    }
    defines = [
        next(items).name
        for version, items in (has.iter_versions() if has is not None else ())
        if not version.entry.vd_flags & 1
    ]
    return (
        tuple(needed),
        single.get("DT_SONAME"),
        single.get("DT_RPATH"),
        single.get("DT_RUNPATH"),
        requires,
        tuple(defines),
    )


def test_files_of_this_machine() -> None:
    """All libraries that this Python has loaded, and all programs and libraries of two folders."""
    paths = [*Path("/usr/bin").iterdir(), *Path("/usr/lib/x86_64-linux-gnu").glob("*.so*")][:1500]
    count = 0
    for path in (Path(sys.executable).resolve(), *paths):
        if not path.is_file() or path.stat().st_size > 30_000_000:
            continue
        data = path.read_bytes()
        if not data.startswith(b"\x7fELF"):
            continue
        found = read(data)
        assert found is not None
        mine = (found.needed, found.soname, found.rpath, found.runpath, dict(found.requires), found.defines)
        assert mine == by_pyelftools(data), path
        count += 1
    assert count > 200


def test_what_is_made_by_hand() -> None:
    note = json.dumps(
        [{"soname": ["liba.so", "libb.so"], "priority": "required", "feature": "f"}, {"soname": []}, 7]
    ).encode()
    made = Object(
        interpreter=GLIBC,
        needed=["libc.so.6"],
        runpath="$ORIGIN",
        requires={"libc.so.6": ["GLIBC_2.34"]},
        note=note,
        isa=3,
    )
    found = read(made.build())
    assert found is not None
    assert (found.interpreter, found.needed, found.runpath) == (GLIBC, ("libc.so.6",), "$ORIGIN")
    assert (dict(found.requires), found.isa_needed, found.loads) == ({"libc.so.6": ("GLIBC_2.34",)}, 3, True)
    assert [(item.sonames, item.priority, item.feature) for item in found.dlopen] == [
        (("liba.so", "libb.so"), "required", "f")
    ]
    plain = read(static())
    assert plain is not None
    assert (plain.loads, plain.interpreter, plain.needed) == (False, None, ())


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"\x7fELF" + bytes(60), b"#!/bin/sh\n", program()[:70], bytes(4096)])
def test_what_is_no_program(data: bytes) -> None:
    assert read(data) is None or not read(data).loads  # type: ignore[union-attr]


def test_broken_files_cost_nothing() -> None:
    """Never an exception, a hang, or more memory than a file of that size."""
    rng = random.Random(3)
    seeds = [
        Path(sys.executable).resolve().read_bytes()[: 1 << 20],
        Path(GLIBC).resolve().read_bytes(),
        program("a", "b", requires={"a": ["V1", "V2"]}, note=b"[" * 900),
        library("libx.so", "liby.so", defines=["A", "B"], rpath="x:y"),
        static(),
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slowest = 0.0
    read_at_all = 0
    for number in range(MUTATIONS):
        data = bytearray(seeds[number % len(seeds)])
        for _ in range(rng.choice((1, 2, 8, 40))):
            at = rng.randrange(min(len(data), rng.choice((64, 600, 4096, len(data)))))
            data[at] = rng.choice((0, 1, 0x7F, 0xFF, rng.randrange(256)))
        if rng.random() < 0.1:
            del data[rng.randrange(len(data)) :]
        began = time.perf_counter()
        read_at_all += read(bytes(data)) is not None
        slowest = max(slowest, time.perf_counter() - began)
    assert read_at_all > MUTATIONS // 4
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB
    assert slowest < 30


def test_chains_without_an_end_are_cut() -> None:
    """Version records that say there are four thousand million of them, each with as many below it."""
    data = bytearray(program("a", requires={"a": ["V1"]}))
    for at in range(0, len(data) - 16, 8):
        if data[at : at + 8] == (0x6FFFFFFF).to_bytes(8, "little"):
            data[at + 8 : at + 16] = (0xFFFFFFFF).to_bytes(8, "little")
    reads = 0

    def part(offset: int, size: int) -> bytes:
        nonlocal reads
        reads += 1
        return (
            b"\x01\x00\xff\xff" + b"\x10\x00\x00\x00" * 3 + bytes(size)
            if size == 16
            else bytes(data)[offset : offset + size]
        )

    elfdynamic.read(part)
    assert reads < 40_000
