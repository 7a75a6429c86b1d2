"""Files are attributed to the packages that the tools of distributions and languages say they are of."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from runtimeimg.account import Account
from runtimeimg.check.packages import Owners, Package
from runtimeimg.check.size import differences
from runtimeimg.cli.main import cli
from runtimeimg.cli.size import bytes_of
from runtimeimg.compose.reading import Reader
from runtimeimg.compose.view import View
from runtimeimg.errors import NotFoundError
from runtimeimg.image import Image
from runtimeimg.oci import Location
from runtimeimg.stores import StoreOptions, open_one
from tests.check.conftest import Kept
from tests.check.images import Files, Put, image
from tests.check.objects import program, static
from tests.stores.made import write

STATUS = b"""Package: tool
Status: install ok installed
Architecture: amd64
Source: tools (1.0)
Version: 1:1.0-2

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 3
"""
DPKG: Files = {
    "/lib": "usr/lib",
    "/etc/os-release": b'NAME="Debian"\nID=debian\n',
    "/var/lib/dpkg/status": STATUS,
    "/var/lib/dpkg/info/tool:amd64.list": b"/.\n/usr\n/usr/bin/tool\n/lib/libtool.so\n",
    "/usr/bin/tool": Put(data=static()),
    "/usr/lib/libtool.so": b"x",
}
TOOL = Package(kind="deb", namespace="debian", name="tool", version="1:1.0-2", architecture="amd64", origin="tools")


@pytest.fixture
def reader() -> Iterator[Reader]:
    with Reader(cache=None, account=Account()) as found:
        yield found


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(cli, [str(word) for word in words], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return (done.return_value if isinstance(done.return_value, int) else 0), done.stdout


def test_dpkg(reader: Reader) -> None:
    owners = Owners(View(image(DPKG), reader))
    assert [owners.of(path) for path in ("/usr/bin/tool", "/usr/lib/libtool.so", "/usr/bin/other")] == [
        TOOL,
        TOOL,
        None,
    ]
    assert owners.packages == (TOOL,)
    assert TOOL.purl == "pkg:deb/debian/tool@1:1.0-2?arch=amd64"


def test_dpkg_without_a_list(reader: Reader) -> None:
    """A package that is installed is one without it too, with no files; what dpkg has not finished is none."""
    more = b"\n".join(
        b"Package: %s\nStatus: install ok %s\nArchitecture: all\nVersion: 7\n" % (name, state)
        for name, state in ((b"meta", b"installed"), (b"half", b"half-installed"), (b"new", b"unpacked"))
    )
    owners = Owners(View(image({**DPKG, "/var/lib/dpkg/status": STATUS + b"\n" + more}), reader))
    meta = Package(kind="deb", namespace="debian", name="meta", version="7", architecture="all")
    assert owners.packages == (meta, TOOL)
    assert owners.of("/usr/bin/tool") == TOOL


def test_distroless(reader: Reader) -> None:
    files: Files = {
        "/var/lib/dpkg/status.d/libx": b"Package: libx\nVersion: 2\nArchitecture: all\n",
        "/var/lib/dpkg/status.d/libx.md5sums": b"d41d8cd98f00b204e9800998ecf8427e  usr/lib/libx.so\n",
        "/usr/lib/libx.so": b"",
    }
    assert str(Owners(View(image(files), reader)).of("/usr/lib/libx.so")) == "libx 2 (deb)"


def test_apk(reader: Reader) -> None:
    files: Files = {
        "/etc/os-release": b"ID=alpine\n",
        "/lib/apk/db/installed": b"P:musl\nV:1.2.4-r2\nA:x86_64\no:musl\nL:MIT\nF:lib\nR:ld-musl-x86_64.so.1\nF:etc\n\nP:zlib\nV:1\nF:lib\nR:libz.so.1\n",
    }
    owners = Owners(View(image(files), reader))
    assert owners.of("/lib/ld-musl-x86_64.so.1") == Package(
        kind="apk", namespace="alpine", name="musl", version="1.2.4-r2", architecture="x86_64", license="MIT"
    )
    assert str(owners.of("/lib/libz.so.1")) == "zlib 1 (apk)"


def test_pypi_and_npm(reader: Reader) -> None:
    site = "/app/venv/lib/python3.11/site-packages"
    files: Files = {
        f"{site}/My_Pack-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: My_Pack\nVersion: 1.0\nLicense-Expression: MIT\n",
        f"{site}/My_Pack-1.0.dist-info/RECORD": b'mypack/__init__.py,sha256=x,1\n../../../bin/my,,\n"a,b.py",,\n',
        f"{site}/mypack/__init__.py": b"x",
        f"{site}/mypack/__pycache__/__init__.cpython-311.pyc": b"x",
        f"{site}/other.py": b"x",
        "/app/node_modules/@scope/mod/package.json": b'{"name": "@scope/mod", "version": "2.0.0", "license": "ISC"}',
        "/app/node_modules/@scope/mod/lib/index.js": b"x",
        "/app/node_modules/@scope/mod/node_modules/inner/package.json": b'{"name": "inner", "version": "3"}',
        "/app/node_modules/@scope/mod/node_modules/inner/a.js": b"x",
        "/app/node_modules/broken/package.json": b"{",
        "/app/package.json": b'{"name": "app", "version": "9"}',
    }
    owners = Owners(View(image(files), reader))
    mine = Package(kind="pypi", name="my-pack", version="1.0", license="MIT")
    for path in (
        "mypack/__init__.py",
        "mypack/__pycache__/__init__.cpython-311.pyc",
        "a,b.py",
        "My_Pack-1.0.dist-info/METADATA",
    ):
        assert owners.of(f"{site}/{path}") == mine, path
    assert owners.of("/app/venv/bin/my") == mine
    assert owners.of(f"{site}/other.py") is None
    scoped = owners.of("/app/node_modules/@scope/mod/lib/index.js")
    assert scoped is not None
    assert (scoped.purl, str(scoped)) == ("pkg:npm/%40scope/mod@2.0.0", "@scope/mod 2.0.0 (npm)")
    assert str(owners.of("/app/node_modules/@scope/mod/node_modules/inner/a.js")) == "inner 3 (npm)"
    assert owners.of("/app/node_modules/broken/package.json") is None
    assert owners.of("/app/package.json") is None


@pytest.mark.engine
def test_files_of_debian_are_of_the_packages_that_dpkg_says(reader: Reader) -> None:
    debian = open_one(Location.parse("docker-daemon:debian:bookworm-slim"), None, StoreOptions())
    owners = Owners(View(debian, reader))
    script = """
for f in $(find /usr/bin /usr/lib/x86_64-linux-gnu -type f | sort | awk 'NR % 6 == 0'); do
  echo "$f $(dpkg-query -S "$f" 2>/dev/null || dpkg-query -S "${f#/usr}" 2>/dev/null)"
done
"""
    said = subprocess.run(
        ["docker", "run", "--rm", "debian:bookworm-slim", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split() for line in said.stdout.splitlines()]
    assert len(lines) > 80
    for words in lines:
        package = owners.of(words[0])
        assert (package.name if package is not None else None) == (
            words[1].partition(":")[0] if len(words) > 1 else None
        ), words


LISTED = """
import importlib.metadata as m, json
found = [d for d in m.distributions() if "dist-packages" not in str(d._path)]
print(json.dumps(sorted(d.metadata["Name"].lower().replace("_", "-") + " " + d.version for d in found)))
"""


@pytest.mark.engine
def test_packages_without_a_list_are_those_that_dpkg_says(reader: Reader) -> None:
    base = open_one(Location.parse("docker-daemon:debian:bookworm-slim"), None, StoreOptions())
    lists = ("/var/lib/dpkg/info", "tzdata.list", "zlib1g:amd64.list")
    gone = Owners(View(image({f"{lists[0]}/.wh.{name}": b"" for name in lists[1:]}, base=base), reader))
    script = f"cd {lists[0]} && rm {' '.join(lists[1:])} && dpkg-query -W -f '${{Package}} ${{Version}} ${{Architecture}}\\n'"
    words = ["docker", "run", "--rm", "debian:bookworm-slim", "sh", "-c", script]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "tzdata 20" in ran.stdout
    assert [f"{item.name} {item.version} {item.architecture}" for item in gone.packages] == ran.stdout.splitlines()
    assert gone.of("/usr/share/zoneinfo/UTC") is None


@pytest.mark.engine
def test_packages_of_the_samples_are_those_that_their_tools_list(kept: Kept, reader: Reader) -> None:
    listed = {
        "counter-build": ["/app/venv/bin/python", "-c", LISTED],
        "web-build": ["sh", "-c", "npm ls --all --json 2>/dev/null || true"],
    }
    for name, command in listed.items():
        tag = f"runtimeimg-samples/{name}:1"
        said = json.loads(
            subprocess.run(["docker", "run", "--rm", tag, *command], capture_output=True, text=True, check=True).stdout
        )
        view = View(open_one(Location.parse(kept.image(tag)), None, StoreOptions()), reader)
        owners = Owners(view)
        if name == "counter-build":
            found = sorted(f"{item.name} {item.version}" for item in owners.packages if item.kind == "pypi")
            assert found == said
            continue
        packages = {owners.of(file.path) for file in view.walk("/workspace/source/node_modules") if file.is_file}
        found = sorted(f"{item} ".partition(" (")[0] for item in packages if item is not None and item.kind == "npm")
        assert set(found) == set(_installed(said))
        assert len(found) > 30


def _installed(tree: dict[str, object]) -> Iterator[str]:
    inner = tree.get("dependencies")
    for name, item in inner.items() if isinstance(inner, dict) else ():
        if item.get("version"):
            yield f"{name} {item['version']}"
        yield from _installed(item)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(f"oci:{tmp_path}/builder", image(DPKG, {"/app/run": Put(data=program()), "/app/data": b"data"}))
    write(f"oci:{tmp_path}/base", image({"/etc/x": b"12345", "/bin": "usr/bin", "/usr/bin": Put(data=None)}))
    (tmp_path / "build.yaml").write_text(
        f"""apiVersion: shipwright.io/v1alpha1
kind: Build
metadata: {{name: app}}
spec:
  builder: {{image: "oci:{tmp_path}/builder"}}
  output: {{image: app:1}}
  runtime:
    base: {{image: "oci:{tmp_path}/base"}}
    directories:
      - /app/data:/srv/data
      - /usr/bin/tool:/bin/
    entrypoint: [/bin/tool]
"""
    )
    return tmp_path


def test_explain_a_file_of_a_spec(made: Path) -> None:
    _, out = run("explain", made / "build.yaml", "/bin/tool", "--format", "json")
    found = json.loads(out)
    assert (found["path"], found["source"], found["base"]) == ("/usr/bin/tool", "/usr/bin/tool", False)
    assert found["copy"]["origin"] == f"{made}/build.yaml:11:9: spec.runtime.directories[1]"
    assert found["package"] == {"purl": TOOL.purl, "origin": "tools"}
    _, out = run("explain", made / "build.yaml", "/srv/data")
    assert f"copied by   {made}/build.yaml:10:9: spec.runtime.directories[0]: '/app/data' of oci:{made}/builder" in out
    assert "source      /app/data" in out
    _, out = run("explain", made / "build.yaml", "/etc/x")
    assert "the base's" in out
    assert "copied by" not in out
    with pytest.raises(NotFoundError, match="'/srv/none' is not in image 'app:1'") as missing:
        run("explain", made / "build.yaml", "/srv/none")
    assert missing.value.hint == "'/srv' holds data"


def test_explain_a_file_of_an_image(made: Path) -> None:
    _, out = run("explain", f"oci:{made}/builder", "/usr/lib/libtool.so", "--format", "json")
    assert json.loads(out)["package"]["purl"] == TOOL.purl
    _, out = run("explain", f"oci:{made}/base", "/bin")
    assert out.splitlines()[0] == "path        /bin -> usr/bin"


def test_sizes_and_budgets(made: Path) -> None:
    code, out = run("size", made / "build.yaml", "--format", "json")
    found = json.loads(out)
    assert (code, found["overBudget"]) == (0, False)
    assert found["files"] == {"bytes": 5 + 4 + len(static()), "count": 3}
    assert {item["package"]: item["bytes"] for item in found["packages"]} == {
        str(TOOL): len(static()), "(of no package)": 9
    }  # fmt: skip
    assert next(item["base"] for item in found["layers"]) is True
    assert found["stored"] == sum(item["stored"] for item in found["layers"])
    assert run("size", made / "build.yaml", "--max-size", "1kB")[0] == 10 if found["stored"] > 1000 else True
    assert run("size", made / "build.yaml", "--max-size", str(found["stored"] - 1))[0] == 10
    assert run("size", made / "build.yaml", "--max-size", str(found["stored"]))[0] == 0
    _, text = run("size", made / "build.yaml")
    assert "/usr/bin" in text
    _, marked = run("size", made / "build.yaml", "--format", "markdown", "--against", f"oci:{made}/base")
    assert "added /srv/data" in marked


@pytest.mark.parametrize(
    ("text", "count"),
    [("10", 10), ("1kB", 1000), ("1.5 MB", 1_500_000), ("2GiB", 2 << 30), ("3K", 3000), ("7b", 7), ("0", 0)],
)
def test_bytes(text: str, count: int) -> None:
    assert bytes_of(text) == count


@pytest.mark.parametrize("text", ["", "x", "-1", "1 TB", "1e5", "1.2345MB"])
def test_what_is_no_size(text: str) -> None:
    import click

    with pytest.raises(click.BadParameter):
        bytes_of(text)


def test_against_names_exactly_the_files_that_differ(reader: Reader) -> None:
    shared = {"/same": b"same", "/link": "same"}
    before = image(
        {**shared, "/moved": b"moved"},
        {"/a": b"1", "/b": b"22", "/c": b"xx", "/d": b"d", "/mode": Put(data=b"m", mode=0o644)},
    )
    after = image(
        {**shared, "/moved2": b"x"},
        {"/a": b"1", "/b": b"333", "/c": b"yy", "/e": b"e", "/mode": Put(data=b"m", mode=0o755), "/moved": b"moved"},
    )
    found = {item.path: item.what for item in differences(View(before, reader), View(after, reader))}
    assert found == {
        "/b": "grown",
        "/c": "changed",
        "/d": "removed",
        "/e": "added",
        "/mode": "changed",
        "/moved2": "added",
    }


@pytest.mark.engine
def test_against_a_second_build_of_a_sample(kept: Kept, tmp_path: Path) -> None:
    """One file is changed, one left out, one added: these are named, and nothing else."""
    name = f"runtimeimg-test-size/web-build:{uuid.uuid4().hex[:8]}"
    script = "echo '// more' >>/workspace/source/dist/links.js; rm /workspace/source/public/index.html; echo x >/workspace/source/public/new.txt"
    try:
        subprocess.run(["docker", "build", "-q", "-t", name, "-"], check=True, capture_output=True,
                       input=f"FROM runtimeimg-samples/web-build:1\nRUN {script}\n".encode())  # fmt: skip
        run("build", kept.file("nodejs"), "-o", f"oci:{tmp_path}/first", "--builder", "native", "-q")
        _, out = run("size", kept.file("nodejs"), "--builder-image", name, "--against", f"oci:{tmp_path}/first",
                     "--format", "json")  # fmt: skip
    finally:
        subprocess.run(["docker", "rmi", "-f", name], capture_output=True, check=False)
    changed = {item["path"]: item["what"] for item in json.loads(out)["changed"]}
    assert changed == {
        "/app/dist/links.js": "grown", "/app/public/new.txt": "added", "/app/public/index.html": "removed",
    }  # fmt: skip


def test_images_are_not_changed(reader: Reader) -> None:
    one: Image = image(DPKG)
    assert differences(View(one, reader), View(one, reader)) == ()
