"""What rpm has noted: a database that rpm itself makes, and such as nobody should have made."""

import random
import shutil
import sqlite3
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from runtimeimg.account import Account
from runtimeimg.check.packages import Owners, Package, rpmheader
from runtimeimg.cli.main import cli
from runtimeimg.compose.reading import Reader
from runtimeimg.compose.view import View
from tests.check.images import Files, Put, image
from tests.check.objects import program
from tests.stores.made import write

SPEC = """
Name: NAME
Epoch: EPOCH
Version: 1.0
Release: 3.fc40
Summary: x
License: MIT AND GPL-2.0-only
BuildArch: noarch
%description
x
%package libs
Summary: x
%description libs
x
%package empty
Summary: x
%description empty
x
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/usr/share/NAME/sub %{buildroot}/usr/lib64 %{buildroot}/usr/share/doc
for f in bin/NAME share/NAME/sub/data lib64/libNAME.so.1 share/doc/NAME; do echo hi >%{buildroot}/usr/$f; done
ln -s NAME %{buildroot}/usr/bin/NAME2
%files
/usr/bin/NAME
/usr/bin/NAME2
/usr/share/NAME
%doc /usr/share/doc/NAME
%files libs
/usr/lib64/libNAME.so.1
%files empty
"""
WHERE = "/usr/lib/sysimage/rpm"
RELEASE: Files = {"/etc/os-release": b"ID=fedora\n"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root that rpm put packages into, without their documentation."""
    top = tmp_path_factory.mktemp("rpm")
    for name, epoch in (("tool", "2"), ("other", "0")):
        (top / "x.spec").write_text(SPEC.replace("NAME", name).replace("EPOCH", epoch))
        words = ["rpmbuild", "--quiet", "-bb", "--define", f"_topdir {top}/top", str(top / "x.spec")]
        subprocess.run(words, check=True, capture_output=True)
    made = [str(path) for path in sorted((top / "top").rglob("*.rpm"))]
    assert len(made) == 6
    how = ["--root", str(top / "root"), "--dbpath", WHERE, "--define", "_db_backend sqlite"]
    done = subprocess.run(["rpm", *how, "-i", "--nodeps", "--excludedocs", *made], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return top / "root"


@pytest.fixture
def reader() -> Iterator[Reader]:
    with Reader(cache=None, account=Account()) as found:
        yield found


def files_of(root: Path) -> Files:
    found: dict[str, bytes | str | Put] = dict(RELEASE)
    for path in sorted(root.rglob("*")):
        name = f"/{path.relative_to(root)}"
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


@pytest.mark.rpm
def test_files_are_of_the_packages_that_rpm_says(root: Path, reader: Reader) -> None:
    view = View(image(files_of(root)), reader)
    notes: list[str] = []
    owners = Owners(view, notes.append)
    how = ["rpm", "--root", str(root), "--dbpath", WHERE, "-q"]
    count = 0
    for file in view.walk("/usr"):
        if file.is_folder or file.path.startswith(WHERE):
            continue
        said = subprocess.run([*how, "-f", "--qf", "%{NAME}", file.path], capture_output=True, text=True, check=True)
        package = owners.of(file.path)
        assert (package.name if package is not None else None) == said.stdout, file.path
        count += 1
    assert count == 8
    listed = subprocess.run([*how, "-a", "--qf", "%{NAME} %{EVR} %{ARCH} %{LICENSE}\\n"], capture_output=True, text=True,
                            check=True).stdout.split("\n")  # fmt: skip
    told = [
        f"{item.name} {item.epoch + ':' if item.epoch else ''}{item.version} {item.architecture} {item.license}"
        for item in owners.packages
    ]
    assert sorted(told) == sorted(line.replace(" 0:", " ") for line in listed if line)
    assert owners.of("/usr/lib64/libtool.so.1") == Package(
        kind="rpm", namespace="fedora", name="tool-libs", version="1.0-3.fc40", architecture="noarch", epoch="2",
        license="MIT AND GPL-2.0-only", origin="tool",
    )  # fmt: skip
    assert owners.of("/usr/bin/tool2") is not None
    assert owners.packages[-1].purl.startswith("pkg:rpm/fedora/tool-libs@1.0-3.fc40?arch=noarch&epoch=2")
    assert notes == []


@pytest.mark.rpm
def test_documentation_that_was_left_out_is_nobodys(root: Path, reader: Reader) -> None:
    """What rpm did not put there may be another's: it notes the state of each file."""
    view = View(image({**files_of(root), "/usr/share/doc/tool": b"mine"}), reader)
    assert Owners(view).of("/usr/share/doc/tool") is None


@pytest.mark.rpm
def test_what_is_still_in_the_log_is_read(root: Path, reader: Reader, tmp_path: Path) -> None:
    """A database that was copied while it was written has its last rows in the file beside it."""
    database = tmp_path / "rpmdb.sqlite"
    shutil.copy(root / WHERE.lstrip("/") / "rpmdb.sqlite", database)
    writing = sqlite3.connect(database, isolation_level=None)
    try:
        writing.execute("PRAGMA journal_mode = WAL")
        (blob,) = writing.execute("SELECT blob FROM Packages WHERE hnum = 1").fetchone()
        before = database.read_bytes()
        writing.execute(
            "INSERT INTO Packages VALUES (100, ?)", [blob.replace(b"other", b"added").replace(b"tool", b"plus")]
        )
        log = Path(f"{database}-wal").read_bytes()
        assert log
        assert database.read_bytes() == before
    finally:
        writing.close()
    files = {**files_of(root), f"{WHERE}/rpmdb.sqlite": before, f"{WHERE}/rpmdb.sqlite-wal": log}
    names = {item.name for item in Owners(View(image(files), reader)).packages}
    assert len(names) == 7
    assert any(name.startswith(("added", "plus")) for name in names)


@pytest.mark.rpm
def test_commands_tell_packages_of_rpm(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(f"oci:{tmp_path}/builder", image(files_of(root)))
    write(f"oci:{tmp_path}/made", image({"/app/run": Put(data=program()), "/app/tool": b"hi\n"}))
    (tmp_path / "build.yaml").write_text(
        f"""apiVersion: shipwright.io/v1alpha1
kind: Build
metadata: {{name: app}}
spec:
  builder: {{image: "oci:{tmp_path}/builder"}}
  output: {{image: app:1}}
  runtime:
    base: {{image: scratch}}
    directories: ["/usr/bin/tool:/opt/"]
    entrypoint: [/opt/tool]
"""
    )
    purl = "pkg:rpm/fedora/tool@1.0-3.fc40?arch=noarch&epoch=2"
    for words, wanted in (
        (("explain", tmp_path / "build.yaml", "/opt/tool"), "tool 1.0-3.fc40 (rpm)"),
        (("sbom", tmp_path / "build.yaml"), purl),
        (("size", tmp_path / "build.yaml"), "tool 1.0-3.fc40 (rpm)"),
    ):
        code, out, err = run(*words)
        assert (code, wanted in out, err) == (0, True, ""), (out, err)


def run(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli, [str(word) for word in words], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return (done.return_value if isinstance(done.return_value, int) else 0), done.stdout, done.stderr


@pytest.mark.parametrize(
    ("name", "said"), [("Packages", "in the format Berkeley DB"), ("Packages.db", "in the format ndb")]
)
def test_older_databases_are_named(name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    where = f"oci:{tmp_path}/old:1"
    write(where, image({f"/var/lib/rpm/{name}": b"x" * 100, "/bin/x": b"x"}))
    for words in (("explain", where, "/bin/x"), ("sbom", where), ("size", where)):
        code, _, err = run(*words)
        assert (code, err.count(said), err.count("note:")) == (0, 1, 1), err


def header(*entries: tuple[int, int, bytes, int]) -> bytes:
    """A header of entries: tag, kind, data, count."""
    index, data = b"", b""
    for tag, kind, value, count in entries:
        index += struct.pack(">IIiI", tag, kind, len(data), count)
        data += value
    return struct.pack(">II", len(entries), len(data)) + index + data


NAME = (1000, 6, b"app\0", 1)
BASE, FOLDER = (1117, 8, b"x\0", 1), (1118, 8, b"/usr/\0", 1)


def test_paths_of_headers() -> None:
    index = (1116, 4, struct.pack(">I", 0), 1)
    assert list(rpmheader.files(rpmheader.values(header(NAME, index, BASE, FOLDER)))) == ["/usr/x"]
    outside = (1116, 4, struct.pack(">I", 9), 1)
    assert list(rpmheader.files(rpmheader.values(header(NAME, outside, BASE, FOLDER)))) == []
    states = (1029, 1, b"\x02", 1)
    assert list(rpmheader.files(rpmheader.values(header(NAME, states, index, BASE, FOLDER)))) == []
    old = (1027, 8, b"/a\0/b\0", 2)
    assert list(rpmheader.files(rpmheader.values(header(NAME, old)))) == ["/a", "/b"]
    long = (1118, 8, b"/" * 5000 + b"\0", 1)
    assert list(rpmheader.files(rpmheader.values(header(NAME, index, BASE, long)))) == []


BAD_HEADERS = {
    "nothing": b"",
    "counts that lie": struct.pack(">II", 1 << 31, 1 << 31),
    "too many entries": struct.pack(">II", 65_537, 0) + bytes(16 * 65_537),
    "an entry outside": header((1000, 6, b"", 1))[:-16] + struct.pack(">IIiI", 1000, 6, 99, 1),
    "an entry before": header((1000, 6, b"", 1))[:-16] + struct.pack(">IIiI", 1000, 6, -8, 1),
    "a text without an end": header((1000, 6, b"app", 1)),
    "too many texts": header((1117, 8, b"a\0", 4_000_000_000)),
    "too many numbers": header((1116, 4, bytes(8), 3)),
    "a kind that is none": header((1000, 77, b"app\0", 1)),
}


@pytest.mark.parametrize("data", BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_malformed_headers(data: bytes) -> None:
    with pytest.raises(ValueError, match="header"):
        rpmheader.values(data)


def database(path: Path, *statements: tuple[str, tuple[object, ...]]) -> bytes:
    writing = sqlite3.connect(path, isolation_level=None)
    for text, values in statements:
        writing.execute(text, values)
    writing.close()
    return path.read_bytes()


TABLE = ("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)", ())
ROW = "INSERT INTO Packages VALUES (?, ?)"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS blob FROM n"
HOSTILE: dict[str, tuple[tuple[tuple[str, tuple[object, ...]], ...], str]] = {
    "no table": ((("CREATE TABLE Other (x)", ()),), "no such table"),
    "other columns": ((("CREATE TABLE Packages (x)", ()),), "no such column"),
    "a view that never ends": ((("CREATE VIEW Packages AS " + ENDLESS, ()),), ""),
    "a view of the schema": ((("CREATE VIEW Packages AS SELECT sql AS blob FROM sqlite_master", ()),), "prohibited"),
    "a function": ((("CREATE VIEW Packages AS SELECT randomblob(1000000000) AS blob", ()),), ""),
    "a computed column": (
        (("CREATE TABLE Packages (hnum, blob AS (zeroblob(900000000)))", ()), ("INSERT INTO Packages VALUES (1)", ())),
        "",
    ),
    "a text": ((TABLE, (ROW, (1, "text"))), "is none"),
    "a header cut short": ((TABLE, (ROW, (1, b"\0"))), "cut short"),
    "a header of zeros": ((TABLE, (ROW, (1, bytes(8)))), ""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_databases_give_a_note(name: str, tmp_path: Path, reader: Reader) -> None:
    statements, said = HOSTILE[name]
    data = database(tmp_path / "made", *statements)
    notes: list[str] = []
    owners = Owners(View(image({f"{WHERE}/rpmdb.sqlite": data}), reader), notes.append)
    assert owners.packages == ()
    assert [said in note for note in notes] == ([True] if name != "a header of zeros" else []), notes


@pytest.mark.parametrize("data", [b"", b"SQLite format 3\0", b"x" * 5000], ids=["empty", "a head", "other"])
def test_files_that_are_no_database(data: bytes, reader: Reader) -> None:
    notes: list[str] = []
    assert Owners(View(image({f"{WHERE}/rpmdb.sqlite": data}), reader), notes.append).packages == ()
    assert len(notes) == 1


def test_a_database_of_names_without_end(tmp_path: Path, reader: Reader) -> None:
    """Each of its headers makes large paths of little: there is an end to them together."""
    bases = b"x\0" * 100_000
    many = header(
        NAME, (1116, 4, bytes(400_000), 100_000), (1117, 8, bases, 100_000), (1118, 8, b"/" + b"d" * 4000 + b"/\0", 1)
    )
    data = database(tmp_path / "made", TABLE, (ROW, (1, header(NAME))), (ROW, (2, many)))
    notes: list[str] = []
    assert [
        item.name for item in Owners(View(image({f"{WHERE}/rpmdb.sqlite": data}), reader), notes.append).packages
    ] == ["app"]
    assert "too long together" in notes[0]


@pytest.mark.rpm
def test_changed_bytes_of_a_database(root: Path) -> None:
    """Anything is read, or a note is made of it."""
    data = (root / WHERE.lstrip("/") / "rpmdb.sqlite").read_bytes()
    dice = random.Random(14)
    crashed: list[str] = []
    for _ in range(150):
        changed = bytearray(data)
        for _ in range(dice.choice((1, 5, 50, 500))):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        told(bytes(changed), crashed.append)
    assert all("rpmdb.sqlite" in note for note in crashed)


def told(data: bytes, note: Callable[[str], None]) -> None:
    with Reader(cache=None, account=Account()) as reader:
        _ = Owners(View(image({f"{WHERE}/rpmdb.sqlite": data}), reader), note).packages
