"""Layer archives read and written: formats, limits, and what is refused."""

import io
import os
import struct
import subprocess
import tarfile
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimeimg.errors import InvalidDocumentError
from runtimeimg.image import tarheader
from runtimeimg.image.layertar import Entry, LayerTar
from runtimeimg.image.tarwrite import END, header, padding
from runtimeimg.image.toc import Toc, TocBuilder

from .images import Item, file, folder, hardlink, symlink, tar


def entries(data: bytes, piece: int = 1 << 16) -> list[Entry]:
    return list(LayerTar((data[at : at + piece] for at in range(0, len(data), piece)), "layer sha256:x"))


def with_contents(data: bytes, piece: int = 1 << 16) -> dict[bytes, bytes]:
    archive = LayerTar((data[at : at + piece] for at in range(0, len(data), piece)), "layer sha256:x")
    return {entry.path: b"".join(bytes(view) for view in archive.content()) for entry in archive}


def block(**fields: bytes) -> bytes:
    """Return a ustar header with these fields as they are, and a right checksum."""
    places = {"name": 0, "mode": 100, "uid": 108, "gid": 116, "size": 124, "mtime": 136, "flag": 156, "link": 157}
    data = bytearray(512)
    data[257:265] = b"ustar\x0000"
    for key, value in {"mode": b"0000644", "size": b"00000000000", "flag": b"0", **fields}.items():
        data[places[key] : places[key] + len(value)] = value
    data[148:156] = b" " * 8
    data[148:155] = b"%06o\0" % sum(data)
    return bytes(data)


def toc(data: bytes) -> Toc:
    builder = TocBuilder("layer sha256:x")
    for entry in LayerTar([data], "layer sha256:x"):
        builder.add(entry)
    return builder.finish()


SAMPLE = [
    folder("a", 0o1755, 5, 6),
    file("a/plain", b"x" * 700, 0o4755),
    file("a/" + "n" * 120 + "/" + "m" * 150, b"long"),
    file("a/é\udcff", b"odd name"),
    symlink("a/link", "../" + "t" * 200),
    hardlink("a/hard", "a/plain", 0o4755),
    Item(path="a/null", kind="c"),
    Item(path="a/pipe", kind="p"),
    Item(path="a/old", data=b"", mtime=-3),
    Item(path="a/big", uid=3_000_000, gid=4_000_000_000),
    Item(path="a/cap", data=b"c", xattrs=(("security.capability", "\x01\x02"), ("user.b", "z"))),
]


@pytest.mark.parametrize("piece", [1, 7, 512, 513, 1 << 20])
def test_every_piece_size_gives_the_same_entries(piece):
    data = tar(SAMPLE)
    assert entries(data, piece) == entries(data)
    assert with_contents(data, piece)[b"a/plain"] == b"x" * 700


@pytest.mark.parametrize("style", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_formats_of_the_standard_library(style):
    names = ["d/" + "x" * 90, "short"] + ([] if style == tarfile.USTAR_FORMAT else ["y/" * 100 + "z" * 140])
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=style) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size, info.uid = 3, 7
            archive.addfile(info, io.BytesIO(b"abc"))
    assert [(entry.path, entry.size, entry.uid) for entry in entries(out.getvalue())] == [
        (name.encode(), 3, 7) for name in names
    ]


def test_what_is_written_reads_back_the_same_here_and_with_tarfile():
    written = entries(tar(SAMPLE))
    data = b"".join(
        header(entry) + (b"x" * entry.size + padding(entry.size) if entry.kind == "f" else b"") for entry in written
    )
    assert entries(data + END) == written
    with tarfile.open(fileobj=io.BytesIO(data + END), errors="surrogateescape") as archive:
        assert [os.fsencode(info.name) for info in archive] == [entry.path for entry in written]


@given(
    path=st.binary(min_size=1, max_size=300).filter(
        lambda path: b"\0" not in path and all(part not in (b"", b".", b"..") for part in path.split(b"/"))
    ),
    uid=st.integers(0, tarheader.MAX_ID),
    mtime=st.integers(-(2**40), 2**40),
    mode=st.integers(0, 0o7777),
    value=st.binary(max_size=50),
)
def test_any_entry_reads_back(path, uid, mtime, mode, value):
    if max(map(len, path.split(b"/"))) > 255:
        path = path[:200].rstrip(b"/")
    entry = Entry(path, "f", mode, uid, uid, 0, mtime, xattrs=((b"user.x", value),))
    assert entries(header(entry) + END) == [entry]


@pytest.mark.parametrize("style", ["gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"])
def test_sparse_files_are_read_whole(style, tmp_path):
    with (tmp_path / "sparse").open("wb") as out:
        for at in (0, 200_000, 1_000_000, 1_300_000, 1_600_000, 1_900_000, 2_200_000):
            out.seek(at)
            out.write(b"data at %d" % at)
        out.truncate(3_000_000)
    options = ["--format=gnu"] if style == "gnu" else ["--format=pax", style]
    done = subprocess.run(
        ["tar", "-cf", "-", "--sparse", *options, "-C", tmp_path, "sparse"], stdout=subprocess.PIPE, check=True
    )
    assert len(done.stdout) < 200_000
    (found,) = entries(done.stdout)
    assert (found.path, found.size) == (b"sparse", 3_000_000)
    assert with_contents(done.stdout)[b"sparse"] == (tmp_path / "sparse").read_bytes()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (block(name=b"../x"), "'../x' leads out of the layer"),
        (block(name=b"a/../../x"), "leads out of the layer"),
        (block(name=b"x", flag=b"1", link=b"../../etc/passwd"), "entry 'x': its path '../../etc/passwd' leads out"),
        (block(name=b"x", size=b"\xff" * 12), "entry 'x': its size -1 is not possible"),
        (block(name=b"x", size=b"\x80" + b"\xff" * 11), "too large"),
        (block(name=b"x", size=b"12345678901"), "not an octal number"),
        (block(name=b"x", size=b"-0000000001"), "not an octal number"),
        (block(name=b"x", size=b"00000001000"), "entry 'x': the archive is cut off"),
        (block(name=b"x", flag=b"V"), "entries of type b'V' are not supported"),
        (block(name=b"x", flag=b"2"), "impossible target"),
        (block(name=b"x")[:-1] + b"!", "checksum is wrong"),
        (block(name=b"x")[:300], "cut off"),
        (block(name=b"x", flag=b"x", size=b"77777777777"), "too large"),
        (block(name=b"x", flag=b"x"), "ends after an extended header"),
        (bytes(512) + block(name=b"x"), "zeros stands between entries"),
        (header(Entry(b"a/" * 3000 + b"b", "f", 0, 0, 0, 0, 0)), "longer than Linux allows"),
        (header(Entry(b"a" * 256, "f", 0, 0, 0, 0, 0)), "longer than Linux allows"),
    ],
)
def test_refused_by_name(data, message):
    with pytest.raises(InvalidDocumentError, match=r"^layer sha256:x: ") as caught:
        entries(data + (END if "cut" not in message else b""))
    assert message in caught.value.message


@pytest.mark.parametrize(
    "record",
    [b"5 a=b\n", b"0 a=b\n", b"x a=b\n", b"99999999999999999999 a=b\n", b"6 path\n", b"8 uid=-1\n", b"11 mtime=x\n"],
)
def test_broken_extended_headers_are_refused(record):
    data = block(name=b"p", flag=b"x", size=b"%011o" % len(record)) + record + padding(len(record)) + block(name=b"x")
    with pytest.raises(InvalidDocumentError, match="layer sha256:x"):
        entries(data + END)


def test_absolute_names_are_within_the_layer():
    assert [entry.path for entry in entries(tar([file("//abs/./x"), folder("./"), file("./y")]))] == [
        b"abs/x",
        b"",
        b"y",
    ]


def test_what_follows_the_end_is_passed_over():
    assert [entry.path for entry in entries(tar([file("x")]) + b"rubbish" * 1000)] == [b"x"]


@given(st.binary(max_size=3000), st.integers(0, 2000))
def test_damaged_archives_never_crash(noise, at):
    data = bytearray(tar(SAMPLE))
    data[at : at + len(noise)] = noise
    message = ""
    try:
        entries(bytes(data))
    except InvalidDocumentError as error:
        message = error.message
    assert not message or message.startswith("layer sha256:x")


def test_a_million_entries_take_little_memory():
    """Refused beyond the limit; up to it, the table grows by a few bytes an entry."""
    one = header(Entry(b"some/folder/file-000000", "f", 0o644, 0, 0, 0, 0))
    names = (one.replace(b"000000", b"%06d" % (number % 1_000_000), 1) for number in range(100_000))
    fixed = (name[:148] + b"%06o\0 " % (sum(name[:148]) + sum(name[156:]) + 256) + name[156:] for name in names)
    tracemalloc.start()
    builder = TocBuilder("layer sha256:x")
    for entry in LayerTar(fixed, "layer sha256:x"):
        builder.add(entry)
    table = builder.finish()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert table.count == 100_000
    assert len(table.to_bytes()) < 1_500_000
    assert peak < 8_000_000


def test_more_entries_than_allowed_are_refused(monkeypatch):
    monkeypatch.setattr("runtimeimg.budgets.MAX_ENTRIES", 3)
    with pytest.raises(InvalidDocumentError, match=r"layer sha256:x.*more than 3 entries"):
        entries(tar([file(f"f{number}") for number in range(4)]))


def test_a_table_survives_being_kept():
    table = toc(tar([*SAMPLE, file("a/.wh.gone"), file("a/.wh..wh..opq"), file("a/.wh..wh.plnk/x")]))
    kept = Toc.from_bytes(table.to_bytes())
    assert list(kept.rows()) == list(table.rows())
    assert [row[:2] for _, row in table.rows()][-2:] == [(b"a/gone", "w"), (b"a", "o")]
    assert kept.whiteouts == 2
    assert Toc.from_bytes(table.to_bytes()[:-1]) is None
    assert Toc.from_bytes(b"") is None


@pytest.mark.parametrize("path", [".wh.", ".wh..", ".wh...", "a/.wh.", ".wh.x/y/.wh.z"])
def test_whiteouts_of_nothing_are_refused(path):
    with pytest.raises(InvalidDocumentError, match=r"layer sha256:x: entry '.*' is not a whiteout of anything"):
        toc(tar([file(path)]))


def test_paths_through_a_symlink_of_the_same_layer_come_to_lie_where_it_leads():
    items = [
        symlink("lib", "usr/lib"),
        file("lib/x"),
        symlink("up", "../../lib"),
        file("up/y"),
        file("lib"),
        file("lib2"),
    ]
    assert [row[0] for _, row in toc(tar(items)).rows()] == [b"lib", b"usr/lib/x", b"up", b"usr/lib/y", b"lib", b"lib2"]


def test_symlinks_without_end_are_refused():
    with pytest.raises(InvalidDocumentError, match="without end"):
        toc(tar([symlink("a", "b"), symlink("b", "a"), file("a/x")]))
    doubling = [symlink(f"l{number}", f"l{number + 1}/l{number + 1}") for number in range(60)]
    with pytest.raises(InvalidDocumentError, match="without end"):
        toc(tar([*doubling, file("l0/x")]))


def test_numbers_in_base_256():
    assert tarheader.number(b"\x80\x00\x00\x01") == 1
    assert tarheader.number(b"\xff\xff\xff\xfe") == -2
    assert tarheader.number(struct.pack(">B7x", 0x80)) == 0


def test_a_large_file_is_paid_for_as_it_is_read() -> None:
    size, piece = 300 << 20, bytes(1 << 20)

    def pieces():
        yield block(name=b"file", size=b"%011o" % size)
        for _ in range(size // len(piece)):
            yield piece
        yield bytes(1024)

    archive = LayerTar(pieces(), "layer sha256:x")
    assert [sum(map(len, archive.content())) for _ in archive] == [size]
    for_nothing = LayerTar(pieces(), "layer sha256:x", paid=lambda: 1000)
    with pytest.raises(InvalidDocumentError, match="too much for the size of its blob"):
        [sum(map(len, for_nothing.content())) for _ in for_nothing]
