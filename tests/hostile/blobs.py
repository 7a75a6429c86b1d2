"""Layer blobs that strangers might make: small ones that want much, each a list of pieces of a tar archive."""

import gzip
import itertools
import struct
from collections.abc import Callable, Iterable, Iterator

from runtimeimg.image.layertar import Entry
from runtimeimg.image.tarheader import byte_sum
from runtimeimg.image.tarwrite import END, header
from runtimeimg.image.zstd import zstd

MIB = 1 << 20
Pieces = Iterable[bytes]


def block(name: bytes = b"x", flag: bytes = b"0", size: int = 0, link: bytes = b"", **at: bytes) -> bytes:
    """Return a header block with a right checksum; `at` are fields by their offset, as `o123=b"..."`."""
    data = bytearray(512)
    data[: len(name[:100])] = name[:100]
    data[100:107], data[124:136] = b"0000644", b"%011o\0" % size
    data[156:157], data[257:265] = flag, b"ustar\x0000"
    data[157 : 157 + len(link[:100])] = link[:100]
    for key, value in at.items():
        data[int(key[1:]) : int(key[1:]) + len(value)] = value
    data[148:156] = b" " * 8
    data[148:155] = b"%06o\0" % byte_sum(bytes(data))
    return bytes(data)


def extended(data: bytes, flag: bytes = b"x") -> bytes:
    return block(b"pax", flag, len(data)) + data + bytes(-len(data) % 512)


def record(key: bytes, value: bytes) -> bytes:
    rest = b" %b=%b\n" % (key, value)
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d%b" % (length, rest)


def entry(path: bytes, kind: str = "f", target: bytes = b"", size: int = 0, **more: object) -> bytes:
    return header(Entry(path, kind, 0o755, 0, 0, size, 0, target, **more))  # type: ignore[arg-type]


def numbered(count: int, form: bytes, **fields: object) -> Iterator[bytes]:
    return (entry(form % number, **fields) for number in range(count))  # type: ignore[arg-type]


def chained(flag: bytes, count: int, size: int) -> Pieces:
    one = extended(record(b"comment", b"c" * size) if flag in b"xg" else b"n" * size, flag)
    yield from itertools.repeat(one, count)
    yield block()


def attributes(count: int, size: int, entries: int) -> Pieces:
    for number in range(entries):
        data = b"".join(record(b"SCHILY.xattr.user.%d" % at, b"v" * size) for at in range(count))
        yield extended(data) + block(b"f%d" % number)


def deep(count: int, depth: int, name: bytes = b"d") -> Pieces:
    for number in range(count):
        path = b"%d/" % number + (name + b"/") * depth + b"x"
        yield extended(record(b"path", path)) + block()


def linked(count: int, links: int, depth: int) -> Pieces:
    """Entries whose folders lead through `links` symlinks, each through `depth` folders."""
    for number in range(links):
        through = b"/".join([b"a"] * depth) + b"/" + b"../" * depth
        yield extended(record(b"linkpath", through + b"l%d" % (number + 1))) + block(b"l%d" % number, b"2", link=b"l")
    for number in range(count):
        yield entry(b"l0/%d/x" % number)


def flipping(count: int) -> Pieces:
    """A symlink that is replaced again and again, with an entry behind it each time."""
    for number in range(count):
        yield entry(b"l", "l", b"t%d" % (number % 7)) + entry(b"l/a/b/c/d/e/f/g/%d" % number)


def sparse_old(size: int) -> Pieces:
    yield block(b"s", b"S", 0, o483=b"\x80" + size.to_bytes(11, "big"))


def sparse_pax(size: int, entries: int = 1) -> Pieces:
    for number in range(entries):
        records = record(b"GNU.sparse.major", b"0") + record(b"GNU.sparse.size", b"%d" % size)
        yield extended(records) + block(b"s%d" % number)


def sparse_table(pairs: int, claimed: int | None = None) -> Pieces:
    table = b"%d\n" % (pairs if claimed is None else claimed) + b"".join(b"%d\n0\n" % (at * 2) for at in range(pairs))
    table += bytes(-len(table) % 512)
    records = record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.realsize", b"%d" % (pairs * 2))
    yield extended(records) + block(b"s", size=len(table)) + table


def sparse_chain(count: int) -> Pieces:
    yield block(b"s", b"S", 0, o482=b"\1")
    yield from itertools.repeat(bytes(504) + b"\1" + bytes(7), count)
    yield bytes(512)


def zeros(size: int, count: int = 1) -> Pieces:
    for number in range(count):
        yield block(b"z%d" % number, size=size)
        yield from itertools.repeat(bytes(MIB), size // MIB)


def hard_links(count: int) -> Pieces:
    """Each is to another that is only covered when the one before was asked for."""
    yield from (entry(b"o%d/f" % number, "h", b"o%d/f" % (number + 1)) for number in range(count))
    yield entry(b"x", "h", b"o0/f")


def signed_sums(count: int) -> Pieces:
    data = bytearray(block(b"\xff" * 99))
    blanked = data[:148] + b" " * 8 + data[156:]
    data[148:155] = b"%06o\0" % sum(byte - 256 if byte > 127 else byte for byte in blanked)
    yield from itertools.repeat(bytes(data), count)


def whiteouts(count: int) -> Pieces:
    return numbered(count, b"a/b/c/d/e/f/g/.wh.%d")


ARCHIVES: dict[str, Callable[[], Pieces]] = {
    "many pax headers": lambda: chained(b"x", 4000, 100_000),
    "many global headers": lambda: chained(b"g", 4000, 250_000),
    "many long names": lambda: chained(b"L", 4000, 250_000),
    "many long links": lambda: chained(b"K", 4000, 250_000),
    "many small pax headers": lambda: chained(b"x", 400_000, 10),
    "many small records": lambda: (extended(b"5 a=\n" * 190_000) + block(b"f%d" % number) for number in range(200)),
    "global headers between entries": lambda: itertools.repeat(extended(b"x" * 500, b"g") + block(), 300_000),
    "large attributes": lambda: attributes(15, 60_000, 1000),
    "many attributes": lambda: attributes(5000, 10, 500),
    "an attribute larger than any": lambda: attributes(1, 100_000, 1),
    "an attribute with a long name": lambda: [extended(record(b"SCHILY.xattr." + b"n" * 300, b"")) + block()],
    "deep paths": lambda: deep(4000, 2000),
    "paths as deep as allowed": lambda: deep(8000, 250),
    "deep paths of long names": lambda: deep(4000, 15, b"n" * 250),
    "deep short paths": lambda: (entry(b"%06d/" % n + b"a/" * 100 + b"x") for n in range(100_000)),
    "long chains of symlinks": lambda: linked(100_000, 40, 100),
    "endless symlinks": lambda: linked(1, 60, 1),
    "symlinks that change": lambda: flipping(60_000),
    "symlinks to themselves": lambda: [entry(b"l", "l", b"l"), entry(b"l/x")],
    "deep targets": lambda: linked(2000, 30, 1000),
    "millions of equal entries": lambda: itertools.repeat(entry(b"same"), 1_000_000),
    "hundreds of thousands of entries": lambda: numbered(400_000, b"d/%d"),
    "hundreds of thousands of folders": lambda: numbered(400_000, b"d%d", kind="d"),
    "whiteouts": lambda: whiteouts(400_000),
    "hard links out of what is covered": lambda: hard_links(3000),
    "hard links to one": lambda: [entry(b"x"), *numbered(100_000, b"h%d", kind="h", target=b"x")],
    "an old sparse file of an exbibyte": lambda: sparse_old(1 << 60),
    "an old sparse file of ten gibibytes": lambda: sparse_old(10 << 30),
    "a sparse file of an exbibyte": lambda: sparse_pax(1 << 60),
    "many sparse files": lambda: sparse_pax(200 * MIB, 1000),
    "a large sparse map": lambda: sparse_table(140_000),
    "a sparse map that is never full": lambda: sparse_table(100_000, 10**9),
    "a sparse map of many digits": lambda: sparse_table(1, 10**300),
    "an endless old sparse map": lambda: sparse_chain(2_000_000),
    "gibibytes of zeros": lambda: zeros(8 << 30),
    "half a gibibyte of zeros": lambda: zeros(512 * MIB),
    "many files of zeros": lambda: zeros(MIB, 4000),
    "checksums over signed bytes": lambda: signed_sums(300_000),
    "a block of rubbish": lambda: [struct.pack(">512s", b"\xff" * 512)],
}


def zstd_blob(pieces: Pieces, limit: int = 64 * MIB) -> bytes:
    """Return the archive as one zstd frame, which makes the smallest blobs of them; cut off beyond `limit`."""
    module = zstd()
    packer = module.ZstdCompressor(level=3)
    out, size = bytearray(), 0
    for piece in itertools.chain(pieces, [END]):
        out += packer.compress(piece)
        size += len(piece)
        if len(out) > limit:
            break
    return bytes(out + packer.flush())


def gzip_blob(pieces: Pieces) -> bytes:
    return gzip.compress(b"".join(pieces) + END, 1)


def wide_frame(log: int) -> bytes:
    """A zstd frame that wants a window of 2 ** `log` bytes, and makes use of it with runs of one byte."""
    head = b"\x28\xb5\x2f\xfd" + bytes((0x00, (log - 10) << 3))
    size = min(1 << 17, (1 << 21) - 1)
    run = (size << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    last = (0 << 3 | 1).to_bytes(3, "little")
    return head + run * ((1 << log) // size + 8) + last
