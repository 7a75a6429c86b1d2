"""More hostile layers: sizes, attributes, numbers and amounts that no honest archive has."""

import gzip
import itertools

from runtimeimg.image.layertar import FIFO
from tests.unpack.attacks import attack, folder, link, made
from tests.unpack.trees import entry


def patched(block: bytes, *fields: tuple[int, bytes], check: bool = True) -> bytes:
    """An entry with fields of its first header overwritten, by offset, and the sum put right."""
    head = bytearray(block[:512])
    for at, data in fields:
        head[at : at + len(data)] = data
    if check:
        head[148:156] = b" " * 8
        head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + block[512:]


def pax(data: bytes, of: bytes) -> bytes:
    """An entry behind an extended header of these bytes."""
    head = patched(entry(b"PaxHeaders", data=data), (156, b"x"))
    return head + of


def record(key: bytes, value: bytes) -> bytes:
    size = len(key) + len(value) + 3
    while len(b"%d" % size) + len(key) + len(value) + 3 != size:
        size = len(b"%d" % size) + len(key) + len(value) + 3
    return b"%d %b=%b\n" % (size, key, value)


def sparse(size: int, table: bytes, data: bytes) -> bytes:
    records = record(b"GNU.sparse.size", b"%d" % size) + record(b"GNU.sparse.map", table)
    return pax(records, entry(b"f", data=data))


F = entry(b"f", data=b"x")

# Sizes

SIZE = "sizes"
attack("a negative size", SIZE, made(patched(F, (124, b"\xff" * 12))), said="is not possible")
attack("a size of 8 EiB", SIZE, made(patched(F, (124, b"\x80" + b"\x7f" * 11))), said="too large")
attack("a size of 4 EiB", SIZE, made(patched(F, (124, b"\x80\0\0\0" + (1 << 62).to_bytes(8, "big")))), said="cut off")
attack("a size of 8 GiB with little behind it", SIZE, made(patched(F, (124, b"77777777777\0"))), said="cut off")
attack("a size that is no number", SIZE, made(patched(F, (124, b"12x45678901\0"))), said="not an octal number")
attack(
    "a size in an extended header that is no number", SIZE, made(pax(record(b"size", b"-1"), F)), said="not a number"
)
attack("a folder with a size", SIZE, made(patched(folder(b"d"), (124, b"00000001000\0")), entry(b"f")), there="d/ f")
attack("a link with a size", SIZE, made(patched(link(b"l", b"x"), (124, b"00000001000\0")), entry(b"f")), there="l f")
attack("a pipe with a size", SIZE, made(patched(entry(b"p", FIFO), (124, b"00000001000\0")), entry(b"f")), there="p f")
attack("a sparse file of 1 PiB", SIZE, made(sparse(1 << 50, b"0,1", b"x")), said="too much for the size of its blob")
attack("a sparse file of 4 EiB", SIZE, made(sparse(1 << 62, b"0,1", b"x")), said="too much for the size of its blob")
attack("a sparse file of 300 MiB of nothing", SIZE, made(sparse(300 << 20, b"", b"")), said="too much for the size")
attack("a sparse file whose parts overlap", SIZE, made(sparse(10, b"0,2,1,2", b"xxxx")), said="overlap")
attack("a sparse file whose parts lie outside", SIZE, made(sparse(10, b"9,2", b"xx")), said="overlap or lie outside")
attack("a sparse file of less data than it says", SIZE, made(sparse(10, b"0,5", b"xx")), said="does not fit")
attack("a sparse file with half a pair", SIZE, made(sparse(10, b"0,1,2", b"x")), said="not made of pairs")
attack("an archive cut off in a header", SIZE, F + F[:100], said="cut off")
attack("an archive cut off in a file", SIZE, entry(b"f", data=b"x" * 10_000)[:5000], said="cut off")
attack("zeros that unfold to 1 GiB", SIZE, gzip.compress(bytes(1 << 20)) * 1024, there="")
attack("a gzip stream that is cut off", SIZE, gzip.compress(made(F) * 50)[:-20], said="ends too early")
attack("a gzip stream with rubbish in it", SIZE, b"\x1f\x8b\x08" + b"rubbish" * 50, said="damaged|ends too early")
attack("a zstd frame that wants 2 GiB of memory", SIZE, b"\x28\xb5\x2f\xfd\x00\xa8" + bytes(50), said="zstd")
attack("no archive at all", SIZE, b"#!/bin/sh\n" * 200, said="octal|checksum")
attack("an empty blob", SIZE, b"", there="")

# Headers

HEADER = "headers"
attack("a wrong checksum", HEADER, made(patched(F, (0, b"g"), check=False)), said="checksum is wrong")
attack("a type that nobody knows", HEADER, made(patched(F, (156, b"Z"))), said="not supported")
attack("a record without length", HEADER, made(pax(b"path=g\n", F)), said="record without length")
attack("a record longer than its header", HEADER, made(pax(b"999 path=g\n", F)), said="broken record")
attack("a path with a NUL", HEADER, made(pax(record(b"path", b"g\0/../../x"), F)), said="holds a NUL")
attack(
    "a link's target with a NUL", HEADER, made(pax(record(b"linkpath", b"/\0x"), link(b"l", b"x"))), said="holds a NUL"
)
attack("a path in an extended header that leads out", HEADER, made(pax(record(b"path", b"../x"), F)), said="leads out")
attack(
    "a global header with a path that leads out",
    HEADER,
    made(patched(entry(b"g", data=record(b"path", b"../x")), (156, b"g")), F),
    there="f",
)
attack(
    "a long name that leads out",
    HEADER,
    made(patched(entry(b"L", data=b"../" * 50 + b"x\0"), (156, b"L")), F),
    said="leads out",
)
attack("an extended header of 2 MiB", HEADER, made(pax(record(b"comment", b"c" * (2 << 20)), F)), said="too large")
attack(
    "an extended header with nothing behind it",
    HEADER,
    made(pax(record(b"path", b"g"), b"")),
    said="ends after an extended",
)
attack("a block of zeros between entries", HEADER, made(F + bytes(512) + F), said="block of zeros")
attack("entries behind the end", HEADER, made(F) + entry(b"../g"), there="f")

# Numbers and attributes

VALUE = "owners, modes, times and attributes"
attack("an owner beyond 32 bits", VALUE, made(pax(record(b"uid", b"4294967296"), F)), said="not possible")
attack("an owner that is negative", VALUE, made(patched(F, (108, b"\xff" * 8))), said="not possible")
attack("the owner that stands for none", VALUE, made(pax(record(b"uid", b"4294967295"), F)), said="4294967295")
attack("all bits of the mode", VALUE, made(patched(F, (100, b"7777777\0"))), there="f")
attack("a time in the year 100 billion", VALUE, made(pax(record(b"mtime", b"4000000000000000000"), F)), there="f")
attack("a time long before 1970", VALUE, made(pax(record(b"mtime", b"-4000000000000000000.5"), F)), there="f")
attack("a time that is no number", VALUE, made(pax(record(b"mtime", b"nan"), F)), said="not a number")
attack(
    "a setuid shell in a folder for all",
    VALUE,
    made(folder(b"tmp", mode=0o1777), entry(b"tmp/sh", mode=0o6777)),
    there="tmp/ tmp/sh",
)
attack(
    "an attribute without name", VALUE, made(pax(record(b"SCHILY.xattr.", b"x"), F)), said="longer than Linux allows"
)
attack("an attribute in no namespace", VALUE, made(entry(b"f", xattrs=((b"name", b"1"),))), there="f")
attack(
    "an attribute's name of 300 bytes",
    VALUE,
    made(entry(b"f", xattrs=((b"user." + b"n" * 300, b"1"),))),
    said="longer than Linux allows",
)
attack(
    "an attribute of 65537 bytes",
    VALUE,
    made(entry(b"f", xattrs=((b"user.a", bytes(65537)),))),
    said="longer than Linux allows",
)
attack(
    "attributes of more than a file system takes",
    VALUE,
    made(entry(b"f", xattrs=tuple((b"user.%d" % n, bytes(9000)) for n in range(20)))),
    said="no room for its extended attributes|extended headers",
)
attack(
    "attributes of a file system in layers",
    VALUE,
    made(folder(b"d", xattrs=((b"trusted.overlay.redirect", b"/"), (b"trusted.overlay.opaque", b"y")))),
    there="d/",
)
attack("a label of SELinux", VALUE, made(entry(b"f", xattrs=((b"security.selinux", b"x"),))), there="f")
attack(
    "an access list that is none",
    VALUE,
    made(entry(b"f", xattrs=((b"system.posix_acl_access", b"x"),))),
    said="impossible value",
)
attack(
    "a capability that is none",
    VALUE,
    made(entry(b"f", xattrs=((b"security.capability", b"x"),))),
    said="impossible value",
)
attack(
    "an attribute on a link to outside",
    VALUE,
    made(entry(b"l", "l", target=b"../../canary/secret", xattrs=((b"trusted.a", b"1"),))),
    there="l",
)

# Amounts

MANY = "amounts"
attack(
    "links in a ring", MANY, made(link(b"a", b"b"), link(b"b", b"a"), entry(b"a/f")), said="more than 40 symbolic links"
)
attack(
    "links that double with each step",
    MANY,
    made(*(link(b"l%d" % n, b"l%d/l%d" % (n + 1, n + 1)) for n in range(60)), entry(b"l0/f")),
    said="more than 40 symbolic links|longer than Linux",
)
attack(
    "forty links in a row",
    MANY,
    made(folder(b"l0"), *(link(b"l%d" % n, b"l%d" % (n - 1)) for n in range(1, 41)), entry(b"l40/f")),
    there=" ".join(["l0/", "l0/f", *(f"l{n}" for n in range(1, 41))]),
)
attack(
    "forty-one links in a row",
    MANY,
    made(folder(b"l0"), *(link(b"l%d" % n, b"l%d" % (n - 1)) for n in range(1, 42)), entry(b"l41/f")),
    said="more than 40 symbolic links",
)
attack(
    "a million entries",
    MANY,
    gzip.compress(folder(b"d") * 20_000, 9) * 50 + gzip.compress(bytes(1024)),
    said="too much for the size",
)
attack(
    "folders on the way to nowhere",
    MANY,
    gzip.compress(made(*(entry(b"%d/" % n + b"/".join([b"d"] * 250)) for n in range(400)))),
    said="directories that it does not hold",
)
attack(
    "a long way, again and again",
    MANY,
    gzip.compress(
        made(
            *itertools.chain.from_iterable((entry(b"a/" * 250 + b"f"), entry(b"b/" * 250 + b"f")) for _ in range(2000))
        )
    ),
    said="more directories than the size of its blob is worth",
)
attack(
    "ten thousand names of one file",
    MANY,
    made(entry(b"f"), *(entry(b"h", "h", target=b"f") for _ in range(10_000))),
    there="f h",
)
