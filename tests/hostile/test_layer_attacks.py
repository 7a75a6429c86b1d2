"""Layers that want much and are small: refused by name, or done, in bounded memory and time.

A build of the command line reads them whole, as the builder image. Bounds on time are far above what is needed (about
a second), as machines that run tests are busy.
"""

import subprocess

import pytest

from tests.compose.images import file, folder, tar, write_layout

from . import blobs, bounded

SPEC = """\
apiVersion: runtimeimg.dev/v1
kind: Build
spec:
  builder: {image: "oci:layout:builder"}
  output: {image: out}
  runtime:
    base: {image: "oci:layout:base"}
    directories: [SOURCE]
"""
MEMORY = 37 + 100
"""MiB: what a build of nothing takes, and what a small blob may add."""
PROCESSOR = 20


def build(folder_, blob, source="/:/t", **more):
    write_layout(
        folder_ / "layout", {"builder": ([blob], {}), "base": ([tar([folder("usr"), *more.get("base", ())])], {})}
    )
    (folder_ / "build.yaml").write_text(SPEC.replace("SOURCE", source))
    environ = {"XDG_CACHE_HOME": str(folder_ / "cache"), "TMPDIR": str(folder_)}
    return bounded.cli("build", "--builder", "native", "-o", "oci:out", env=environ, cwd=folder_, processor=120)


def check(outcome):
    assert outcome.code in (0, 2), outcome.said[-2000:]
    assert "Traceback" not in outcome.said
    assert "internal error" not in outcome.said
    assert outcome.memory < MEMORY
    assert outcome.processor < PROCESSOR


DONE = {"symlinks that change", "hard links out of what is covered", "hard links to one"}
"""What is no attack any more, as it costs little."""


@pytest.mark.parametrize("name", blobs.ARCHIVES)
def test_small_blobs_that_want_much(name, tmp_path):
    blob = blobs.zstd_blob(blobs.ARCHIVES[name]())
    assert len(blob) < 2 << 20
    outcome = build(tmp_path, blob)
    check(outcome)
    assert (outcome.code == 0) == (name in DONE), outcome.said[-500:]
    if outcome.code:
        assert "layer sha256:" in outcome.err or "build.yaml:8:19: spec.runtime.directories[0]" in outcome.err
    subprocess.run(["rm", "-rf", tmp_path], check=True)


GZIP = ["large attributes", "deep paths", "linked paths", "an old sparse file of an exbibyte", "many files of zeros"]


@pytest.mark.parametrize("name", [name for name in GZIP if name in blobs.ARCHIVES])
def test_the_same_as_gzip(name, tmp_path):
    outcome = build(tmp_path, blobs.gzip_blob(blobs.ARCHIVES[name]()))
    assert outcome.code in (0, 2), outcome.said[-2000:]
    assert outcome.memory < MEMORY


@pytest.mark.parametrize("log", [23, 24, 25, 26, 27, 30])
def test_windows_of_small_zstd_frames(log, tmp_path):
    outcome = build(tmp_path, blobs.wide_frame(log))
    check(outcome)
    assert (outcome.code == 0) == (log == 23)


def test_large_windows_are_taken_one_at_a_time_where_blobs_are_large(tmp_path):
    code = """
import hashlib, os, random, sys
from concurrent.futures import ThreadPoolExecutor
from runtimeimg.image.decompress import Unfolded
from runtimeimg.image.zstd import zstd
module = zstd()
part = random.Random(1).randbytes(3 << 20)
options = {module.CompressionParameter.window_log: 26, module.CompressionParameter.compression_level: 1}
blob = b"".join([(c := module.ZstdCompressor(options=options)).compress(part * 30), c.flush()])
def count(_):
    return sum(map(len, Unfolded(iter([blob]), "blob", size=len(blob))))
with ThreadPoolExecutor(6) as pool:
    print(set(pool.map(count, range(6))))
"""
    outcome = bounded.python(code)
    assert outcome.out.strip() == "{94371840}", outcome.err
    assert outcome.memory < 500  # six windows of 64 MiB and what made the blob would be more


def test_holes_stay_holes_on_the_way_and_are_zeros_in_the_result(tmp_path):
    data = b"".join(blobs.sparse_pax(200 << 20)) + bytes(1024)
    outcome = build(tmp_path, data, "/s0:/s0")
    assert outcome.code == 0, outcome.said
    assert outcome.memory < MEMORY
    done = subprocess.run(
        "tar -xzOf out/blobs/sha256/$(ls -S out/blobs/sha256 | head -1) s0 | wc -c",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == 200 << 20


def test_many_layers_of_many_entries(tmp_path):
    """The same small layer listed again and again is as much work as as many layers."""
    blob = blobs.zstd_blob(blobs.numbered(90_000, b"%d"))
    write_layout(tmp_path / "layout", {"builder": ([blob] * 100, {}), "base": ([tar([folder("usr")])], {})})
    (tmp_path / "build.yaml").write_text(SPEC.replace("SOURCE", "/:/t"))
    environ = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    outcome = bounded.cli("build", "--builder", "native", "-o", "oci:out", env=environ, cwd=tmp_path, processor=120)
    assert outcome.code == 2
    assert "files are wanted of an image" in outcome.err or "entries together" in outcome.err
    assert outcome.processor < 40


@pytest.mark.parametrize(
    "document",
    [
        b"[" * 5_000_000,
        b'{"a":' * 1_000_000,
        b'{"schemaVersion": 2, "manifests": [' + b"{}," * 2_000_000 + b"{}]}",
        b'{"schemaVersion": 2, "layers": [' + b"[]," * 2_000_000 + b"[]]}",
        b'{"schemaVersion": ' + b"9" * 1_000_000 + b"}",
        b'"' + b"\\u0000" * 1_000_000 + b'"',
        b"\xff\xfe" * 1_000_000,
        b" " * 9_000_000,
        b"NaN",
        b"",
        b"null",
        b"[]",
    ],
    ids=lambda document: repr(document[:40]),
)
def test_json_documents(document, tmp_path):
    write_layout(tmp_path / "layout", {"builder": ([tar([file("x")])], {})})
    (tmp_path / "layout/index.json").write_bytes(document)
    outcome = bounded.cli("inspect", "oci:layout:builder", cwd=tmp_path)
    check(outcome)
    assert outcome.code == 2
    assert "layout" in outcome.err
