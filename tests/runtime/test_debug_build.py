"""`build --debug`: the small shell of the debug image below /.debug, by every builder; the plain image as ever."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from runtimeimg.image.layertar import DIRECTORY
from runtimeimg.oci import Location
from runtimeimg.stores import StoreOptions, open_one
from tests.compose.images import Item, contents, file, folder, hardlink, image, read, symlink, tar, write_layout
from tests.run.conftest import runtimeimg
from tests.stores.made import write

BUSYBOX = Path("/bin/busybox")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
Build = Callable[..., tuple[str, str]]


def shell(*links: Item) -> list[Item]:
    """What a debug image holds."""
    return [folder("bin"), file("bin/busybox", BUSYBOX.read_bytes(), 0o755), *links, folder("etc"), file("etc/x", b"x")]


IMAGES = {
    "base": [folder("bin"), file("bin/app", b"#!app", 0o755)],
    "builder": [folder("dist"), file("dist/a", b"a")],
    "debug": shell(
        symlink("bin/sh", "busybox"), symlink("bin/ls", "busybox"), hardlink("bin/cat", "bin/busybox", 0o755)
    ),
    "absolute": shell(symlink("bin/sh", "/bin/busybox")),
    "chain": shell(symlink("bin/sh", "ash"), symlink("bin/ash", "busybox")),
    "elsewhere": [folder("bin"), symlink("bin/sh", "../usr/sh"), file("usr/sh", BUSYBOX.read_bytes(), 0o755)],
    "none": shell(),
    "script": [folder("bin"), file("bin/sh", b"#!/bin/busybox sh\n", 0o755)],
    "dynamic": [folder("bin"), file("bin/sh", Path("/bin/true").read_bytes(), 0o755)],
    "usr-merged": [
        folder("usr"),
        folder("usr/bin"),
        symlink("bin", "usr/bin"),
        file("usr/bin/sh", BUSYBOX.read_bytes(), 0o755),
    ],
}


def spec(place: str, debug: str | None, *lines: str) -> str:
    head = (
        "apiVersion: runtimeimg.dev/v1\nkind: Build\nmetadata: {name: web}\nspec:\n"
        f"  builder: {{image: '{place}builder'}}\n  output: {{image: 'images.example/web:1'}}\n  runtime:\n"
        f"    base: {{image: '{place}base'}}\n    directories: ['/dist:/srv']\n    user: '7'\n"
        "    entrypoint: [/bin/app]\n"
    )
    own = [] if debug is None else [f"debug: {{image: '{place}{debug}'}}"]
    return head + "".join(f"    {line}\n" for line in [*lines, *own])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    layout = tmp_path_factory.mktemp("images") / "layout"
    write_layout(layout, {name: ([tar(items)], {}) for name, items in IMAGES.items()})
    return f"oci:{layout}:"


@pytest.fixture
def build(tmp_path: Path, place: str) -> Build:
    def run(text: str, *options: str, code: int = 0) -> tuple[str, str]:
        (tmp_path / "build.yaml").write_text(text)
        return runtimeimg("build", str(tmp_path / "build.yaml"), "-q", "--no-cache", *options, code=code)

    return run


def test_the_plain_image_is_what_it_is_without_the_key(build: Build, place: str, tmp_path: Path) -> None:
    digests = {build(spec(place, debug), "-o", f"oci:{tmp_path}/out:{debug}")[0] for debug in (None, "debug", "none")}
    assert len(digests) == 1
    assert build(spec(place, "debug"), "--debug", "-o", f"oci:{tmp_path}/out:d")[0] not in digests


@pytest.mark.parametrize("debug", ["debug", "chain", "usr-merged"])
def test_the_shell_is_added(build: Build, place: str, tmp_path: Path, debug: str) -> None:
    build(spec(place, debug, "env: {PATH: '/srv:$PATH'}"), "--debug", "-o", f"oci:{tmp_path}/out:1")
    built = open_one(Location.parse(f"oci:{tmp_path}/out:1"), None, StoreOptions())
    assert built.config.labels["dev.runtimeimg.debug"] == "true"
    assert built.config.env["PATH"] == f"/srv:{PATH}:/.debug/bin"
    entries = {entry.path: entry for layer in built.layers[1:] for entry in read(layer)}
    own = {path for path in entries if path.startswith(b".debug")}
    names = {item.path.rpartition("bin/")[2] for item in IMAGES[debug] if re.search("bin/.", item.path)}
    assert own == {b".debug", b".debug/bin", *(f".debug/bin/{name}".encode() for name in names)}
    assert {(entry.uid, entry.gid) for path, entry in entries.items() if path in own} == {(0, 0)}
    assert b"etc/x" not in entries
    assert entries[b".debug"].kind == DIRECTORY
    data = {path: text for layer in built.layers[1:] for path, text in contents(layer).items()}
    assert BUSYBOX.read_bytes() in [data.get(path) for path in own]


@pytest.mark.parametrize(
    ("debug", "message"),
    [
        ("absolute", "has no shell at '/bin/sh' that is a program in its own folder"),
        ("elsewhere", "has no shell at '/bin/sh' that is a program in its own folder"),
        ("none", "has no shell at '/bin/sh' that is a program in its own folder"),
        ("script", "has no shell at '/bin/sh' that is a program in its own folder"),
        ("dynamic", "its shell '/bin/sh' is not statically linked"),
    ],
)
def test_a_shell_that_would_not_run_there_is_refused(
    build: Build, place: str, tmp_path: Path, debug: str, message: str
) -> None:
    err = build(spec(place, debug), "--debug", "-o", f"oci:{tmp_path}/out:1", code=2)[1]
    assert f"build.yaml:12:20: spec.runtime.debug.image: debug image '{place}{debug}'" in err
    assert message in err
    assert "busybox:musl" in err
    assert not (tmp_path / "out").exists()


def test_an_error_of_a_debug_build_is_no_traceback(build: Build, place: str) -> None:
    err = build(spec(place, None), "--debug", "-o", "oci:/nowhere/out:1", code=2)[1]
    assert "the spec does not say whose shell is to be added" in err
    assert "Traceback" not in err


def test_a_folder_may_be_the_debug_image(build: Build, place: str, tmp_path: Path) -> None:
    (tmp_path / "shell" / "bin").mkdir(parents=True)
    (tmp_path / "shell" / "bin" / "sh").write_bytes(Path("/bin/true").read_bytes())
    text = spec(place, None, f"debug: {{image: 'dir:{tmp_path}/shell'}}")
    err = build(text, "--debug", "-o", f"oci:{tmp_path}/out:1", code=2)[1]
    assert "is not statically linked" in err
    (tmp_path / "shell" / "bin" / "sh").write_bytes(BUSYBOX.read_bytes())
    build(text, "--debug", "-o", f"oci:{tmp_path}/out:1")


def test_the_dockerfile_of_a_debug_build(place: str, tmp_path: Path) -> None:
    (tmp_path / "build.yaml").write_text(spec("images.example/", "debug"))
    plain = runtimeimg("render", tmp_path / "build.yaml")[0]
    assert "debug" not in plain
    text = runtimeimg("render", "--debug", tmp_path / "build.yaml")[0]
    assert "FROM images.example/debug AS source1\n" in text
    assert 'COPY --from=source1 ["/bin", "/.debug/bin"]\n' in text
    assert f'ENV PATH="${{PATH:-{PATH}}}:/.debug/bin"\n' in text
    assert "LABEL dev.runtimeimg.debug=true\n" in text


@pytest.mark.engine
@pytest.mark.registry
@pytest.mark.buildah
def test_all_builders_agree(build: Build, registry: str, tmp_path: Path, leaves_nothing: None) -> None:
    name = f"{registry}/runtimeimg-test/debugged"
    for tag in ("base", "builder", "debug"):
        write(f"docker://{name}-{tag}:latest", image(tag, IMAGES[tag]))
    text = spec(f"{name}-", "debug")
    found = {}
    for builder in ("native", "docker", "buildkit", "buildah"):
        out = tmp_path / builder
        build(text, "--debug", "--builder", builder, "-o", f"oci:{out}:1")
        built = open_one(Location.parse(f"oci:{out}:1"), None, StoreOptions())
        subprocess.run(["umoci", "unpack", "--image", f"{out}:1", tmp_path / f"{builder}-tree"], check=True)
        tree = tmp_path / f"{builder}-tree" / "rootfs" / ".debug"
        files = {
            str(path.relative_to(tree)): (
                path.is_symlink(),
                path.lstat().st_uid,
                path.lstat().st_mode,
                path.stat().st_size,
            )
            for path in sorted(tree.rglob("*"))
        }
        done = subprocess.run([tree / "bin" / "sh", "-c", "echo alive"], capture_output=True, check=True)
        assert done.stdout == b"alive\n"
        found[builder] = (files, built.config.env["PATH"], built.config.labels["dev.runtimeimg.debug"])
        for reference in (f"{name}-{tag}" for tag in ("base", "builder", "debug")):
            subprocess.run(["docker", "rmi", "-f", reference], capture_output=True, check=False)
    assert found["docker"] == found["native"], json.dumps(found)
    assert found["buildkit"] == found["native"]
    assert found["buildah"] == found["native"]
