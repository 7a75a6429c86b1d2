"""`runtimeimg build` with the native builder, from the command line: platforms, what is reported, the same bytes."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from runtimeimg.cli.main import cli
from runtimeimg.oci import Location
from runtimeimg.stores import StoreOptions, open_image
from runtimeimg.stores.registry.address import Address
from runtimeimg.stores.registry.http import Http
from tests.published import validate
from tests.stores.made import image, index, write

SPEC = """\
apiVersion: runtimeimg.dev/v1
kind: Build
metadata: {name: web}
spec:
  builder: {image: "oci:BUILDER:1"}
  output: {image: web:1}
  runtime:
    base: {image: "oci:BASE:1"}
    env: {PATH: "/app:$PATH"}
    directories: ["/file*:/app/", "$(workspace)/page:/app/page"]
    annotations: {org.example.team: web}
    user: {name: "1001"}
    workDir: /work
    expose: [8080]
    daemons: []
    entrypoint: [/app/run]
"""


def make(folder: Path) -> Path:
    """Make layouts with a base and a builder for two platforms, and the spec; return the spec's path."""
    folder.mkdir(parents=True)
    for name, seed in (("BASE", 1), ("BUILDER", 2)):
        made = index(image(seed, arch="amd64"), image(seed + 10, arch="arm64"))
        write(f"oci:{folder / name.lower()}:1", made)
    (folder / "page").write_text("hello\n")
    os.utime(folder / "page", (1_600_000_000, 1_600_000_000))
    (folder / "page").chmod(0o644)
    spec = folder / "build.yaml"
    spec.write_text(SPEC.replace("BUILDER", str(folder / "builder")).replace("BASE", str(folder / "base")))
    return spec


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    return make(tmp_path / "project")


def run(*args: str, cache: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "XDG_CACHE_HOME": str(cache), "DOCKER_HOST": "unix:///nowhere/docker.sock", **environ}
    command = [sys.executable, "-m", "runtimeimg", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=env)


def built(*args: str, cache: Path, **environ: str) -> str:
    done = run("build", *args, cache=cache, **environ)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def inspect(where: str, *args: str, cache: Path) -> dict[str, object]:
    done = run("inspect", where, "--format", "json", *args, cache=cache)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_an_image_for_this_machine_and_what_is_reported(spec: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("metadata", "iid", "digest")}
    reports = ("--metadata-file", "--iidfile", "--digestfile")
    options = [part for pair in zip(reports, map(str, files.values()), strict=True) for part in pair]
    printed = built(str(spec), "-o", f"oci:{tmp_path / 'out'}", *options, cache=tmp_path / "cache")
    found = inspect(f"oci:{tmp_path / 'out'}:1", cache=tmp_path / "cache")
    assert found["digest"] == printed == files["digest"].read_text().strip()
    assert found["imageID"] == files["iid"].read_text().strip()
    assert found["annotations"] == {"org.example.team": "web"}
    assert found["config"]["WorkingDir"] == "/work"  # type: ignore[index]
    assert found["config"]["Env"] == ["PATH=/app:/bin"]  # type: ignore[index]
    assert found["graph"]["expose"][0]["port"] == 8080  # type: ignore[index]
    metadata = json.loads(files["metadata"].read_text())
    assert metadata["builder"] == "native"
    assert metadata["images"][0]["configDigest"] == found["imageID"]
    assert metadata["written"][0]["digest"] == printed
    names = json.loads((tmp_path / "out" / "index.json").read_text())["manifests"][0]["annotations"]
    assert names == {"org.opencontainers.image.ref.name": "1", "io.containerd.image.name": "docker.io/library/web:1"}


def test_several_platforms_give_an_index(spec: Path, tmp_path: Path) -> None:
    where = f"oci:{tmp_path / 'out'}:1"
    printed = built(str(spec), "-o", where, "--platform", "linux/amd64,linux/arm64", cache=tmp_path / "cache")
    everything = built(str(spec), "-o", f"oci:{tmp_path / 'all'}:1", "--platform", "all", cache=tmp_path / "cache")
    assert printed == everything
    for platform in ("linux/amd64", "linux/arm64"):
        found = inspect(where, "--platform", platform, cache=tmp_path / "cache")
        assert found["platform"] == platform
        assert len(found["layers"]) == 3  # type: ignore[arg-type]


def test_all_platforms_are_those_that_base_and_builder_share(spec: Path, tmp_path: Path) -> None:
    write(f"oci:{spec.parent / 'three'}:1", index(*(image(3, arch=arch) for arch in ("s390x", "arm64", "ppc64le"))))
    write(f"oci:{spec.parent / 'other'}:1", index(image(4, arch="s390x")))
    text = spec.read_text()
    spec.write_text(text.replace(str(spec.parent / "base"), str(spec.parent / "three")))
    where = f"oci:{tmp_path / 'out'}:1"
    built(str(spec), "-o", where, "--platform", "all", cache=tmp_path / "cache")
    assert inspect(where, "--platform", "linux/arm64", cache=tmp_path / "cache")["platform"] == "linux/arm64"
    assert run("inspect", where, "--platform", "linux/s390x", cache=tmp_path / "cache").returncode == 3
    spec.write_text(text.replace(str(spec.parent / "base"), str(spec.parent / "other")))
    done = run("build", str(spec), "-o", where, "--platform", "all", cache=tmp_path / "cache")
    assert done.returncode == 3
    assert "have no platform in common" in done.stderr
    assert "other:1' is for linux/s390x; 'oci:" in done.stderr


def test_a_missing_platform_lists_what_there_is(spec: Path, tmp_path: Path) -> None:
    done = run("build", str(spec), "-o", f"oci:{tmp_path / 'out'}", "--platform", "linux/s390x", cache=tmp_path / "c")
    assert done.returncode == 3
    assert "nothing for linux/s390x" in done.stderr
    assert "linux/amd64, linux/arm64" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_run_step_is_refused_by_its_place(spec: Path, tmp_path: Path) -> None:
    spec.write_text(spec.read_text() + "    run: [useradd app]\n")
    done = run("build", str(spec), "--builder", "native", "-o", f"oci:{tmp_path / 'out'}", cache=tmp_path / "c")
    assert done.returncode == 2
    assert "spec.runtime.run[0]: the native builder runs nothing" in done.stderr


def test_a_source_that_is_not_there_is_named_by_its_line(spec: Path, tmp_path: Path) -> None:
    spec.write_text(spec.read_text().replace("/file*:/app/", "/nowhere:/app/"))
    done = run("build", str(spec), "-o", f"oci:{tmp_path / 'out'}", cache=tmp_path / "c")
    assert done.returncode == 3
    assert "build.yaml:10:19: spec.runtime.directories[0]" in done.stderr
    assert "/nowhere" in done.stderr
    assert not (tmp_path / "out").exists()


def test_daemons_need_a_shell(spec: Path, tmp_path: Path) -> None:
    spec.write_text(spec.read_text().replace("daemons: []", "daemons: [[redis-server]]"))
    done = run("build", str(spec), "-o", f"oci:{tmp_path / 'out'}", cache=tmp_path / "c")
    assert done.returncode == 2
    assert "spec.runtime.daemons: the image has no '/bin/sh'" in done.stderr
    built(str(spec), "--no-supervise", "-o", f"oci:{tmp_path / 'out'}:1", cache=tmp_path / "c")
    found = inspect(f"oci:{tmp_path / 'out'}:1", cache=tmp_path / "c")
    assert found["graph"]["daemons"] == [["redis-server"]]  # type: ignore[index]
    assert found["config"]["Entrypoint"] == ["/app/run"]  # type: ignore[index]


def test_the_same_digest_in_other_circumstances(tmp_path: Path) -> None:
    digests = set()
    circumstances = [
        {"umask": 0o022, "TZ": "UTC", "LANG": "C.UTF-8"},
        {"umask": 0o077, "TZ": "Asia/Tokyo", "LANG": "C"},
        {"umask": 0o000, "TZ": "America/New_York", "LANG": "de_DE.UTF-8", "PYTHONHASHSEED": "7"},
    ]
    for number, environ in enumerate(circumstances):
        before = os.umask(int(environ.pop("umask")))
        try:
            folder = tmp_path / f"somewhere{number}" / ("x" * number + "project")
            spec = make(folder)
            names = {str(key): str(value) for key, value in environ.items()}
            for cache in ("cache", "cache", "another"):
                target = f"oci:{tmp_path / 'out'}{number}:1"
                digests.add(built(str(spec), "-o", target, cache=tmp_path / f"{cache}{number}", **names))
                time.sleep(0.01)
        finally:
            os.umask(before)
    assert len(digests) == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_the_same_digest_as_another_user(tmp_path: Path) -> None:
    """The child imports everything first: another user may not be allowed to read this interpreter's libraries."""
    spec = make(tmp_path / "project")
    first = built(str(spec), "-o", f"oci:{tmp_path / 'out'}:1", cache=tmp_path / "cache")
    home = tmp_path / "home"
    home.mkdir()
    shutil.chown(home, 65534, 65534)
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    warm = ["build", str(spec), "-o", f"oci:{home / 'warm'}:1", "--no-cache"]
    target = home / "out"
    code = (
        "import os, shutil, sys\n"
        "from runtimeimg.cli.main import cli\n"
        f"cli.main({warm!r}, standalone_mode=False)\n"
        f"shutil.rmtree({str(home / 'warm')!r})\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); os.umask(0o027)\n"
        f"cli.main({[*warm[:3], f'oci:{target}:1']!r}, standalone_mode=False)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home), "DOCKER_HOST": "unix:///nowhere"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [first, first]
    assert (home / "out" / "index.json").stat().st_uid == 65534


@pytest.mark.reference
def test_the_layout_passes_the_published_schemas(spec: Path, tmp_path: Path, reference: Path) -> None:
    out = tmp_path / "out"
    built(str(spec), "-o", f"oci:{out}:1", "--platform", "all", cache=tmp_path / "cache")

    def blob(descriptor: dict[str, str]) -> dict[str, object]:
        loaded: dict[str, object] = json.loads((out / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes())
        return loaded

    validate(reference, "image-layout-schema.json", json.loads((out / "oci-layout").read_text()))
    top = json.loads((out / "index.json").read_text())
    validate(reference, "image-index-schema.json", top)
    inner = blob(top["manifests"][0])
    validate(reference, "image-index-schema.json", inner)
    for entry in inner["manifests"]:  # type: ignore[attr-defined]
        manifest = blob(entry)
        validate(reference, "image-manifest-schema.json", manifest)
        validate(reference, "config-schema.json", blob(manifest["config"]))  # type: ignore[arg-type]


@pytest.mark.skopeo
@pytest.mark.umoci
def test_other_tools_read_the_layout(spec: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    printed = built(str(spec), "-o", f"oci:{out}:1", cache=tmp_path / "cache")
    shown = subprocess.run(["skopeo", "inspect", f"oci:{out}:1"], capture_output=True, text=True, check=True)
    assert json.loads(shown.stdout)["Digest"] == printed
    listed = subprocess.run(
        ["umoci", "stat", "--image", f"{out}:1", "--json"], capture_output=True, text=True, check=True
    )
    assert len(json.loads(listed.stdout)["history"]) >= 3


@pytest.mark.registry
def test_a_registry_is_asked_for_each_document_once(
    spec: Path, tmp_path: Path, registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Indexes, manifests and configs of base and builder, for two platforms; then the same build once more."""
    for name in ("base", "builder"):
        found = open_image(Location.parse(f"oci:{tmp_path / 'project' / name}:1"), StoreOptions())
        write(f"docker://{registry}/asked-once/{name}:1", found)
    text = spec.read_text()
    for name in ("base", "builder"):
        text = text.replace(f"oci:{tmp_path / 'project' / name}:1", f"docker://{registry}/asked-once/{name}:1")
    spec.write_text(text)
    asked: list[str] = []
    send = Http.send

    def counted(self: Http, method: str, address: Address, *more: Any) -> Any:
        if method == "GET":
            asked.append(address.url)
        return send(self, method, address, *more)

    monkeypatch.setattr(Http, "send", counted)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    for number in (1, 2):
        asked.clear()
        target = f"oci:{tmp_path / 'out'}:{number}"
        arguments = ["build", str(spec), "-q", "-o", target, "--platform", "linux/amd64,linux/arm64"]
        cli.main(arguments, standalone_mode=False)
        documents = [url for url in asked if "/manifests/" in url]
        assert len(documents) == len(set(documents)) == 6  # an index and two manifests, of base and builder
    assert len(asked) == len(set(asked)) == 6 + 4  # and two configs of each: no layer
