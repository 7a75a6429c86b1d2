"""ELF files of 64 bits for amd64, made by hand, that the kernel and real loaders take; a program ends with 0."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

GLIBC = "/lib64/ld-linux-x86-64.so.2"
MUSL = "/lib/ld-musl-x86_64.so.1"
_PHDR, _DYN = struct.Struct("<IIQQQQQQ"), struct.Struct("<qQ")
_EXIT = bytes.fromhex("31ff b83c000000 0f05")  # exit(0)
_RETURN = b"\xc3"
_NOTE_FDO = 0x407C0C0A


def _hash(name: str) -> int:
    """Return the hash of a name as version records have it (System V ABI, Hash Table)."""
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ high >> 24) & ~high
    return value & 0xFFFFFFFF


@dataclass(kw_only=True)
class Object:
    """A program (with `interpreter`, or `static`) or a library."""

    interpreter: str | None = None
    static: bool = False
    needed: Sequence[str] = ()
    soname: str | None = None
    rpath: str | None = None
    runpath: str | None = None
    no_default: bool = False
    requires: Mapping[str, Sequence[str]] = field(default_factory=dict)
    defines: Sequence[str] = ()
    note: bytes = b""
    machine: int = 62
    bits: int = 64
    isa: int = 0
    exports: str | None = None
    """A function that does nothing but run `code`."""
    code: bytes = b""

    def build(self) -> bytes:  # noqa: C901 - one table after the other
        strings, offsets = bytearray(b"\0"), dict[str, int]()

        def text(value: str) -> int:
            if value not in offsets:
                offsets[value] = len(strings)
                strings.extend(value.encode() + b"\0")
            return offsets[value]

        dynamic = [(1, text(name)) for name in self.needed]
        for tag, value in ((14, self.soname), (15, self.rpath), (29, self.runpath)):
            if value is not None:
                dynamic.append((tag, text(value)))
        if self.no_default:
            dynamic.append((0x6FFFFFFB, 0x800))
        verneed, verdef = self._verneed(text), self._verdef(text)
        notes = b""
        if self.note:
            notes += (
                struct.pack("<III", 4, len(self.note), _NOTE_FDO)
                + b"FDO\0"
                + self.note.ljust(-(-len(self.note) // 4) * 4, b"\0")
            )
        isa = (
            struct.pack("<III", 4, 16, 5) + b"GNU\0" + struct.pack("<IIII", 0xC0008002, 4, (1 << self.isa) - 1, 0)
            if self.isa
            else b""
        )
        interpreter = self.interpreter.encode() + b"\0" if self.interpreter else b""
        loads = not self.static
        count = 3 + bool(interpreter) + loads + bool(notes) + bool(isa) * 2
        at = 64 + _PHDR.size * count
        at = -(-at // 8) * 8

        def place(data: bytes) -> int:
            nonlocal at, body
            start = at
            body += data.ljust(-(-len(data) // 8) * 8, b"\0")
            at = begin + len(body)
            return start

        begin, body = at, b""
        code = place(_EXIT + self.code + _RETURN)
        interp_at, notes_at, isa_at = place(interpreter), place(notes), place(isa)
        headers = [(6, 4, 64, 64, _PHDR.size * count)]
        entries, table = bytes(24), struct.pack("<IIII", 1, 1, 0, 0)
        if self.exports is not None:
            entries += struct.pack("<IBBHQQ", text(self.exports), 0x12, 0, 1, code + len(_EXIT), 1)
            table = struct.pack("<IIIII", 1, 2, 1, 0, 0)
        symbols, hashes = place(entries), place(table)
        strings_at = place(bytes(strings))
        need_at, def_at = place(verneed), place(verdef)
        dynamic += [(5, strings_at), (6, symbols), (4, hashes), (10, len(strings)), (11, 24)]
        if verneed:
            dynamic += [(0x6FFFFFFE, need_at), (0x6FFFFFFF, len(self.requires))]
        if verdef:
            dynamic += [(0x6FFFFFFC, def_at), (0x6FFFFFFD, 1 + len(self.defines))]
        if verneed or verdef:
            dynamic.append((0x6FFFFFF0, place(bytes(8))))
        table = b"".join(_DYN.pack(*item) for item in [*dynamic, (0, 0)])
        dynamic_at = place(table)
        size = begin + len(body)
        if interpreter:
            headers.append((3, 4, interp_at, interp_at, len(interpreter)))
        headers.append((1, 7, 0, 0, size))
        if loads:
            headers.append((2, 6, dynamic_at, dynamic_at, len(table)))
        if notes:
            headers.append((4, 4, notes_at, notes_at, len(notes)))
        if isa:
            headers += [(4, 4, isa_at, isa_at, len(isa)), (0x6474E553, 4, isa_at, isa_at, len(isa))]
        headers.append((0x6474E551, 6, 0, 0, 0))
        base = 0x400000 if self.static else 0
        packed = b"".join(
            _PHDR.pack(kind, flags, offset, address + base, address + base, length, length, 0x1000 if kind == 1 else 8)
            for kind, flags, offset, address, length in headers
        )
        kind = 2 if self.static else 3
        front = b"\x7fELF" + bytes([self.bits // 32, 1, 1]) + bytes(9)
        front += struct.pack(
            "<HHIQQQIHHHHHH", kind, self.machine, 1, code + base, 64, 0, 0, 64, 56, len(headers), 64, 0, 0
        )
        return (front + packed).ljust(begin, b"\0") + body

    def _verneed(self, text) -> bytes:  # type: ignore[no-untyped-def]
        result = b""
        for number, (name, versions) in enumerate(self.requires.items()):
            last = number == len(self.requires) - 1
            size = 16 + 16 * len(versions)
            result += struct.pack("<HHIII", 1, len(versions), text(name), 16, 0 if last else size)
            for place, version in enumerate(versions):
                end = place == len(versions) - 1
                result += struct.pack("<IHHII", _hash(version), 0, place + 2, text(version), 0 if end else 16)
        return result

    def _verdef(self, text) -> bytes:  # type: ignore[no-untyped-def]
        if not self.defines:
            return b""
        names, result = [self.soname or "base", *self.defines], b""
        for number, name in enumerate(names):
            last = number == len(names) - 1
            result += struct.pack("<HHHHIII", 1, int(number == 0), number + 1, 1, _hash(name), 20, 0 if last else 28)
            result += struct.pack("<II", text(name), 0)
        return result


def program(*needed: str, **more: object) -> bytes:
    """Return a program that glibc's loader starts."""
    return Object(**{"interpreter": GLIBC, "needed": needed, **more}).build()  # type: ignore[arg-type]


def library(soname: str | None = None, *needed: str, **more: object) -> bytes:
    """Return a library."""
    return Object(soname=soname, needed=needed, **more).build()  # type: ignore[arg-type]


def static() -> bytes:
    """Return a program without a loader."""
    return Object(static=True).build()


LOADER = static() + b"\0/lib/x86_64-linux-gnu/\0/usr/lib/x86_64-linux-gnu/\0/lib/\0/usr/lib/\0"
"""What says of itself which folders it looks into, as glibc's loader does."""
