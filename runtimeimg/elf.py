"""ELF files by their first bytes: what they are for, and the level of the processor that they need.

Program headers and notes stand at the front of a file, so that of a file in a layer no more than HEAD bytes are
looked at, and nothing has to be sought in a stream. (pyelftools wants a whole file that can be sought in, and takes
five times as long a file; the tests hold this module against it.)

Sources: System V ABI, "Program Loading"; x86-64 psABI, "Program Property" (GNU_PROPERTY_X86_ISA_1_NEEDED).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

HEAD = 64 << 10
"""Bytes of a file that are looked at."""
MAGIC = b"\x7fELF"

_MACHINES = {3: "386", 40: "arm", 62: "amd64", 183: "arm64", 22: "s390x", 21: "ppc64", 243: "riscv64", 258: "loong64"}
_X86_64, _PPC64 = 62, 21
_TYPES = {1: "relocatable", 2: "executable", 3: "shared", 4: "core"}
_PT_INTERP, _PT_NOTE, _PT_GNU_PROPERTY = 3, 4, 0x6474E553
_NT_GNU_PROPERTY = 5
_ISA_NEEDED, _ISA_USED = 0xC0008002, 0xC0010002
_MAX_HEADERS, _MAX_SEGMENTS, _MAX_NOTES, _MAX_PROPERTIES = 128, 8, 32, 16
"""Program headers, segments of notes, notes of each, properties of each: real files have fewer of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elf:
    """An ELF file as its front tells.

    `architecture` is that of an image's platform, `elf-N` for machines that have no such name here. `isa_needed` is
    the x86-64 level without which the file does not run: 1 the baseline to 4, 0 where it says none; `isa_used` what it
    may use after having asked the processor. A program that `needs_loader` is not statically linked.
    """

    architecture: str
    kind: str
    isa_needed: int = 0
    isa_used: int = 0
    needs_loader: bool = False


def read(head: bytes) -> Elf | None:
    """Return what a file is whose first bytes these are (HEAD of them, or all); None for what is no well-formed ELF.

    What lies behind the bytes given is taken as not there.
    """
    try:
        return _read(head[:HEAD])
    except (struct.error, IndexError, OverflowError):
        return None


def _read(head: bytes) -> Elf | None:
    if head[:4] != MAGIC or head[4] not in {1, 2} or head[5] not in {1, 2}:
        return None
    wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
    kind, machine = struct.unpack_from(order + "HH", head, 16)
    architecture = _MACHINES.get(machine, f"elf-{machine}")
    if machine == _PPC64 and order == "<":
        architecture = "ppc64le"
    needed, used, notes, needs_loader = 0, 0, 0, False
    for tag, offset, size in _segments(head, order, wide=wide):
        needs_loader |= tag == _PT_INTERP
        if machine == _X86_64 and tag in {_PT_NOTE, _PT_GNU_PROPERTY} and notes < _MAX_SEGMENTS:
            notes += 1
            for name, value in _properties(head[offset : offset + size], order, wide=wide):
                if name == _ISA_NEEDED:
                    needed |= value
                elif name == _ISA_USED:
                    used |= value
    return Elf(
        architecture=architecture,
        kind=_TYPES.get(kind, "other"),
        isa_needed=min(needed.bit_length(), 4),
        isa_used=min(used.bit_length(), 4),
        needs_loader=needs_loader,
    )


def _segments(head: bytes, order: str, *, wide: bool) -> Iterator[tuple[int, int, int]]:
    """Yield type, offset and size in the file of the program headers."""
    offset = struct.unpack_from(order + ("Q" if wide else "I"), head, 32 if wide else 28)[0]
    entry, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
    layout = struct.Struct(order + ("I4xQ16xQ" if wide else "II8xI"))
    if entry < layout.size:
        return
    for at in range(offset, offset + entry * min(count, _MAX_HEADERS), entry):
        yield layout.unpack_from(head, at)


def _properties(notes: bytes, order: str, *, wide: bool) -> Iterator[tuple[int, int]]:
    """Yield the GNU properties with 4 bytes of data that a segment of notes holds."""
    align, at = 8 if wide else 4, 0
    for _ in range(_MAX_NOTES):
        if at + 12 > len(notes):
            return
        name_size, size, kind = struct.unpack_from(order + "III", notes, at)
        start = at + 12 + (name_size + 3) // 4 * 4
        if kind == _NT_GNU_PROPERTY and notes[at + 12 : at + 12 + name_size] == b"GNU\0":
            yield from _values(notes[start : start + size], order, align)
            at = start + (size + align - 1) // align * align
        else:
            at = start + (size + 3) // 4 * 4


def _values(data: bytes, order: str, align: int) -> Iterator[tuple[int, int]]:
    at = 0
    for _ in range(_MAX_PROPERTIES):
        if at + 8 > len(data):
            return
        kind, size = struct.unpack_from(order + "II", data, at)
        if size == 4 and at + 12 <= len(data):
            yield kind, struct.unpack_from(order + "I", data, at + 8)[0]
        at += 8 + (size + align - 1) // align * align
